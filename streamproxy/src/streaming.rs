//! Streaming sessions, as both roles run them: translated, tunnelled, or passed through.
//!
//! A role says who may, asks its server for the upgrade, and hands the answer over. The server is
//! always asked first, so that what it refuses reaches the client as HTTP.

mod passed;
mod translated;

use std::sync::Arc;

use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::TokioIo;
use streamway_daemon::gates::FeatureGates;
use streamway_kstream::subprotocol;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::reply::{Body, Refuse};
use crate::route::{Route, Subresource};
use crate::session::{Protocol, Session};
use crate::stream::{Downstream, Opened};

pub(crate) use translated::Translation;

/// What sessions are run with.
#[derive(Debug)]
pub(crate) struct Streams {
    /// "the kubelet" or "the API server".
    pub(crate) noun: &'static str,
    /// The form of an answer that refuses.
    pub(crate) refuse: Refuse,
    /// What is on.
    pub(crate) gates: FeatureGates,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Runs the sessions; closed and awaited at shutdown.
    pub(crate) sessions: TaskTracker,
    /// Cuts the sessions that are left at the end of the grace period.
    pub(crate) cut: CancellationToken,
}

impl Streams {
    /// The account of a session that is asked for.
    pub(crate) fn session(
        &self,
        user: String,
        route: Route,
        client: Protocol,
        upstream: Protocol,
    ) -> Session {
        Session::requested(Arc::clone(&self.metrics), user, route, client, upstream)
    }

    /// Answers with a refusal of ours, and notes it.
    pub(crate) fn refused(
        &self,
        session: &mut Session,
        status: StatusCode,
        text: impl Into<String>,
    ) -> Response<Body> {
        let text = text.into();
        session.refused(status, text.clone());
        (self.refuse)(status, text)
    }
}

/// What a request to a streaming endpoint offers to speak; `None` where it asks for no upgrade to
/// anything that streams.
pub(crate) fn offered(headers: &HeaderMap, subresource: Subresource) -> Option<Protocol> {
    if !subprotocol::is_websocket_upgrade(headers) {
        return subprotocol::is_spdy_upgrade(headers).then_some(Protocol::Spdy);
    }
    let tunnels = subresource == Subresource::PortForward;
    if !tunnels && subprotocol::offers_v5(headers) {
        return Some(Protocol::V5);
    }
    if tunnels && subprotocol::offers_tunnel(headers).is_some() {
        return Some(Protocol::Tunnel);
    }
    Some(Protocol::OtherWebSocket)
}

/// Whether a request that asks for an upgrade has a body too. Kubernetes' clients send none; where
/// the body ends and the stream begins would be for two servers to agree on.
pub(crate) fn has_body(request: &Request<Incoming>) -> bool {
    !request.body().is_end_stream()
}

/// The words for [`has_body`].
pub(crate) const HAS_BODY: &str = "an upgrade request must have no body";

/// The client's connection, once 101 is on it.
async fn downstream(upgrade: hyper::upgrade::OnUpgrade) -> Option<Opened<Downstream>> {
    let parts = upgrade.await.ok()?.downcast::<TokioIo<Downstream>>().ok()?;
    Some(Opened {
        stream: parts.io.into_inner(),
        early: parts.read_buf.to_vec(),
    })
}
