//! `/admit/connect/{audit,warn,deny}`: sessions in pods at admission, for API servers whose authorizers
//! cannot be configured, and where the ValidatingAdmissionPolicy does not do.
//!
//! Admission sees no method. But whoever came this far by SPDY, a POST, has `create`; so who lacks it came
//! by a GET. What becomes of them is said by the path, and namespaceSelectors lead each namespace to its
//! own.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request as HttpRequest, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use crate::access::{Guard, Mode, Question, Target, Verdict};
use crate::body::{self, Refusal};
use crate::metrics::Metrics;
use crate::review::{self, Request};

/// The paths, and what becomes of a session without `create` there. They begin with
/// [`streamway_crds::names::CONNECT_PATH`].
const PATHS: [(&str, Mode); 3] = [
    ("/admit/connect/audit", Mode::Audit),
    ("/admit/connect/warn", Mode::Warn),
    ("/admit/connect/deny", Mode::Deny),
];

/// What an answer's audit annotation is called; the API server puts the webhook's name before it.
const ANNOTATION: &str = "create-check";

/// What is served at the paths.
#[derive(Debug)]
pub(crate) struct Connect {
    /// Who finds out.
    pub(crate) guard: Arc<Guard>,
    /// Whether sessions are asked about.
    pub(crate) guarded: bool,
    /// What is counted.
    pub(crate) metrics: Metrics,
}

/// All paths, served by `this`.
pub(crate) fn routes(this: &Arc<Connect>) -> Router {
    let routes = PATHS.into_iter().map(|(path, mode)| {
        let this = Arc::clone(this);
        let route = post(serve).with_state((this, path, mode));
        Router::new().route(path, route)
    });
    routes.fold(Router::new(), Router::merge)
}

async fn serve(
    State((this, path, mode)): State<(Arc<Connect>, &'static str, Mode)>,
    request: HttpRequest,
) -> Response {
    let body = body::read(request).await;
    let read = Instant::now();
    let answer = match body {
        Ok(body) => this.answer(path, mode, &body).await,
        Err(refusal) => Err(refusal),
    };
    let decision = answer.as_ref().map_or("refused", |answer| answer.decision);
    this.metrics.answered(path, decision, read.elapsed());
    match answer {
        Ok(answer) => {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (json, answer.review).into_response()
        }
        Err(refusal) => {
            tracing::warn!(path, status = %refusal.status, message = %refusal.message, "request refused");
            refusal.into_response()
        }
    }
}

/// An answer, and what it is counted as.
#[derive(Debug)]
struct Answer {
    decision: &'static str,
    review: Vec<u8>,
}

impl Connect {
    async fn answer(&self, path: &'static str, mode: Mode, body: &[u8]) -> Result<Answer, Refusal> {
        let request = Request::read(body)?;
        let question = question(&request)?;
        if !self.guarded {
            return Ok(answer(&request.uid, mode, &question, &Verdict::HasCreate));
        }
        let verdict = self.guard.judge(&question).await;
        self.guard.note(path, mode, &question, &verdict);
        match verdict {
            Ok(verdict) => Ok(answer(&request.uid, mode, &question, &verdict)),
            Err(error) => Err(Refusal::unavailable(error.to_string())),
        }
    }
}

/// The question in a review.
///
/// # Errors
/// 400 for a review of anything but CONNECT to what opens sessions in pods, with what the webhook
/// configuration's rules must say.
fn question(request: &Request<'_>) -> Result<Question, Refusal> {
    let target = Target::of("pods", &request.sub_resource).unwrap_or(Target::Exec);
    let (resource, subresource) = target.parts();
    request.expect(("", "v1", resource, subresource), "CONNECT")?;
    Ok(Question {
        user: request.user()?,
        target,
        namespace: request.namespace.clone().into_owned(),
        name: request.name.clone().into_owned(),
    })
}

/// What is answered to a verdict.
fn answer(uid: &str, mode: Mode, question: &Question, verdict: &Verdict) -> Answer {
    let (decision, review) = match verdict {
        Verdict::HasCreate => ("allowed", review::allow::<()>(uid, None, &[])),
        Verdict::Exempt(exempt) => {
            let note = format!("exempt by {}: {}", exempt.name, exempt.why);
            (
                "allowed",
                review::allow_noted(uid, &[], (ANNOTATION, &note)),
            )
        }
        Verdict::LacksCreate => {
            let remedy = question.remedy();
            match mode {
                Mode::Audit => (
                    "audited",
                    review::allow_noted(uid, &[], (ANNOTATION, &remedy)),
                ),
                Mode::Warn => {
                    let warnings = [remedy.clone()];
                    (
                        "warned",
                        review::allow_noted(uid, &warnings, (ANNOTATION, &remedy)),
                    )
                }
                Mode::Deny => ("denied", review::deny(uid, &remedy, (ANNOTATION, &remedy))),
            }
        }
    };
    Answer { decision, review }
}

#[cfg(test)]
mod tests;
