//! The rule that a session needs `create` as well as `get`, and who is exempt from it.
//!
//! Two paths ask it: [`authorize`](crate::authorize), which API servers ask before RBAC, and
//! [`connect`](crate::connect), which they ask at admission.
//!
//! ```text
//!  Question ──▶ RBAC's index, where it may answer ──▶ SubjectAccessReview ──▶ AccessExemptions ──▶ Verdict
//!               yes: has create                       yes: has create        yes: exempt         lacks it
//! ```
//!
//! The API server's word, for `create` on the same object by the same user, is the truth: whatever
//! authorizers it has are asked, and webhooks before it too, this one included, which has no opinion on
//! `create`. What it cannot say in time is no verdict; the API server that asks has a failure policy for
//! that.

mod exemptions;
mod metrics;
mod question;
mod reviews;
mod rights;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::{Api, Client};
use streamway_daemon::admin::Condition;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub(crate) use exemptions::{Exempt, Exemptions};
pub(crate) use metrics::AccessMetrics;
pub(crate) use question::{Question, Target, User};
use reviews::Reviews;
pub(crate) use reviews::Unavailable;
use rights::Rights;

/// What becomes of a session without `create`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is let through, and counted and logged.
    Audit,
    /// The same, and whoever asks is warned.
    Warn,
    /// It is refused.
    Deny,
}

/// What is found of somebody who wants a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They may `create` it.
    HasCreate,
    /// They may not, and an AccessExemption says that they need not.
    Exempt(Exempt),
    /// They may not.
    LacksCreate,
}

impl Verdict {
    /// For metrics and logs.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::HasCreate => "has_create",
            Self::Exempt(_) => "exempt",
            Self::LacksCreate => "lacks_create",
        }
    }
}

/// How long the index is not asked after it was wrong.
const DISTRUST: Duration = Duration::from_secs(60);

/// Finds [`Verdict`]s.
#[derive(Debug)]
pub(crate) struct Guard {
    reviews: Arc<Reviews>,
    exemptions: Exemptions,
    /// Where RBAC's index answers first.
    rights: Option<Checked>,
    metrics: AccessMetrics,
}

/// An index whose answers are compared with the API server's, one at a time.
#[derive(Debug)]
struct Checked {
    rights: Rights,
    comparing: Arc<Semaphore>,
    /// When it was last wrong.
    wrong: Arc<Mutex<Option<Instant>>>,
}

impl Guard {
    /// Asks the API server that `client` knows; where `rbac_first` is said, an index over its roles
    /// and bindings before. `filled` is met once every AccessExemption was seen.
    pub(crate) fn new(
        client: Client,
        rbac_first: bool,
        filled: Condition,
        metrics: AccessMetrics,
    ) -> Self {
        let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
        Self {
            reviews: Arc::new(Reviews::new(reviews, metrics.clone())),
            rights: rbac_first.then(|| Checked {
                rights: Rights::watch(&client),
                comparing: Arc::new(Semaphore::new(1)),
                wrong: Arc::default(),
            }),
            exemptions: Exemptions::watch(client, filled),
            metrics,
        }
    }

    /// What is true of who asks.
    ///
    /// # Errors
    /// [`Unavailable`] where the API server does not say in time, and where exemptions are not known yet.
    pub(crate) async fn judge(&self, question: &Question) -> Result<Verdict, Unavailable> {
        let checked = self.rights.as_ref().filter(|checked| checked.is_trusted());
        if checked.is_some_and(|checked| checked.rights.may_create(question)) {
            self.metrics.answered("index");
            self.compare(question);
            return Ok(Verdict::HasCreate);
        }
        if self.reviews.may_create(question).await? {
            return Ok(Verdict::HasCreate);
        }
        let exempt = self.exemptions.of(question, Timestamp::now())?;
        Ok(exempt.map_or(Verdict::LacksCreate, Verdict::Exempt))
    }

    /// Asks the API server what the index has answered with yes; not where it is being asked so already.
    fn compare(&self, question: &Question) {
        let Some(checked) = &self.rights else { return };
        let Ok(permit) = Arc::clone(&checked.comparing).try_acquire_owned() else {
            return;
        };
        let (reviews, metrics) = (Arc::clone(&self.reviews), self.metrics.clone());
        let (wrong, question) = (Arc::clone(&checked.wrong), question.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if reviews.may_create(&question).await == Ok(false) {
                metrics.disagreed();
                let (user, resource) = (&question.user.name, question.target.resource());
                let namespace = &question.namespace;
                tracing::warn!(
                    user,
                    resource,
                    namespace,
                    "RBAC gives create, and the API server says no; it alone is asked for {DISTRUST:?}"
                );
                *wrong.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
        });
    }

    /// Counts a verdict at `path`, and logs one of somebody without `create`.
    pub(crate) fn note(
        &self,
        path: &'static str,
        mode: Mode,
        question: &Question,
        verdict: &Result<Verdict, Unavailable>,
    ) {
        let (decision, reason) = match verdict {
            Ok(verdict @ Verdict::LacksCreate) => (mode.as_decision(), verdict.as_str()),
            Ok(verdict) => ("pass", verdict.as_str()),
            Err(_) => ("none", "unavailable"),
        };
        let target = question.target;
        self.metrics.decided(path, target, decision, reason);
        let (namespace, name) = (&question.namespace, &question.name);
        let (user, resource) = (&question.user.name, target.resource());
        match verdict {
            Ok(Verdict::HasCreate) => {}
            Ok(Verdict::Exempt(Exempt {
                name: exemption,
                why,
            })) => tracing::info!(
                path,
                user,
                resource,
                namespace,
                name,
                decision,
                reason,
                exemption,
                why,
                "a session without create"
            ),
            Ok(Verdict::LacksCreate) => tracing::info!(
                path,
                user,
                resource,
                namespace,
                name,
                decision,
                reason,
                "a session without create"
            ),
            Err(error) => tracing::warn!(
                path, user, resource, namespace, name, %error,
                "nothing is known of a session"
            ),
        }
    }
}

impl Checked {
    fn is_trusted(&self) -> bool {
        let wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.is_none_or(|when| when.elapsed() >= DISTRUST)
    }
}

impl Mode {
    fn as_decision(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::Deny => "deny",
        }
    }
}

#[cfg(test)]
mod tests;
