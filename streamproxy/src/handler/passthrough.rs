//! Upgrades that the kubelet speaks itself: SPDY, older WebSocket subprotocols, and v5 and tunnels
//! where it declares them. Bytes go through as they are, and each direction ends on its own.

use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::TokioIo;
use streamway_translate::{Bytes, Outcome};
use tokio::io::copy_bidirectional_with_sizes;

use super::{Node, Peer, refusal_passes};
use crate::auth::UserInfo;
use crate::headers;
use crate::kubelet::Answer;
use crate::reply::{self, Body};
use crate::route::Route;
use crate::session::{Protocol, Session};
use crate::stream::{Downstream, Opened, Upstream};

/// Bytes that are read at a time: one TLS record.
const STEP: usize = 16 << 10;

impl Node {
    pub(super) async fn passed_upgrade(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        route: Route,
        user: UserInfo,
        peer: &Peer,
        protocol: Protocol,
    ) -> Response<Body> {
        let metrics = Arc::clone(&self.metrics);
        let mut session = Session::requested(metrics, user, route, protocol, protocol);
        if let Some(response) = body_refused(&request) {
            session.refused(response.status(), "the request has a body");
            return response;
        }
        let Some(token) = request.headers().get(header::UPGRADE).cloned() else {
            return reply::text(StatusCode::BAD_REQUEST, "the Upgrade header is missing");
        };
        let client = hyper::upgrade::on(&mut request);
        let mut headers = std::mem::take(request.headers_mut());
        headers::strip_hop_by_hop(&mut headers);
        headers::strip_identity(&mut headers, peer.address.ip());
        headers.insert(header::UPGRADE, token.clone());
        let target = request.uri().path_and_query().cloned();
        let answer = self
            .kubelet
            .upgrade(request.method().clone(), target, headers)
            .await;
        let (answered, upstream) = match answer {
            Ok(Answer::Switched(answered, upstream)) => (answered, upstream),
            Ok(Answer::Refused(response)) => {
                if protocol == Protocol::V5 && response.status() == StatusCode::FORBIDDEN {
                    // A kubelet that does not take what it declared: perhaps another one by now.
                    self.kubelet.declared().doubt();
                }
                return refused(&mut session, response);
            }
            Err(error) => {
                session.refused(error.status(), error.to_string());
                return reply::text(error.status(), error.to_string());
            }
        };
        let same = answered
            .get(header::UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(token.as_bytes()));
        if !same {
            let text = "the kubelet switched to another protocol than was asked for";
            session.refused(StatusCode::BAD_GATEWAY, text);
            return reply::text(StatusCode::BAD_GATEWAY, text);
        }
        session.opened();
        let cut = self.cut.clone();
        self.sessions.spawn(async move {
            let Some(client) = downstream(client).await else {
                session.ended(Outcome::ClientGone, "the client left", Bytes::default());
                return;
            };
            tokio::select! {
                () = pass(client, upstream, &mut session) => {}
                () = cut.cancelled() => {
                    session.ended(Outcome::Shutdown, "the grace period ended", Bytes::default());
                }
            }
        });
        let mut response = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
        *response.headers_mut() = switched(answered, &token);
        response
    }
}

/// The kubelet's refusal, for the client and the account.
pub(super) fn refused(session: &mut Session, response: Response<Incoming>) -> Response<Body> {
    let status = response.status();
    if refusal_passes(status) {
        session.refused(status, "the kubelet refused");
        return reply::kubelets(response);
    }
    let text = if status.is_redirection() {
        format!("the kubelet answered an upgrade with status {status}: redirect not allowed")
    } else {
        format!("the kubelet answered an upgrade with status {status}")
    };
    session.refused(StatusCode::BAD_GATEWAY, text.clone());
    reply::text(StatusCode::BAD_GATEWAY, text)
}

/// A request that upgrades and has a body is none that Kubernetes' clients send; where one ends and
/// the stream begins would be for two servers to agree on.
pub(super) fn body_refused(request: &Request<Incoming>) -> Option<Response<Body>> {
    let empty = request.body().is_end_stream();
    (!empty).then(|| {
        reply::text(
            StatusCode::BAD_REQUEST,
            "an upgrade request must have no body",
        )
    })
}

/// The client's connection, once 101 is on it.
pub(super) async fn downstream(upgrade: hyper::upgrade::OnUpgrade) -> Option<Opened<Downstream>> {
    let parts = upgrade.await.ok()?.downcast::<TokioIo<Downstream>>().ok()?;
    Some(Opened {
        stream: parts.io.into_inner(),
        early: parts.read_buf.to_vec(),
    })
}

fn switched(mut headers: HeaderMap, token: &HeaderValue) -> HeaderMap {
    headers::strip_hop_by_hop(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(HeaderName::from_static("date"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, token.clone());
    headers
}

async fn pass(
    mut client: Opened<Downstream>,
    mut upstream: Opened<Upstream>,
    session: &mut Session,
) {
    let copied = copy_bidirectional_with_sizes(&mut client, &mut upstream, STEP, STEP).await;
    match copied {
        Ok((from_client, from_upstream)) => {
            session.passed(
                "",
                Bytes {
                    from_client,
                    from_upstream,
                },
            );
        }
        Err(error) => session.passed(error.to_string(), Bytes::default()),
    }
}
