//! Asks the API server what a caller may do, with the caller's own credentials: a
//! SelfSubjectAccessReview, which everyone who is authenticated may make. The gateway needs no right
//! for it.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::{Value, json};

use super::apiserver::{ApiServers, Shown};
use super::identity::Question;
use crate::lane::Lane;
use crate::reply::{self, Body};
use crate::route::Route;
use crate::upstream::Outgoing;

const PATH: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// The largest answer that is read. One is a few hundred bytes.
const MOST: usize = 64 << 10;

/// Headers that say whose a request is, and what its trace is; nothing else of a client's request is in
/// the review.
const KEPT: [HeaderName; 3] = [
    header::AUTHORIZATION,
    header::USER_AGENT,
    HeaderName::from_static("x-forwarded-for"),
];

/// What the API server said.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Yes.
    Allowed,
    /// No, and its authorizer's reason, often empty.
    Denied(String),
    /// It did not say; this is what the client is to be answered instead.
    Unknown(Response<Body>),
}

/// A question about the caller.
#[derive(Debug)]
pub(super) struct Review(Value);

impl Review {
    /// Whether they may `create` a pod's streaming subresource, as kube-apiserver 1.35 asks
    /// (`k8s.io/kubernetes@v1.36.3/pkg/registry/core/pod/rest/authorize.go`).
    pub(super) fn create(route: &Route) -> Self {
        Self(json!({
            "verb": "create",
            "version": "v1",
            "resource": "pods",
            "subresource": route.subresource.as_str(),
            "namespace": route.namespace,
            "name": route.pod,
        }))
    }

    /// Whether they may impersonate somebody, or something of somebody.
    pub(super) fn impersonate(question: &Question) -> Self {
        Self(json!({
            "verb": "impersonate",
            "group": question.group,
            "version": "v1",
            "resource": question.resource,
            "subresource": question.subresource,
            "namespace": question.namespace,
            "name": question.name,
        }))
    }

    /// Asks. `identity` are the headers of a request that is ready to be sent as `shown`; of them
    /// those that say whose it is are used.
    pub(super) async fn ask(
        self,
        servers: &ApiServers,
        lane: &Lane,
        shown: Shown,
        identity: &HeaderMap,
        is_identity: impl Fn(&HeaderName) -> bool,
    ) -> Verdict {
        let body = json!({
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "spec": {"resourceAttributes": self.0},
        });
        let body = Bytes::from(body.to_string());
        let mut headers = HeaderMap::new();
        for (name, value) in identity {
            if is_identity(name) || KEPT.contains(name) {
                headers.append(name, value.clone());
            }
        }
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json.clone());
        headers.insert(header::ACCEPT, json);
        let host = identity.get(header::HOST).cloned();
        headers.insert(
            header::HOST,
            host.unwrap_or_else(|| HeaderValue::from_static("kubernetes")),
        );
        let mut request = Request::new(Outgoing::Full(Full::new(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static(PATH);
        *request.headers_mut() = headers;
        let response = match servers.send(lane, shown, request, false).await {
            Ok(response) => response,
            Err(error) => {
                return Verdict::Unknown(reply::status(error.status(), error.to_string()));
            }
        };
        if !response.status().is_success() {
            // 401, 403, 429 …: as true of the request itself.
            return Verdict::Unknown(reply::servers(response));
        }
        let read = Limited::new(response.into_body(), MOST).collect().await;
        let answer = read
            .ok()
            .and_then(|read| serde_json::from_slice::<Value>(&read.to_bytes()).ok())
            .unwrap_or_default();
        let reason = answer.pointer("/status/reason").and_then(Value::as_str);
        match answer.pointer("/status/allowed").and_then(Value::as_bool) {
            Some(true) => Verdict::Allowed,
            Some(false) => Verdict::Denied(reason.unwrap_or_default().to_owned()),
            None => {
                let text = "the API server's answer to a SelfSubjectAccessReview is none";
                Verdict::Unknown(reply::status(StatusCode::INTERNAL_SERVER_ERROR, text))
            }
        }
    }
}
