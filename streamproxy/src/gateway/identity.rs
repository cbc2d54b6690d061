//! Whose a request is, and how the API server is told.
//!
//! The API server authenticates. What a caller sends in headers it reads itself; a client certificate
//! ends at the gateway, so its user is told in headers that the API server believes a front proxy, or
//! is impersonated. Nobody but the gateway may say those headers.

mod impersonation;

use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};
use rustls_pki_types::UnixTime;
use streamway_daemon::tls::ClientCa;

use crate::auth::{self, PeerCertificates, UserInfo};
use crate::headers;
pub(super) use impersonation::{Question, Target, questions};

use super::credential::Credential;

/// Whose a request is.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// Whose credentials in the headers the API server reads, or nobody's.
    Theirs,
    /// A verified certificate's.
    Certificate(UserInfo),
}

impl Caller {
    /// The name for the access log, as far as the gateway knows it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Theirs => String::new(),
            Self::Certificate(user) => user.name.clone(),
        }
    }
}

/// How the API server is told whose a certificate is.
#[derive(Debug)]
pub(super) enum Telling {
    /// Nobody is asked for a certificate.
    Nobody,
    /// In these headers, under a front-proxy certificate.
    FrontProxy(RequestHeaders),
    /// By impersonation, under the gateway's own credential.
    Impersonation(Credential),
}

/// kube-apiserver's `--requestheader-*` names, in lower case: the first of each is said, and none may
/// come from a client.
#[derive(Debug, Clone)]
pub(super) struct RequestHeaders {
    pub(super) user: Vec<HeaderName>,
    pub(super) uid: Vec<HeaderName>,
    pub(super) group: Vec<HeaderName>,
    pub(super) extra_prefix: Vec<String>,
}

/// Who asks.
#[derive(Debug)]
pub(super) struct Identities {
    pub(super) client_ca: Option<Arc<ClientCa>>,
    pub(super) telling: Telling,
}

/// Why a caller is not let through.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum IdentityError {
    /// A certificate that nobody here trusts, and no other credential.
    #[error(
        "Unauthorized: the client certificate is not signed by an authority that the gateway trusts"
    )]
    Stranger,
    /// A user that would arrive as another one.
    #[error(
        "Unauthorized: the client certificate names {0:?}, which cannot be told to the API server unchanged"
    )]
    Unspeakable(String),
    /// system:masters, in impersonation mode.
    #[error(
        "certificates of group system:masters are not impersonated: whoever could make the gateway do \
         so would own the cluster. Run the gateway with --proxy-client-cert-file (front-proxy mode), or \
         use a token"
    )]
    Masters,
}

impl IdentityError {
    /// The answer's status.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Masters => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }
}

/// The group that no RBAC can hold back.
pub(super) const MASTERS: &str = "system:masters";

impl Identities {
    /// Whose a request is, as an API server's authenticators would find: certificate before token
    /// (`k8s.io/apiserver@v0.36.3/pkg/authentication/authenticatorfactory`). A wrong certificate is a
    /// wrong credential, and not none: without a token it is 401, never anonymous.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Stranger`].
    pub(super) fn caller(
        &self,
        peer: Option<&PeerCertificates>,
        headers: &HeaderMap,
    ) -> Result<Caller, IdentityError> {
        let (Some(ca), Some(peer)) = (&self.client_ca, peer) else {
            return Ok(Caller::Theirs);
        };
        match ca.verify(&peer.0, UnixTime::now()) {
            Ok(()) => Ok(peer.user().map_or(Caller::Theirs, Caller::Certificate)),
            Err(_) if auth::has_token(headers) => Ok(Caller::Theirs),
            Err(error) => {
                tracing::debug!(%error, "a client's certificate was refused");
                Err(IdentityError::Stranger)
            }
        }
    }

    /// Whether a header that goes to an API server says whose a request is.
    pub(super) fn says_who(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        name.starts_with("impersonate-")
            || match &self.telling {
                Telling::FrontProxy(names) => {
                    let mut all = names.user.iter().chain(&names.uid).chain(&names.group);
                    let mut prefixes = names.extra_prefix.iter();
                    all.any(|own| own == name) || prefixes.any(|prefix| name.starts_with(prefix))
                }
                _ => false,
            }
    }

    /// Removes from a client's headers what only a front proxy may say.
    pub(super) fn strip_claims(&self, headers: &mut HeaderMap) {
        headers::strip_prefixed(headers, "x-remote-");
        if let Telling::FrontProxy(names) = &self.telling {
            for name in names.user.iter().chain(&names.uid).chain(&names.group) {
                headers.remove(name);
            }
            for prefix in &names.extra_prefix {
                headers::strip_prefixed(headers, prefix);
            }
        }
    }
}

impl RequestHeaders {
    /// Says in `headers` who a verified certificate's user is. A token beside it is not looked at by
    /// an API server, and is not sent to one.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Unspeakable`].
    pub(super) fn tell(
        &self,
        user: &UserInfo,
        headers: &mut HeaderMap,
    ) -> Result<(), IdentityError> {
        strip_credentials(headers);
        let first = |names: &[HeaderName]| names.first().cloned();
        if let Some(name) = first(&self.user) {
            headers.insert(name, speakable(&user.name)?);
        }
        if let Some(name) = first(&self.uid)
            && !user.uid.is_empty()
        {
            headers.insert(name, speakable(&user.uid)?);
        }
        if let Some(name) = first(&self.group) {
            for group in user.groups.iter().filter(|group| !group.is_empty()) {
                headers.append(&name, speakable(group)?);
            }
        }
        if let Some(prefix) = self.extra_prefix.first() {
            for (key, values) in &user.extra {
                let name = format!("{prefix}{}", escaped(key));
                let name: HeaderName = name
                    .parse()
                    .map_err(|_| IdentityError::Unspeakable(key.clone()))?;
                for value in values {
                    headers.append(&name, speakable(value)?);
                }
            }
        }
        Ok(())
    }
}

/// Removes the credentials that a caller with a certificate sent besides.
pub(super) fn strip_credentials(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    headers::strip_bearer_subprotocol(headers);
}

/// A name as a header's value. An HTTP server drops white space at both ends, which would make one
/// user another.
pub(super) fn speakable(text: &str) -> Result<HeaderValue, IdentityError> {
    let wrong = || IdentityError::Unspeakable(text.to_owned());
    if text.is_empty() || text.trim_matches([' ', '\t']) != text {
        return Err(wrong());
    }
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| wrong())
}

/// An extra's key for a header's name: an API server lowers its case, then decodes it
/// (`k8s.io/apiserver@v0.36.3/pkg/authentication/request/headerrequest`).
fn escaped(key: &str) -> String {
    let mut text = String::new();
    for byte in key.bytes() {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_')
        {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests;
