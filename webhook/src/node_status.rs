//! `/mutate/node-status`: updates of Nodes' status.
//!
//! A request that can be read is allowed, whatever else is wrong: with a warning where the Node in it
//! cannot be read, and unchanged while the cache of wishes is not filled.

pub mod decide;
pub mod node;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request as HttpRequest, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use streamway_crds::names::NODE_STATUS_PATH;
use streamway_crds::{Feature, NodeStreamingSpec, Traffic};

use crate::body::{self, Refusal};
use crate::metrics::Metrics;
use crate::review::{self, Request};
use crate::wishes::{Wish, Wishes};
use decide::{Change, Patch, Policy, decide};
use node::Node;

/// What is asked for in the webhook configuration's rules.
const RESOURCE: (&str, &str, &str, &str) = ("", "v1", "nodes", "status");

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// What was decided.
    pub decision: Decision,
    /// What is changed.
    pub changes: Vec<Change>,
    /// The AdmissionReview that says so.
    pub review: Vec<u8>,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The update is changed.
    Changed,
    /// The update is as it should be.
    Unchanged,
    /// Nothing is wanted of this node.
    NotWanted,
    /// The cache is not filled yet; nothing is changed.
    NotKnownYet,
    /// The Node in the request cannot be read; nothing is changed.
    Unreadable,
}

impl Decision {
    /// For metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::NotWanted => "not_wanted",
            Self::NotKnownYet => "not_known_yet",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What is served at the path.
#[derive(Debug)]
pub(crate) struct NodeStatus {
    wishes: Wishes,
    policy: Policy,
    metrics: Metrics,
}

impl NodeStatus {
    pub(crate) fn new(wishes: Wishes, policy: Policy, metrics: Metrics) -> Self {
        Self {
            wishes,
            policy,
            metrics,
        }
    }
}

/// The path, served by `this`.
pub(crate) fn routes(this: Arc<NodeStatus>) -> Router {
    Router::new().route(NODE_STATUS_PATH, post(serve).with_state(this))
}

async fn serve(State(this): State<Arc<NodeStatus>>, request: HttpRequest) -> Response {
    let body = body::read(request).await;
    let read = Instant::now();
    let answer = body.and_then(|body| answer(&body, |name| this.wishes.of(name), this.policy));
    let decision = answer
        .as_ref()
        .map_or("refused", |answer| answer.decision.as_str());
    this.metrics
        .answered(NODE_STATUS_PATH, decision, read.elapsed());
    match answer {
        Ok(answer) => {
            for change in answer.changes {
                this.metrics.changed(change.as_str());
            }
            ([(header::CONTENT_TYPE, "application/json")], answer.review).into_response()
        }
        Err(refusal) => {
            tracing::warn!(status = %refusal.status, message = %refusal.message, "request refused");
            refusal.into_response()
        }
    }
}

/// Answers the AdmissionReview `body`. `wish` says what is wanted of the node of a name.
///
/// # Errors
/// 400 for what is no review of `admission.k8s.io/v1`, or one of something else.
pub fn answer(
    body: &[u8],
    wish: impl FnOnce(&str) -> Wish,
    policy: Policy,
) -> Result<Answer, Refusal> {
    let request = Request::read(body)?;
    request.expect(RESOURCE, "UPDATE")?;
    let (decision, patch, warnings) = match wish(&request.name) {
        Wish::NotKnownYet => (Decision::NotKnownYet, None, None),
        Wish::None => (Decision::NotWanted, None, None),
        Wish::Known(wish) if wants_nothing(&wish.spec) => (Decision::NotWanted, None, None),
        Wish::Known(wish) => match nodes(&request) {
            Ok((old, new)) => match decide(&wish.spec, &old, &new, policy) {
                Some(patch) => (Decision::Changed, Some(patch), None),
                None => (Decision::Unchanged, None, None),
            },
            Err(error) => (
                Decision::Unreadable,
                None,
                Some(warning(&request.name, &error)),
            ),
        },
    };
    let warnings: Vec<String> = warnings.into_iter().collect();
    let operations = patch.as_ref().map(|patch| &patch.operations);
    Ok(Answer {
        decision,
        review: review::allow(&request.uid, operations, &warnings),
        changes: patch
            .map(|Patch { changes, .. }| changes)
            .unwrap_or_default(),
    })
}

fn wants_nothing(wish: &NodeStreamingSpec) -> bool {
    (wish.traffic, wish.feature) == (Traffic::Kubelet, Feature::Kubelet)
}

fn nodes(request: &Request<'_>) -> Result<(Node, Node), String> {
    let read = |what: &str, text: Option<&serde_json::value::RawValue>| {
        let text = text.ok_or_else(|| format!("there is no {what}"))?;
        serde_json::from_str(text.get()).map_err(|error| format!("{what}: {error}"))
    };
    Ok((
        read("oldObject", request.old_object)?,
        read("object", request.object)?,
    ))
}

fn warning(name: &str, error: &str) -> String {
    format!("streamway left the status of Node {name} as it is, because it cannot be read: {error}")
}

#[cfg(test)]
mod tests;
