//! The API server's own word: SubjectAccessReviews, remembered for a while.

use std::time::{Duration, Instant};

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::Api;
use kube::api::PostParams;
use moka::Expiry;
use moka::future::Cache;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{AccessMetrics, Question};

/// How long the API server has. It waits for us in turn, for 3 s by the shipped configurations.
const DEADLINE: Duration = Duration::from_secs(2);

/// How long a yes counts. API servers remember what we say as well (`unauthorizedTTL`).
const ALLOWED: Duration = Duration::from_secs(10);

/// How long a no counts: who was told which rule to add tries again at once.
const DENIED: Duration = Duration::from_secs(1);

/// Bytes of answers that are remembered.
const REMEMBERED: u64 = 8 << 20;

/// Questions to the API server at the same time; more wait, and as long as all have.
const AT_ONCE: usize = 64;

/// Why there is no verdict.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// The API server refused, or could not be reached.
    #[error("the API server cannot be asked whether they have create: {0}")]
    Failed(String),
    /// It was too slow.
    #[error("the API server did not say in {DEADLINE:?} whether they have create")]
    Late,
    /// We have just begun.
    #[error("AccessExemptions are not known yet")]
    NotKnownYet,
}

/// Asks the API server; of the same questions at the same time, one.
#[derive(Debug)]
pub(crate) struct Reviews {
    api: Api<SubjectAccessReview>,
    cache: Cache<Question, bool>,
    slots: Semaphore,
    metrics: AccessMetrics,
}

impl Reviews {
    pub(crate) fn new(api: Api<SubjectAccessReview>, metrics: AccessMetrics) -> Self {
        let cache = Cache::builder()
            .max_capacity(REMEMBERED)
            .weigher(|question: &Question, _| question.weight())
            .expire_after(ByAnswer)
            .build();
        Self {
            api,
            cache,
            slots: Semaphore::new(AT_ONCE),
            metrics,
        }
    }

    /// Whether the API server would let them `create` it.
    ///
    /// # Errors
    /// [`Unavailable`] where it does not say.
    pub(crate) async fn may_create(&self, question: &Question) -> Result<bool, Unavailable> {
        if let Some(allowed) = self.cache.get(question).await {
            self.metrics.answered("cache");
            return Ok(allowed);
        }
        let asking = self.cache.try_get_with_by_ref(question, self.ask(question));
        match timeout(DEADLINE, asking).await {
            Ok(answer) => answer.map_err(|error| (*error).clone()),
            Err(_) => {
                self.metrics.answered("late");
                Err(Unavailable::Late)
            }
        }
    }

    async fn ask(&self, question: &Question) -> Result<bool, Unavailable> {
        // Nobody closes it.
        let _slot = self.slots.acquire().await;
        let asked = self
            .api
            .create(&PostParams::default(), &question.create())
            .await;
        match asked {
            Ok(review) => {
                self.metrics.answered("review");
                let status = review.status.unwrap_or_default();
                Ok(status.allowed && status.denied != Some(true))
            }
            Err(error) => {
                self.metrics.answered("failed");
                Err(Unavailable::Failed(error.to_string()))
            }
        }
    }
}

/// A yes counts longer than a no.
#[derive(Debug)]
struct ByAnswer;

impl Expiry<Question, bool> for ByAnswer {
    fn expire_after_create(
        &self,
        _question: &Question,
        allowed: &bool,
        _now: Instant,
    ) -> Option<Duration> {
        Some(if *allowed { ALLOWED } else { DENIED })
    }
}

#[cfg(test)]
mod tests;
