//! Flags of the node role.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{AgentArgs, ServeArgs};

/// Flags of `streamproxy node`.
#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// Address and port to serve the kubelet's API on; `[::]:10350` is every address of IPv4 and IPv6
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

    /// Address of /metrics, /livez and /readyz (plain HTTP)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10351")]
    pub metrics_listen: SocketAddr,

    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it")]
    pub serve: ServeArgs,

    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it")]
    pub agent: AgentArgs,
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

pub(super) fn help() -> String {
    format!(
        "Feature gates (--feature-gates=Name=true|false,…):\n{}\n\
         Examples:\n  \
         On a node, beside its kubelet:\n    \
         streamproxy node --listen 0.0.0.0:10350 --kubelet https://127.0.0.1:10250 \\\n      \
         --kubelet-certificate-authority /var/lib/kubelet/pki/kubelet.crt \\\n      \
         --kubelet-client-certificate client.crt --kubelet-client-key client.key \\\n      \
         --kubeconfig streamproxy.conf --hostname-override \"$NODE_NAME\"\n\n  \
         As the agent of a node under the controller, in a pod on the host's network:\n    \
         streamproxy node --rotate-certificates --traffic NodeStreaming \\\n      \
         --kubelet-insecure-skip-tls-verify --metrics-listen 0.0.0.0:10351 \\\n      \
         --admin-socket /run/streamway/admin.sock --shutdown-delay-duration 10s\n\n  \
         Without a cluster, for a try or a benchmark:\n    \
         streamproxy node --listen 127.0.0.1:10350 --kubelet https://127.0.0.1:10250 \\\n      \
         --kubelet-insecure-skip-tls-verify --anonymous-auth --authorization-mode AlwaysAllow",
        streamway_daemon::gates::help()
    )
}
