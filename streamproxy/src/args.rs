//! Flags, in kubelet's and kube-apiserver's own names where they have one.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    #[command(after_long_help = node_help())]
    Node(NodeArgs),
}

fn node_help() -> String {
    format!(
        "Feature gates (--feature-gates=Name=true|false,…):\n{}\n\
         Examples:\n  \
         On a node, beside its kubelet:\n    \
         streamproxy node --listen 0.0.0.0:10350 --kubelet https://127.0.0.1:10250 \\\n      \
         --kubelet-certificate-authority /var/lib/kubelet/pki/kubelet.crt \\\n      \
         --kubelet-client-certificate client.crt --kubelet-client-key client.key \\\n      \
         --kubeconfig streamproxy.conf --hostname-override \"$NODE_NAME\"\n\n  \
         Without a cluster, for a try or a benchmark:\n    \
         streamproxy node --listen 127.0.0.1:10350 --kubelet https://127.0.0.1:10250 \\\n      \
         --kubelet-insecure-skip-tls-verify --anonymous-auth --authorization-mode AlwaysAllow",
        streamway_daemon::gates::help()
    )
}

/// Flags of `streamproxy node`.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// Address and port to serve the kubelet's API on
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:10350")]
    pub listen: SocketAddr,

    /// Base URL of the kubelet
    #[arg(long, value_name = "URL", default_value = "https://127.0.0.1:10250")]
    pub kubelet: String,

    /// Certificates that may sign the kubelet's serving certificate (PEM); a self-signed serving
    /// certificate itself will do
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "kubelet_insecure_skip_tls_verify"
    )]
    pub kubelet_certificate_authority: Option<PathBuf>,

    /// Do not check the kubelet's serving certificate; only where nobody else can listen on its
    /// address
    #[arg(long)]
    pub kubelet_insecure_skip_tls_verify: bool,

    /// Name to expect in the kubelet's serving certificate, where it is not the URL's host
    #[arg(long, value_name = "NAME")]
    pub kubelet_tls_server_name: Option<String>,

    /// Client certificate that the proxy shows to the kubelet (PEM)
    #[arg(long, value_name = "FILE", requires = "kubelet_client_key")]
    pub kubelet_client_certificate: Option<PathBuf>,

    /// Key of --kubelet-client-certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "kubelet_client_certificate")]
    pub kubelet_client_key: Option<PathBuf>,

    /// Serving certificate and its chain (PEM), read again when it changes; self-signed if absent
    #[arg(long, value_name = "FILE", requires = "tls_private_key_file")]
    pub tls_cert_file: Option<PathBuf>,

    /// Key of --tls-cert-file (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert_file")]
    pub tls_private_key_file: Option<PathBuf>,

    /// Certificates that may sign clients' certificates (PEM), read again when they change; with
    /// --kubeconfig the default is the cluster's own, from kube-system/extension-apiserver-authentication
    #[arg(long, value_name = "FILE")]
    pub client_ca_file: Option<PathBuf>,

    /// Let requests without credentials in as system:anonymous
    #[arg(long, default_value_t = false, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub anonymous_auth: bool,

    /// How requests are authorized
    #[arg(long, value_enum, value_name = "MODE", default_value_t = AuthorizationMode::Webhook)]
    pub authorization_mode: AuthorizationMode,

    /// How to reach the API server, for TokenReview, SubjectAccessReview and the client CA; in a
    /// pod the default is its service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The node's name, which requests are authorized for; the default is the host's name
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub hostname_override: Option<String>,

    /// Feature gates, as Name=true|false; see below
    #[arg(long, value_name = "GATES")]
    pub feature_gates: Vec<String>,

    /// Address of /metrics, /livez and /readyz (plain HTTP)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10351")]
    pub metrics_listen: SocketAddr,

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

/// `--authorization-mode`, as kubelet's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[clap(rename_all = "PascalCase")]
pub enum AuthorizationMode {
    /// Ask the API server (SubjectAccessReview)
    Webhook,
    /// Allow every authenticated request
    AlwaysAllow,
}

/// A duration in Go's notation, as Kubernetes' flags take it: `30s`, `1m30s`, `500ms`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write it like 30s, 1m30s or 500ms");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at_checked(digits).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let letters = tail.len()
            - tail
                .trim_start_matches(|c: char| c.is_ascii_alphabetic())
                .len();
        let (unit, tail) = tail.split_at_checked(letters).ok_or_else(wrong)?;
        let factor = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        total += Duration::from_millis(number.checked_mul(factor).ok_or_else(wrong)?);
        rest = tail;
    }
    if text.is_empty() {
        Err(wrong())
    } else {
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "30", "s", "1y", "-1s", "1s ", "99999999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_flags_are_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
