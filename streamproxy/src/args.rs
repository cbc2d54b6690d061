//! Flags, in kubelet's and kube-apiserver's own names where they have one.

mod agent;
mod gateway;
mod node;
mod probe;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

pub use agent::{AgentArgs, TrafficFrom};
pub use gateway::GatewayArgs;
pub use node::{AuthorizationMode, NodeArgs};
pub use probe::{CheckArgs, ProbeTarget, ProbeTargetArgs};
use streamway_daemon::flags::duration;

/// Moves Kubernetes' exec, attach and port-forward from SPDY to WebSockets.
#[derive(Debug, Parser)]
#[command(name = "streamproxy", version, max_term_width = 100)]
pub struct Cli {
    /// What to run as.
    #[command(subcommand)]
    pub role: Role,
}

/// The roles of the stream proxy.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// Serve a kubelet's whole API in front of that kubelet
    ///
    /// exec and attach with v5.channel.k8s.io are translated to SPDY, port-forward tunnels are
    /// opened, everything else is passed through. Every request is authenticated and authorized as
    /// a kubelet does it, before a byte of it reaches the kubelet; the proxy then speaks to the
    /// kubelet as itself.
    ///
    /// Exit codes: 0 after a signal, 64 for wrong flags or files, 1 for failures at run time.
    #[command(after_long_help = node::help())]
    Node(NodeArgs),

    /// Serve API servers' whole API in front of API servers that cannot speak WebSockets
    ///
    /// exec and attach with v5.channel.k8s.io are translated to SPDY, port-forward tunnels are
    /// opened, everything else is passed through: the API server authenticates, authorizes and
    /// answers as it does without the gateway. An API server that takes WebSockets itself gets them
    /// untouched; the gateway finds that out by itself.
    ///
    /// Bearer tokens pass through. A client certificate cannot: it is verified here
    /// (--client-ca-file), and its user is told to the API server under a front-proxy certificate
    /// (--proxy-client-cert-file), or impersonated under the gateway's own credential (--kubeconfig)
    /// where there is none.
    ///
    /// Exit codes: 0 after a signal, 64 for wrong flags or files, 1 for failures at run time.
    #[command(after_long_help = gateway::help())]
    Gateway(GatewayArgs),

    /// Be what a prober's sessions go to: send back what is said on stdin and on a port
    ///
    /// Runs beside the agent, in a container of its own without any rights. Exit codes: 0 after a
    /// signal, --exit-code for exec, 64 for wrong flags, 1 for failures at run time.
    ProbeTarget(ProbeTargetArgs),

    /// Ask a running `streamproxy node` for its health, by its --admin-socket
    ///
    /// Exit codes: 0 where it is well, 1 where not, with its reasons on stderr; 64 for wrong flags.
    Check(CheckArgs),
}

/// Flags that both roles have.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Serving certificate and its chain (PEM), read again when it changes; self-signed if absent
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    pub tls_cert_file: Option<PathBuf>,

    /// Key of --tls-cert-file (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    pub tls_private_key_file: Option<PathBuf>,

    /// Feature gates, as Name=true|false; see below
    #[arg(long, value_name = "GATES")]
    pub feature_gates: Vec<String>,

    /// After a SIGTERM: how long to go on accepting while reporting not-ready
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub shutdown_delay_duration: Duration,

    /// After that: how long open sessions may run on
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub shutdown_grace_period: Duration,

    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it")]
    pub logs: streamway_daemon::logs::LogArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }
}
