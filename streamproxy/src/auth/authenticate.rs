//! Who asks: client certificate, bearer token, or nobody.

use std::sync::Arc;

use http::HeaderMap;
use kube::Client;
use rustls_pki_types::UnixTime;
use streamway_daemon::tls::ClientCa;

use super::bearer::Bearer;
use super::tokens::Tokens;
use super::{AuthError, PeerCertificates, UserInfo};

/// Authenticates as a kubelet: certificate, then token, then, if allowed, as anonymous.
#[derive(Debug)]
pub struct Authenticator {
    client_ca: Option<Arc<ClientCa>>,
    tokens: Option<Tokens>,
    anonymous: bool,
}

impl Authenticator {
    /// With the authorities for certificates, the API server for tokens, and whether requests without
    /// either are let in.
    pub(crate) fn new(
        client_ca: Option<Arc<ClientCa>>,
        client: Option<Client>,
        anonymous: bool,
    ) -> Self {
        let tokens = client.map(Tokens::new);
        Self {
            client_ca,
            tokens,
            anonymous,
        }
    }

    /// Whose request it is.
    ///
    /// # Errors
    ///
    /// [`AuthError::Unauthorized`]: a wrong credential and no right one, or none where one is needed.
    /// A wrong credential is never anonymous.
    pub async fn authenticate(
        &self,
        peer: Option<&PeerCertificates>,
        headers: &HeaderMap,
    ) -> Result<UserInfo, AuthError> {
        let mut wrong = false;
        if let (Some(ca), Some(peer)) = (&self.client_ca, peer) {
            match ca.verify(&peer.0, UnixTime::now()) {
                Ok(()) => {
                    if let Some(user) = peer.user() {
                        return Ok(authenticated(user));
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "a client's certificate was refused");
                    wrong = true;
                }
            }
        }
        if let Some(tokens) = &self.tokens {
            for bearer in [
                Bearer::in_authorization(headers),
                Bearer::in_subprotocols(headers),
            ] {
                match bearer {
                    Bearer::None => {}
                    Bearer::Malformed => wrong = true,
                    Bearer::Token(token) => match tokens.user(token).await {
                        Some(user) => return Ok(authenticated(user)),
                        None => wrong = true,
                    },
                }
            }
        }
        if self.anonymous && !wrong {
            return Ok(UserInfo {
                name: ANONYMOUS.to_owned(),
                groups: vec![UNAUTHENTICATED.to_owned()],
                ..UserInfo::default()
            });
        }
        Err(AuthError::Unauthorized)
    }
}

/// Adds the group of everyone who is known (`k8s.io/apiserver@v0.36.3/pkg/authentication/group`).
fn authenticated(mut user: UserInfo) -> UserInfo {
    let said = |group: &String| matches!(group.as_str(), AUTHENTICATED | UNAUTHENTICATED);
    if user.name != ANONYMOUS && !user.groups.iter().any(said) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    user
}

const ANONYMOUS: &str = "system:anonymous";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";

#[cfg(test)]
mod tests;
