//! Who asks, and may they: a kubelet's delegated authentication and authorization.
//!
//! Source of the rules: `k8s.io/kubernetes@v1.36.3/pkg/kubelet/server/{auth,server}.go`,
//! `k8s.io/apiserver@v0.36.3/pkg/authentication/authenticatorfactory`. Answers are a kubelet's too.

mod authenticate;
mod authorize;
mod bearer;
mod certificate;
#[cfg(test)]
mod fake;
mod path;
mod review;
mod tokens;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use streamway_daemon::admin::Condition;
use streamway_daemon::exit::ExitError;
use streamway_daemon::gates::FeatureGate;
use streamway_daemon::metrics::CertificateExpiry;
use streamway_daemon::tls::ClientCa;
use tokio::time::timeout;

use crate::args::{AuthorizationMode, NodeArgs};
use crate::serve::Host;
pub use authenticate::Authenticator;
pub use authorize::Authorizer;
pub(crate) use bearer::{bearer_to_authorization, has_token};
pub use certificate::PeerCertificates;
pub(crate) use path::is_clean;

/// How often the cluster's client CA is read again.
const CA_PERIOD: Duration = Duration::from_secs(60);

/// How long one reading may take.
const CA_TIMEOUT: Duration = Duration::from_secs(30);

/// A caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct UserInfo {
    /// The user's name.
    pub name: String,
    /// Tells users of one name apart over time; often empty.
    pub uid: String,
    /// The user's groups.
    pub groups: Vec<String>,
    /// What else the authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Why a request is not let in, in a kubelet's words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// No credentials that anyone knows.
    #[error("Unauthorized")]
    Unauthorized,
    /// The caller may not.
    #[error(
        "Forbidden (user={user}, verb={verb}, resource=nodes, subresource(s)=[{subresources}]){remedy}"
    )]
    Forbidden {
        /// The caller.
        user: String,
        /// What was asked for.
        verb: &'static str,
        /// On what.
        subresources: String,
        /// What would help, where it is not plain.
        remedy: &'static str,
    },
    /// The API server could not be asked.
    #[error(
        "Authorization error (user={user}, verb={verb}, resource=nodes, subresource={subresource})"
    )]
    Unavailable {
        /// The caller.
        user: String,
        /// What was asked for.
        verb: &'static str,
        /// On what.
        subresource: &'static str,
    },
    /// A path that two servers could read differently.
    #[error("the path is not in its canonical form")]
    UncleanPath,
}

impl AuthError {
    /// The answer's status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden { .. } => StatusCode::FORBIDDEN,
            Self::Unavailable { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UncleanPath => StatusCode::BAD_REQUEST,
        }
    }
}

/// Both halves.
#[derive(Debug)]
pub(crate) struct Auth {
    pub(crate) authenticator: Authenticator,
    pub(crate) authorizer: Authorizer,
}

/// The API server that the flags name, or the pod's.
///
/// # Errors
///
/// A kubeconfig or service account that cannot be used.
pub(crate) async fn client(args: &NodeArgs) -> Result<Option<Client>, ExitError> {
    match (
        &args.kubeconfig,
        std::env::var_os("KUBERNETES_SERVICE_HOST"),
    ) {
        (Some(path), _) => from_kubeconfig(path).await.map(Some),
        (None, Some(_)) => in_cluster().map(Some),
        (None, None) => Ok(None),
    }
}

/// Sets both up as the flags say, asking the API server by `client`, and keeps the client CA current.
pub(crate) fn configure(
    args: &NodeArgs,
    node: &str,
    client: Option<Client>,
    host: &Host,
) -> Result<Auth, ExitError> {
    let webhook = args.authorization_mode == AuthorizationMode::Webhook;
    if webhook && client.is_none() {
        return Err(ExitError::usage(
            "--authorization-mode Webhook needs an API server to ask; give --kubeconfig, or \
             --authorization-mode AlwaysAllow for a try without a cluster",
        ));
    }
    let client_ca = client_ca(args, client.as_ref(), host)?;
    if client.is_none() && client_ca.is_none() && !args.anonymous_auth {
        return Err(ExitError::usage(
            "nobody could authenticate; give --kubeconfig, --client-ca-file or --anonymous-auth",
        ));
    }
    let authenticator = Authenticator::new(client_ca, client.clone(), args.anonymous_auth);
    let create = host
        .gates
        .enabled(FeatureGate::AuthorizeNodeProxyCreateForStreaming);
    let authorizer = Authorizer::new(client.filter(|_| webhook), node, create);
    Ok(Auth {
        authenticator,
        authorizer,
    })
}

async fn from_kubeconfig(path: &Path) -> Result<Client, ExitError> {
    let wrong = |error: &dyn std::fmt::Display| {
        ExitError::usage(format_args!(
            "--kubeconfig {}: {error}; is it a kubeconfig?",
            path.display()
        ))
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let mut config = config.map_err(|error| wrong(&error))?;
    config.default_retry = false;
    Client::try_from(config).map_err(|error| wrong(&error))
}

fn in_cluster() -> Result<Client, ExitError> {
    let wrong = |error: &dyn std::fmt::Display| {
        ExitError::usage(format_args!(
            "the pod's service account cannot be used: {error}; give --kubeconfig"
        ))
    };
    let mut config = Config::incluster().map_err(|error| wrong(&error))?;
    config.default_retry = false;
    Client::try_from(config).map_err(|error| wrong(&error))
}

/// The authorities that sign clients' certificates: the file's, or the cluster's own.
fn client_ca(
    args: &NodeArgs,
    client: Option<&Client>,
    host: &Host,
) -> Result<Option<Arc<ClientCa>>, ExitError> {
    let expiry = host.expiry.clone();
    if let Some(path) = &args.client_ca_file {
        let ca = Arc::new(ClientCa::from_file("--client-ca-file", path)?);
        let watched = Arc::clone(&ca);
        tokio::spawn(async move { watched.watch("client-ca", expiry).await });
        return Ok(Some(ca));
    }
    let Some(client) = client.cloned() else {
        return Ok(None);
    };
    let ca = Arc::new(ClientCa::empty());
    let followed = Arc::clone(&ca);
    // Until it is read no certificate is accepted.
    let read = host.readiness.condition("client-ca");
    tokio::spawn(async move { follow_cluster_ca(&followed, client, &expiry, read).await });
    Ok(Some(ca))
}

/// Reads `kube-system/extension-apiserver-authentication` again and again; what cannot be read or
/// used leaves the last in force.
async fn follow_cluster_ca(
    ca: &ClientCa,
    client: Client,
    expiry: &CertificateExpiry,
    is_read: Condition,
) {
    let maps: Api<ConfigMap> = Api::namespaced(client, "kube-system");
    loop {
        let read = timeout(CA_TIMEOUT, maps.get("extension-apiserver-authentication")).await;
        match read {
            Ok(Ok(map)) => {
                let data = map.data.unwrap_or_default();
                let pem = data
                    .get("client-ca-file")
                    .map(String::as_bytes)
                    .unwrap_or_default();
                match ca.replace(pem) {
                    Ok(true) => tracing::info!("the cluster's client CA was read"),
                    Ok(false) => {}
                    Err(error) => tracing::warn!(%error, "the cluster's client CA cannot be used"),
                }
                if let Some(not_after) = ca.not_after() {
                    expiry.set("client-ca", not_after);
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "the cluster's client CA cannot be read"),
            Err(_) => tracing::warn!("the cluster's client CA cannot be read: no answer in 30 s"),
        }
        let pause = if ca.is_loaded() {
            is_read.met();
            CA_PERIOD
        } else {
            Duration::from_secs(2)
        };
        tokio::time::sleep(pause).await;
    }
}
