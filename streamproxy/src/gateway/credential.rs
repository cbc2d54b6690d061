//! The gateway's own credential, for impersonation: a kubeconfig's user, or a pod's service account.

use std::future::{Ready, ready};
use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Request, Response};
use kube::client::ConfigExt;
use kube::client::middleware::AuthLayer;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Config, client};
use streamway_daemon::exit::ExitError;
use tower::{Layer, ServiceExt};

use super::identity::{IdentityError, MASTERS, speakable};
use crate::auth::UserInfo;
use crate::upstream::Tls;

/// A credential, whatever form it has: token, file, client certificate, plugin.
#[derive(Clone)]
pub(super) struct Credential {
    /// `None` where the credential is a client certificate, which the connection shows.
    layer: Option<Arc<AuthLayer>>,
}

impl std::fmt::Debug for Credential {
    /// Says that there is one, not which.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential")
    }
}

/// The credential cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("the gateway's own credential cannot be had: {0}")]
pub(super) struct CredentialError(String);

impl Credential {
    /// Of a kubeconfig's current user, or of the pod; with the TLS configuration that shows it.
    ///
    /// # Errors
    ///
    /// A file that is no kubeconfig, a user that cannot be used.
    pub(super) async fn load(
        kubeconfig: Option<&Path>,
        server_name: Option<String>,
    ) -> Result<(Self, Tls), ExitError> {
        let wrong = |error: &dyn std::fmt::Display| match kubeconfig {
            Some(path) => ExitError::usage(format_args!(
                "--kubeconfig {}: {error}; is it a kubeconfig?",
                path.display()
            )),
            None => ExitError::usage(format_args!(
                "the pod's service account cannot be used: {error}; give --kubeconfig"
            )),
        };
        let config = match kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                    .await
                    .map_err(|error| wrong(&error))?
            }
            None => Config::incluster().map_err(|error| wrong(&error))?,
        };
        let tls = config
            .rustls_client_config()
            .map_err(|error| wrong(&error))?;
        let layer = config.auth_layer().map_err(|error| wrong(&error))?;
        let credential = Self {
            layer: layer.map(Arc::new),
        };
        Ok((credential, Tls::of(tls, server_name)))
    }

    /// Makes a request the gateway's: puts its credential in.
    ///
    /// # Errors
    ///
    /// The credential cannot be had just now.
    pub(super) async fn authorize(&self, headers: &mut HeaderMap) -> Result<(), CredentialError> {
        let Some(layer) = &self.layer else {
            return Ok(());
        };
        // The layer is made for kube's own client; here it is asked for nothing but its header.
        let request = Request::new(client::Body::empty());
        let echo = tower::service_fn(echo);
        let answer: BoxFuture<'static, Result<Response<()>, tower::BoxError>> =
            Box::pin(layer.layer(echo).oneshot(request));
        let response = answer.await;
        let mut response = response.map_err(|error| CredentialError(error.to_string()))?;
        match response.headers_mut().remove(header::AUTHORIZATION) {
            Some(mut value) => {
                value.set_sensitive(true);
                headers.insert(header::AUTHORIZATION, value);
                Ok(())
            }
            None => Err(CredentialError("it gives no token".to_owned())),
        }
    }
}

/// Answers with the `Authorization` that it was asked with.
fn echo(mut request: Request<client::Body>) -> Ready<Result<Response<()>, tower::BoxError>> {
    let mut response = Response::new(());
    if let Some(value) = request.headers_mut().remove(header::AUTHORIZATION) {
        response.headers_mut().insert(header::AUTHORIZATION, value);
    }
    ready(Ok(response))
}

/// Says in `headers` that a verified certificate's user is impersonated.
///
/// # Errors
///
/// [`IdentityError::Masters`], [`IdentityError::Unspeakable`].
pub(super) fn impersonate(user: &UserInfo, headers: &mut HeaderMap) -> Result<(), IdentityError> {
    if user.groups.iter().any(|group| group == MASTERS) {
        return Err(IdentityError::Masters);
    }
    let set = |headers: &mut HeaderMap, name: &'static str, value: HeaderValue| {
        headers.append(name, value);
    };
    set(headers, "impersonate-user", speakable(&user.name)?);
    if !user.uid.is_empty() {
        set(headers, "impersonate-uid", speakable(&user.uid)?);
    }
    for group in user.groups.iter().filter(|group| !group.is_empty()) {
        set(headers, "impersonate-group", speakable(group)?);
    }
    // What else the certificate says (its hash) is left out: a right to impersonate every value of an
    // extra is more than it is worth.
    Ok(())
}
