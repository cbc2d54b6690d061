//! Asks the API server for a review: a POST whose answer is the same object with a status.

use std::time::Duration;

use http::{Request, header};
use kube::Client;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// How long a caller waits for an answer, retries included; a kubelet's shared token lookup has as
/// long (`k8s.io/apiserver@v0.36.3/pkg/authentication/token/cache`).
const TIMEOUT: Duration = Duration::from_secs(30);

/// A kubelet's own backoff: five attempts, the first pause, and by how many halves it grows
/// (`k8s.io/apiserver@v0.36.3/pkg/server/options/authentication.go`, `DefaultAuthWebhookRetryBackoff`).
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Why there is no answer. No variant holds what was asked: that may be a token.
#[derive(Debug, Error)]
pub(super) enum ReviewError {
    /// The API server refused, or could not be reached.
    #[error("the API server cannot be asked: {0}")]
    Api(#[source] Box<kube::Error>),
    /// It answered too late.
    #[error("the API server gave no answer in 30 s")]
    Timeout,
    /// It answered something else.
    #[error("the API server's answer is no review")]
    Answer,
    /// The review itself failed, in the API server's words.
    #[error("the review failed: {0}")]
    Failed(String),
}

/// The API server, for one kind of review.
pub(super) struct Reviewer {
    client: Client,
    path: &'static str,
}

impl std::fmt::Debug for Reviewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reviewer").field(&self.path).finish()
    }
}

impl Reviewer {
    /// Reviews are posted to `path`.
    pub(super) fn new(client: Client, path: &'static str) -> Self {
        Self { client, path }
    }

    /// Posts `review` and gives back the answer.
    ///
    /// Goes around `kube::Api`, which logs an answer that it cannot parse: the answer to a token
    /// review repeats the token.
    pub(super) async fn post<R: Serialize + DeserializeOwned>(
        &self,
        review: &R,
    ) -> Result<R, ReviewError> {
        let body = serde_json::to_vec(review).map_err(|_| ReviewError::Answer)?;
        let text = tokio::time::timeout(TIMEOUT, post_again(&self.client, self.path, &body))
            .await
            .map_err(|_| ReviewError::Timeout)?
            .map_err(|error| ReviewError::Api(Box::new(error)))?;
        // The parser's message could quote the answer.
        serde_json::from_str(&text).map_err(|_| ReviewError::Answer)
    }
}

async fn post_again(client: &Client, path: &str, body: &[u8]) -> Result<String, kube::Error> {
    let mut pause = FIRST_PAUSE;
    let mut attempt = 1;
    loop {
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .body(body.to_vec())
            .map_err(kube::Error::HttpError)?;
        match client.request_text(request).await {
            Err(error) if attempt < ATTEMPTS && may_pass(&error) => {
                tracing::debug!(%error, attempt, "a review is tried again");
                tokio::time::sleep(pause).await;
                pause = pause * 3 / 2;
                attempt += 1;
            }
            answer => return answer,
        }
    }
}

/// Too many requests, internal error, gateway timeout: as `DefaultShouldRetry` of
/// `k8s.io/apiserver@v0.36.3/pkg/util/webhook`.
fn may_pass(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 429 | 500 | 504))
}
