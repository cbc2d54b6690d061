//! Flags of `controller run`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use streamway_crds::names;
use streamway_daemon::flags::duration;

use super::InstallationArgs;

/// Flags of `controller run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it")]
    pub installation: InstallationArgs,

    /// Namespace of the agents' pods and ServiceAccount
    #[arg(long, value_name = "NAMESPACE", default_value = names::NODES_NAMESPACE)]
    pub agent_namespace: String,

    /// ServiceAccount of the agents' pods: who may ask for agents' certificates
    #[arg(long, value_name = "NAME", default_value = names::AGENT)]
    pub agent_service_account: String,

    /// Port of the agents' /metrics and /readyz: their --metrics-listen
    #[arg(long, value_name = "PORT", default_value_t = names::AGENT_ADMIN_PORT)]
    pub agent_admin_port: u16,

    /// Port that the agents' container probe echoes on
    #[arg(long, value_name = "PORT", default_value_t = names::PROBE_PORT)]
    pub probe_port: u16,

    /// How many nodes are probed at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrent_probes: u16,

    /// How many objects are written at once
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrent_writes: u16,

    /// Of several controllers, let only the holder of the Lease act
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub leader_elect: bool,

    /// How long a holder that says nothing keeps the Lease
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = duration)]
    pub leader_elect_lease_duration: Duration,

    /// How long the holder tries to renew the Lease before it stops acting and ends
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub leader_elect_renew_deadline: Duration,

    /// Time between two tries to get or renew the Lease
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub leader_elect_retry_period: Duration,

    /// The Lease's name
    #[arg(long, value_name = "NAME", default_value = names::CONTROLLER_LEASE)]
    pub leader_elect_resource_name: String,

    /// Name of the controller's ServiceAccount, ClusterRole and ClusterRoleBinding; empty where its
    /// rights come from elsewhere, and nothing holds them while nodes are to be withdrawn
    #[arg(long, value_name = "NAME", default_value = names::CONTROLLER)]
    pub own_rights: String,

    /// Feature gates, as Name=true|false; see below
    #[arg(long, value_name = "GATES")]
    pub feature_gates: Vec<String>,

    /// Address of /metrics, /livez and /readyz (plain HTTP)
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from(([127, 0, 0, 1], names::ADMIN_PORT)))]
    pub metrics_listen: SocketAddr,

    /// After a SIGTERM: how long writes that are under way, or everything's withdrawal where the
    /// controller is being uninstalled, may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub shutdown_grace_period: Duration,

    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it")]
    pub logs: streamway_daemon::logs::LogArgs,
}

impl RunArgs {
    /// What clap cannot check.
    ///
    /// # Errors
    ///
    /// Times of election under which two could act at once.
    pub fn check(&self) -> Result<(), String> {
        let lease = self.leader_elect_lease_duration;
        let deadline = self.leader_elect_renew_deadline;
        let period = self.leader_elect_retry_period;
        if !self.leader_elect {
            return Ok(());
        }
        if period.is_zero() {
            return Err("--leader-elect-retry-period must be longer than 0s".into());
        }
        if deadline >= lease {
            return Err(
                "--leader-elect-renew-deadline must be shorter than --leader-elect-lease-duration, \
                 so that the old holder stops before another begins"
                    .into(),
            );
        }
        // client-go's JitterFactor: a period may be that much longer than it says.
        if period.mul_f64(1.2) >= deadline {
            return Err(
                "--leader-elect-retry-period must be shorter than --leader-elect-renew-deadline \
                 by a fifth and more"
                    .into(),
            );
        }
        Ok(())
    }
}

pub(super) fn help() -> String {
    format!(
        "Feature gates (--feature-gates=Name=true|false,…):\n{}\n\
         Examples:\n  \
         In a pod:\n    \
         controller run --metrics-listen 0.0.0.0:8080\n\n  \
         On a workstation, for a try, with the rights of a kubeconfig:\n    \
         controller run --kubeconfig admin.conf --leader-elect=false --own-rights=",
        streamway_daemon::gates::help()
    )
}
