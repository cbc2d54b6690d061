//! Flags of the node role as a node's agent, under the controller.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Flags of an agent.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Agent")]
pub struct AgentArgs {
    /// Ask the cluster for the client certificate that is shown to the kubelet and the API server,
    /// and renew it
    ///
    /// Its user is streamway:node:NAME of the group streamway:nodes; its rights should be those of
    /// its own node only. It is asked for as the pod's service account (or --bootstrap-kubeconfig),
    /// and somebody has to approve it: the controller does.
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true",
        action = clap::ArgAction::Set,
        conflicts_with_all = ["kubeconfig", "kubelet_client_certificate"])]
    pub rotate_certificates: bool,

    /// Folder of that certificate and its key, in streamway-client-current.pem; a good one that is
    /// there is used
    #[arg(long, value_name = "DIR", default_value = "/var/lib/streamway/pki")]
    pub cert_dir: PathBuf,

    /// How to reach the API server to ask for that certificate; in a pod the default is its service
    /// account
    #[arg(long, value_name = "FILE", requires = "rotate_certificates")]
    pub bootstrap_kubeconfig: Option<PathBuf>,

    /// Who says whether the node's traffic for the kubelet comes here
    #[arg(
        long,
        value_enum,
        value_name = "WHO",
        default_value_t = TrafficFrom::Unmanaged
    )]
    pub traffic: TrafficFrom,

    /// Ports of which a free one is taken for what the kernel redirects from the kubelet's port; a
    /// firewall on the node has to let them in
    #[arg(long, value_name = "FROM-TO", default_value = "10353-10359", value_parser = ports)]
    pub redirect_ports: RangeInclusive<u16>,

    /// Name of the pod, for the node's NodeStreaming
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub pod_name: Option<String>,

    /// Unix socket of /metrics, /livez and /readyz, beside --metrics-listen: for probes of this very
    /// process where two share the node's ports
    #[arg(long, value_name = "FILE")]
    pub admin_socket: Option<PathBuf>,
}

/// `--traffic`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[clap(rename_all = "PascalCase")]
pub enum TrafficFrom {
    /// Nobody: whoever connects to --listen is served
    Unmanaged,
    /// The NodeStreaming of the node's name: an nftables table redirects the kubelet's port while
    /// that says so. Needs NET_ADMIN, Linux 5.12, and a kubelet that listens on 127.0.0.1
    NodeStreaming,
}

/// `10353-10359`, or one port.
fn ports(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse().ok().filter(|port| *port > 0);
    match (port(first), port(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err(format!(
            "{text:?} is no range of ports; write it like 10353-10359"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ports() {
        assert_eq!(ports("10353-10359"), Ok(10353..=10359));
        assert_eq!(ports("10353"), Ok(10353..=10353));
        for wrong in ["", "0", "0-1", "2-1", "1-70000", "1-2-3", "-1", "a"] {
            assert!(ports(wrong).is_err(), "{wrong:?}");
        }
    }
}
