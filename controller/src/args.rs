//! Flags, in kube-controller-manager's own names where it has them.

mod run;
mod withdraw;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use streamway_crds::names;

pub use run::RunArgs;
pub use withdraw::WithdrawArgs;

/// Moves nodes from SPDY to WebSocket streaming, wave by wave, and back.
#[derive(Debug, Parser)]
#[command(name = "controller", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controller
    ///
    /// It watches Nodes, rollouts and the agents, decides which node streams how, and acts. Of
    /// several, the one that holds the Lease acts; the others keep their caches warm.
    ///
    /// Exit codes: 0 after a signal, 64 for wrong flags or files, 1 for failures at run time, a
    /// lost Lease among them.
    #[command(after_long_help = run::help())]
    Run(RunArgs),

    /// Take everything back from outside: what to run when nothing else of Streamway runs any more
    ///
    /// Every Node with a kubelet before 1.36 that declares ExtendWebSocketsToKubelet loses it, every
    /// Node whose kubelet port is the agent's gets the kubelet's, every NodeStreaming asks for
    /// nothing any more, the roles of agents go, and so do the finalizers on the controller's own
    /// rights. Nothing of Streamway's needs to be there for it, CRDs included. It says what it did,
    /// and changes nothing where there is nothing to take back.
    ///
    /// Exit codes: 0 when everything is taken back, 64 for wrong flags or files, 1 where something
    /// could not be taken back.
    #[command(after_long_help = withdraw::help())]
    Withdraw(WithdrawArgs),
}

/// What is called how in the cluster: flags that both commands have.
#[derive(Debug, Clone, Args)]
pub struct InstallationArgs {
    /// How to reach the API server; in a pod the default is its service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The controller's own namespace, with its Lease and ServiceAccount
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", default_value = names::SYSTEM_NAMESPACE)]
    pub namespace: String,

    /// Port on which agents stand in for kubelets: their --listen. It comes from here and never from
    /// an object that a user can write
    #[arg(long, value_name = "PORT", default_value_t = names::AGENT_PORT)]
    pub agent_port: u16,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nothing_needs_to_be_said_in_a_pod() {
        let cli = Cli::try_parse_from(["controller", "run"]).unwrap();
        let Command::Run(args) = cli.command else {
            panic!("run was asked for")
        };
        assert!(args.leader_elect);
        assert_eq!(args.leader_elect_lease_duration, Duration::from_secs(15));
        assert_eq!(args.check(), Ok(()));
    }

    #[test]
    fn times_of_election_that_cannot_work_are_refused() {
        for (flags, wanted) in [
            (
                &["--leader-elect-renew-deadline", "15s"][..],
                Err("must be shorter than"),
            ),
            (
                &["--leader-elect-retry-period", "10s"],
                Err("must be shorter than"),
            ),
            (
                &["--leader-elect-retry-period", "0s"],
                Err("must be longer than 0s"),
            ),
            (&["--leader-elect-lease-duration", "11s"], Ok(())),
            (
                &["--leader-elect=false", "--leader-elect-retry-period", "1m"],
                Ok(()),
            ),
        ] {
            let args = ["controller", "run"].iter().chain(flags);
            let Command::Run(args) = Cli::try_parse_from(args).unwrap().command else {
                panic!("run was asked for")
            };
            match (args.check(), wanted) {
                (Ok(()), Ok(())) => {}
                (Err(error), Err(words)) => assert!(error.contains(words), "{flags:?}: {error}"),
                (got, _) => panic!("{flags:?}: {got:?}"),
            }
        }
    }
}
