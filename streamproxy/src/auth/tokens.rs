//! Whose a bearer token is, by TokenReview.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::Client;
use moka::future::Cache;
use sha2::{Digest, Sha256};

use super::UserInfo;
use super::review::{ReviewError, Reviewer};

/// How long the API server's word on a token counts (kubelet: `authentication.webhook.cacheTTL`).
const TTL: Duration = Duration::from_secs(120);

/// Tokens that are remembered.
const TOKENS: u64 = 4096;

const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// Asks about tokens and remembers the answers. Requests that ask for one token at once share one
/// review.
#[derive(Debug)]
pub(super) struct Tokens {
    reviewer: Reviewer,
    /// By the token's hash: tokens themselves are not kept. `None` is a token that nobody knows.
    cache: Cache<[u8; 32], Option<UserInfo>>,
}

impl Tokens {
    pub(super) fn new(client: Client) -> Self {
        let cache = Cache::builder()
            .max_capacity(TOKENS)
            .time_to_live(TTL)
            .build();
        Self {
            reviewer: Reviewer::new(client, PATH),
            cache,
        }
    }

    /// Whose token it is. A token that cannot be reviewed is nobody's, and is asked about again with
    /// the next request: as `token/cache` of `k8s.io/apiserver@v0.36.3` with `cacheErrs` off.
    pub(super) async fn user(&self, token: String) -> Option<UserInfo> {
        let key = Sha256::digest(&token).into();
        let answer = self.cache.try_get_with(key, self.review(token)).await;
        answer.unwrap_or_else(|error| {
            tracing::warn!(%error, "a token could not be reviewed");
            None
        })
    }

    async fn review(&self, token: String) -> Result<Option<UserInfo>, ReviewError> {
        let spec = TokenReviewSpec {
            token,
            audiences: None,
        };
        let review = TokenReview {
            spec,
            ..TokenReview::default()
        };
        let status = self
            .reviewer
            .post(&review)
            .await?
            .status
            .unwrap_or_default();
        if status.authenticated != Some(true) {
            return match status.error.filter(|error| !error.is_empty()) {
                Some(error) => Err(ReviewError::Failed(error)),
                None => Ok(None),
            };
        }
        Ok(status.user.map(|user| UserInfo {
            name: user.username.unwrap_or_default(),
            uid: user.uid.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        }))
    }
}
