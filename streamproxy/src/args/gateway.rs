//! Flags of the gateway role.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::ServeArgs;

/// Flags of `streamproxy gateway`.
#[derive(Debug, Clone, Args)]
pub struct GatewayArgs {
    /// Address and port to serve the API on
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:6443")]
    pub listen: SocketAddr,

    /// Base URLs of the API servers behind, by comma; in a pod the default is the cluster's own.
    /// They are health-checked; each client connection stays with one as long as that is healthy
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub apiserver: Vec<String>,

    /// Certificates that may sign the API servers' serving certificates (PEM); in a pod the default
    /// is the cluster's own
    #[arg(long, value_name = "FILE")]
    pub certificate_authority: Option<PathBuf>,

    /// Name to expect in the API servers' serving certificates, where it is not the URL's host
    #[arg(long, value_name = "NAME")]
    pub tls_server_name: Option<String>,

    /// Certificates that may sign clients' certificates (PEM), read again when they change: the file
    /// that the API server has in its flag of this name. Without it clients are asked for none
    #[arg(long, value_name = "FILE")]
    pub client_ca_file: Option<PathBuf>,

    /// Front-proxy client certificate (PEM), read again when it changes: one that the API server's
    /// --requestheader-client-ca-file trusts. Users of verified client certificates are told to the
    /// API server under it; no other request is sent under it
    #[arg(long, value_name = "FILE", requires_all = ["proxy_client_key_file", "client_ca_file"])]
    pub proxy_client_cert_file: Option<PathBuf>,

    /// Key of --proxy-client-cert-file (PEM)
    #[arg(long, value_name = "FILE", requires = "proxy_client_cert_file")]
    pub proxy_client_key_file: Option<PathBuf>,

    /// Header that the API server reads the user's name from; of several, by comma, the first is
    /// sent and none passes from clients. This and the next three as the API server has them
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "X-Remote-User"
    )]
    pub requestheader_username_headers: Vec<String>,

    /// Header that it reads the user's UID from (kube-apiserver 1.32 and later)
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "X-Remote-Uid"
    )]
    pub requestheader_uid_headers: Vec<String>,

    /// Header that it reads the user's groups from
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        default_value = "X-Remote-Group"
    )]
    pub requestheader_group_headers: Vec<String>,

    /// What the headers start with that it reads the user's extra attributes from
    #[arg(
        long,
        value_name = "PREFIXES",
        value_delimiter = ',',
        default_value = "X-Remote-Extra-"
    )]
    pub requestheader_extra_headers_prefix: Vec<String>,

    /// The gateway's own credential, to impersonate users of client certificates where there is no
    /// front-proxy certificate; in a pod the default is its service account. Only the user in it
    /// counts, not the server
    #[arg(
        long,
        value_name = "FILE",
        requires = "client_ca_file",
        conflicts_with = "proxy_client_cert_file"
    )]
    pub kubeconfig: Option<PathBuf>,

    /// Address of /metrics, /livez and /readyz (plain HTTP)
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6444")]
    pub metrics_listen: SocketAddr,

    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would show it")]
    pub serve: ServeArgs,
}

pub(super) fn help() -> String {
    format!(
        "Feature gates (--feature-gates=Name=true|false,…):\n{}\n\
         Examples:\n  \
         Bearer tokens only, no rights of its own:\n    \
         streamproxy gateway --apiserver https://10.0.0.1:6443,https://10.0.0.2:6443 \\\n      \
         --certificate-authority ca.crt --tls-cert-file gateway.crt --tls-private-key-file gateway.key\n\n  \
         Client certificates too, as the API server's aggregation layer does it:\n    \
         streamproxy gateway --apiserver https://10.0.0.1:6443 --certificate-authority ca.crt \\\n      \
         --tls-cert-file gateway.crt --tls-private-key-file gateway.key --client-ca-file ca.crt \\\n      \
         --proxy-client-cert-file front-proxy-client.crt --proxy-client-key-file front-proxy-client.key",
        streamway_daemon::gates::help()
    )
}
