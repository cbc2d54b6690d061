//! Who asks: client certificate, bearer token, or nobody.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use moka::future::Cache;
use rustls_pki_types::UnixTime;
use sha2::{Digest, Sha256};
use streamway_daemon::tls::ClientCa;
use streamway_kstream::subprotocol;

use super::{AuthError, PeerCertificates, UserInfo};

/// How long the API server's word on a token counts (kubelet: `authentication.webhook.cacheTTL`).
const TOKEN_TTL: Duration = Duration::from_secs(120);

/// Tokens that are remembered.
const TOKENS: u64 = 4096;

/// Longest token that is asked about; a service account's is about a kilobyte.
const MAX_TOKEN: usize = 16 << 10;

/// Authenticates as a kubelet: certificate, then token, then, if allowed, as anonymous.
#[derive(Debug)]
pub struct Authenticator {
    client_ca: Option<Arc<ClientCa>>,
    tokens: Option<Tokens>,
    anonymous: bool,
}

#[derive(Debug)]
struct Tokens {
    reviews: Api<TokenReview>,
    /// By the token's hash: tokens themselves are not kept. `None` is a token that nobody knows.
    cache: Cache<[u8; 32], Option<UserInfo>>,
}

impl Authenticator {
    /// With the authorities for certificates, the API server for tokens, and whether requests without
    /// either are let in.
    pub(crate) fn new(
        client_ca: Option<Arc<ClientCa>>,
        client: Option<Client>,
        anonymous: bool,
    ) -> Self {
        let tokens = client.map(|client| Tokens {
            reviews: Api::all(client),
            cache: Cache::builder()
                .max_capacity(TOKENS)
                .time_to_live(TOKEN_TTL)
                .build(),
        });
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
        if let (Some(tokens), Some(token)) = (&self.tokens, bearer_token(headers)) {
            match tokens.user(&token).await {
                Some(user) => return Ok(authenticated(user)),
                None => wrong = true,
            }
        }
        if self.anonymous && !wrong {
            return Ok(UserInfo {
                name: "system:anonymous".to_owned(),
                groups: vec!["system:unauthenticated".to_owned()],
                ..UserInfo::default()
            });
        }
        Err(AuthError::Unauthorized)
    }
}

impl Tokens {
    /// Whose token it is. An API server that cannot be asked makes nobody's, and is asked again.
    async fn user(&self, token: &[u8]) -> Option<UserInfo> {
        let text = std::str::from_utf8(token)
            .ok()
            .filter(|text| text.len() <= MAX_TOKEN)?;
        let key = Sha256::digest(token).into();
        let looked_up = self.cache.try_get_with(key, self.review(text)).await;
        match looked_up {
            Ok(user) => user,
            Err(error) => {
                tracing::warn!(%error, "a token could not be reviewed");
                None
            }
        }
    }

    async fn review(&self, token: &str) -> Result<Option<UserInfo>, kube::Error> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: token.to_owned(),
                audiences: None,
            },
            ..TokenReview::default()
        };
        let answer = self.reviews.create(&PostParams::default(), &review).await?;
        let status = answer.status.unwrap_or_default();
        let user = status.user.filter(|_| status.authenticated == Some(true));
        Ok(user.map(|user| UserInfo {
            name: user.username.unwrap_or_default(),
            uid: user.uid.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        }))
    }
}

/// The token of `Authorization: Bearer …`, or of the WebSocket subprotocol that browsers use. An
/// empty one is none (`k8s.io/apiserver/pkg/authentication/request/{bearertoken,websocket}`).
fn bearer_token(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let header = value.and_then(|value| {
        let (scheme, token) = value.trim().split_once(' ')?;
        let token = token.split(' ').next()?;
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.into())
    });
    header.or_else(|| {
        let websocket = subprotocol::is_websocket_upgrade(headers);
        subprotocol::bearer_token(headers).filter(|token| websocket && !token.is_empty())
    })
}

fn authenticated(mut user: UserInfo) -> UserInfo {
    const GROUP: &str = "system:authenticated";
    if !user.groups.iter().any(|group| group == GROUP) {
        user.groups.push(GROUP.to_owned());
    }
    user
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn bearer_tokens() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("  Bearer abc  ", Some("abc")),
            ("Bearer abc def", Some("abc")),
            ("Bearer ", None),
            ("Bearer", None),
            ("Basic abc", None),
            ("Bearer  abc", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
            let expected = token.map(|token| token.as_bytes().to_vec());
            assert_eq!(bearer_token(&headers), expected, "{value:?}");
        }
    }

    #[tokio::test]
    async fn anonymous_only_where_it_is_allowed() {
        let headers = HeaderMap::new();
        let closed = Authenticator::new(None, None, false);
        assert!(matches!(
            closed.authenticate(None, &headers).await,
            Err(AuthError::Unauthorized)
        ));
        let open = Authenticator::new(None, None, true);
        let user = open.authenticate(None, &headers).await.unwrap();
        assert_eq!(
            (user.name.as_str(), user.groups),
            ("system:anonymous", vec!["system:unauthenticated".into()])
        );
    }

    #[tokio::test]
    async fn a_certificate_of_a_stranger_is_nobodys_not_even_anonymous() {
        let ca = Arc::new(ClientCa::empty());
        let authenticator = Authenticator::new(Some(ca), None, true);
        let stranger = rcgen::generate_simple_self_signed(["admin".to_owned()]).unwrap();
        let peer = PeerCertificates(vec![stranger.cert.der().clone()]);
        let answer = authenticator
            .authenticate(Some(&peer), &HeaderMap::new())
            .await;
        assert!(matches!(answer, Err(AuthError::Unauthorized)));
    }
}
