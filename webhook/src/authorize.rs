//! `/authorize`: what API servers ask before RBAC, by an AuthorizationConfiguration.
//!
//! A WebSocket is opened with GET, which is `get` to authorizers. So `get` on what opens sessions is denied
//! to who may not `create` it. Everything else gets no opinion, at once: what the API server asks other
//! authorizers for, and what it is asked by us in turn. Nothing is ever allowed here.
//!
//! Only a caller with a client certificate is answered: the answers say who may do what.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request as HttpRequest, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Extension, Router};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use streamway_crds::names::AUTHORIZE_PATH;

use crate::access::{Guard, Mode, Question, Target, User, Verdict};
use crate::body::{self, Refusal};
use crate::callers::{Caller, Callers};
use crate::metrics::Metrics;

const API_VERSION: &str = "authorization.k8s.io/v1";
const KIND: &str = "SubjectAccessReview";

/// Denies nobody; says who would be.
const AUDIT_PATH: &str = "/authorize/audit";

/// What is served at the paths.
#[derive(Debug)]
pub(crate) struct Authorize {
    /// Who may ask.
    pub(crate) callers: Callers,
    /// Who finds out.
    pub(crate) guard: Arc<Guard>,
    /// What is asked about.
    pub(crate) guarded: Guarded,
    /// What is counted.
    pub(crate) metrics: Metrics,
}

/// What sessions are asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guarded {
    /// Those in pods.
    pub(crate) pods: bool,
    /// `get nodes/proxy`.
    pub(crate) nodes_proxy: bool,
}

/// Both paths, served by `this`.
pub(crate) fn routes(this: &Arc<Authorize>) -> Router {
    let paths = [(AUTHORIZE_PATH, Mode::Deny), (AUDIT_PATH, Mode::Audit)];
    let routes = paths.into_iter().map(|(path, mode)| {
        let state = (Arc::clone(this), path, mode);
        Router::new().route(path, post(serve).with_state(state))
    });
    routes.fold(Router::new(), Router::merge)
}

async fn serve(
    State((this, path, mode)): State<(Arc<Authorize>, &'static str, Mode)>,
    Extension(caller): Extension<Caller>,
    request: HttpRequest,
) -> Response {
    let body = match this.callers.check(&caller) {
        Ok(()) => body::read(request).await,
        Err(refusal) => Err(refusal),
    };
    let read = Instant::now();
    let answer = match body {
        Ok(body) => this.answer(path, mode, &body).await,
        Err(refusal) => Err(refusal),
    };
    let decision = match &answer {
        Ok(Opinion::None) => "no_opinion",
        Ok(Opinion::Denied(_)) => "denied",
        Err(_) => "refused",
    };
    this.metrics.answered(path, decision, read.elapsed());
    match answer {
        Ok(opinion) => {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (json, opinion.review()).into_response()
        }
        Err(refusal) => {
            tracing::warn!(path, status = %refusal.status, message = %refusal.message, "request refused");
            refusal.into_response()
        }
    }
}

impl Authorize {
    async fn answer(
        &self,
        path: &'static str,
        mode: Mode,
        body: &[u8],
    ) -> Result<Opinion, Refusal> {
        let Some(question) = question(body, self.guarded)? else {
            return Ok(Opinion::None);
        };
        let verdict = self.guard.judge(&question).await;
        self.guard.note(path, mode, &question, &verdict);
        match verdict {
            Ok(Verdict::LacksCreate) if mode == Mode::Deny => {
                Ok(Opinion::Denied(question.remedy()))
            }
            Ok(_) => Ok(Opinion::None),
            Err(error) => Err(Refusal::unavailable(error.to_string())),
        }
    }
}

/// What is said to the API server.
#[derive(Debug, PartialEq, Eq)]
enum Opinion {
    /// Nothing.
    None,
    /// No, and why.
    Denied(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
}

/// Of a spec, what says whether it is looked at.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow)]
    resource_attributes: Option<Attributes<'a>>,
}

#[derive(Deserialize)]
struct Attributes<'a> {
    #[serde(borrow, default)]
    verb: Cow<'a, str>,
    #[serde(borrow, default)]
    group: Cow<'a, str>,
    #[serde(borrow, default)]
    resource: Cow<'a, str>,
    #[serde(borrow, default)]
    subresource: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
}

/// The question in a review; none where it is about something else.
///
/// # Errors
/// 400 for what is no SubjectAccessReview of `authorization.k8s.io/v1`.
fn question(body: &[u8], guarded: Guarded) -> Result<Option<Question>, Refusal> {
    let asked: Asked<'_> = serde_json::from_slice(body)
        .map_err(|error| Refusal::bad(format!("the body is no {KIND}: {error}")))?;
    if (&*asked.api_version, &*asked.kind) != (API_VERSION, KIND) {
        return Err(Refusal::bad(format!(
            "the body is {:?} of {:?}, not {KIND} of {API_VERSION}; subjectAccessReviewVersion, or the \
             API server's flag --authorization-webhook-version, must be v1",
            asked.kind, asked.api_version
        )));
    }
    let Some(spec) = asked.spec else {
        return Err(Refusal::bad("the review has no spec"));
    };
    let unreadable = |error| Refusal::bad(format!("the review's spec cannot be read: {error}"));
    let Spec {
        resource_attributes: Some(attributes),
    } = serde_json::from_str(spec.get()).map_err(unreadable)?
    else {
        return Ok(None);
    };
    let Some(target) = attributes.target(guarded) else {
        return Ok(None);
    };
    let user: User = serde_json::from_str(spec.get()).map_err(unreadable)?;
    Ok(Some(Question {
        user,
        target,
        namespace: attributes.namespace.into_owned(),
        name: attributes.name.into_owned(),
    }))
}

impl Attributes<'_> {
    /// What session it would be, if any.
    fn target(&self, guarded: Guarded) -> Option<Target> {
        let by_get = self.verb == "get" && self.group.is_empty();
        let target = by_get.then(|| Target::of(&self.resource, &self.subresource))??;
        let wanted = match target {
            Target::NodesProxy => guarded.nodes_proxy,
            Target::Exec | Target::Attach | Target::Portforward => guarded.pods,
        };
        wanted.then_some(target)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'a> {
    api_version: &'static str,
    kind: &'static str,
    status: Status<'a>,
}

#[derive(Serialize)]
struct Status<'a> {
    allowed: bool,
    denied: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl Opinion {
    /// The review that says so.
    fn review(&self) -> Vec<u8> {
        let reason = match self {
            Self::None => None,
            Self::Denied(reason) => Some(reason.as_str()),
        };
        let answer = Answered {
            api_version: API_VERSION,
            kind: KIND,
            status: Status {
                allowed: false,
                denied: reason.is_some(),
                reason,
            },
        };
        // It holds strings and booleans.
        serde_json::to_vec(&answer).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
