//! exec and attach from v5 to SPDY, and port-forward tunnels.

use std::sync::Arc;
use std::time::Instant;

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use streamway_daemon::gates::FeatureGate;
use streamway_kstream::channel::StreamOptions;
use streamway_kstream::subprotocol::{self, Subprotocol};
use streamway_kstream::ws::handshake;
use streamway_spdy::Limits;
use streamway_translate::exec::Exec;
use streamway_translate::tunnel::Tunnel;
use streamway_translate::{Bytes, Outcome, Outputs, Translate};

use super::passthrough::{body_refused, downstream, refused};
use super::{Node, Peer};
use crate::auth::UserInfo;
use crate::headers;
use crate::kubelet::Answer;
use crate::relay::{self, Leg};
use crate::reply::{self, Body};
use crate::route::Route;
use crate::session::{Protocol, Session};
use crate::stream::{Opened, Upstream};

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// What a session is translated to.
struct Plan {
    /// The WebSocket subprotocol that the client is answered.
    client: String,
    /// The `X-Stream-Protocol-Version` that the kubelet is asked for.
    upstream: String,
    /// exec's and attach's streams; `None` for a tunnel.
    options: Option<StreamOptions>,
}

impl Node {
    /// The kubelet is asked first, so that what it refuses reaches the client as HTTP; 101 is
    /// answered once every stream is open.
    pub(super) async fn translated(
        self: Arc<Self>,
        mut request: Request<Incoming>,
        route: Route,
        user: UserInfo,
        peer: &Peer,
        tunnels: bool,
    ) -> Response<Body> {
        let protocol = if tunnels {
            Protocol::Tunnel
        } else {
            Protocol::V5
        };
        let metrics = Arc::clone(&self.metrics);
        let mut session = Session::requested(metrics, user, route, protocol, Protocol::Spdy);
        if let Some(response) = body_refused(&request) {
            session.refused(response.status(), "the request has a body");
            return response;
        }
        let accept = match handshake::check(request.method(), request.headers()) {
            Ok(accept) => accept,
            Err(error) => {
                session.refused(error.status(), error.to_string());
                let mut response = reply::text(error.status(), error.to_string());
                response.headers_mut().extend(error.headers());
                return response;
            }
        };
        let plan = match plan(&request, tunnels) {
            Ok(plan) => plan,
            Err(text) => {
                session.refused(StatusCode::BAD_REQUEST, text.clone());
                return reply::text(StatusCode::BAD_REQUEST, text);
            }
        };
        let client = hyper::upgrade::on(&mut request);
        let target = request.uri().path_and_query().cloned();
        let headers = spdy_headers(request.headers_mut(), &plan, peer);
        let (answered, upstream) = match self.kubelet.upgrade(Method::POST, target, headers).await {
            Ok(Answer::Switched(answered, upstream)) => (answered, upstream),
            Ok(Answer::Refused(response)) => return refused(&mut session, response),
            Err(error) => {
                session.refused(error.status(), error.to_string());
                return reply::text(error.status(), error.to_string());
            }
        };
        let agreed = answered.get(&STREAM_PROTOCOL).map(HeaderValue::as_bytes);
        let spdy = subprotocol::is_spdy_upgrade(&answered);
        if !spdy || agreed != Some(plan.upstream.as_bytes()) {
            let text = format!(
                "the kubelet did not agree on SPDY/3.1 with {}",
                plan.upstream
            );
            session.refused(StatusCode::BAD_GATEWAY, text.clone());
            return reply::text(StatusCode::BAD_GATEWAY, text);
        }
        let limits = Limits::default();
        let mut out = Outputs::default();
        match plan.options {
            Some(options) => {
                let machine = Exec::new(options, limits, Instant::now(), &mut out);
                self.run(
                    session,
                    machine,
                    out,
                    client,
                    upstream,
                    &accept,
                    &plan.client,
                )
                .await
            }
            None => {
                let isolate = self.gates.enabled(FeatureGate::IsolatePortForwardErrors);
                let machine = Tunnel::new(isolate, limits);
                self.run(
                    session,
                    machine,
                    out,
                    client,
                    upstream,
                    &accept,
                    &plan.client,
                )
                .await
            }
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "everything that a session is made of"
    )]
    async fn run<T: Translate + Unpin + Send + 'static>(
        &self,
        mut session: Session,
        mut machine: T,
        mut out: Outputs,
        client: hyper::upgrade::OnUpgrade,
        upstream: Opened<Upstream>,
        accept: &str,
        subprotocol: &str,
    ) -> Response<Body> {
        let mut upstream = Leg::new(upstream);
        relay::open(&mut upstream, &mut machine, &mut out).await;
        // Once every stream is open the command may have run, and an answer but 101 would have kubectl
        // fall back to SPDY and run it again: how it ended is then told inside the WebSocket.
        if let Some(end) = machine.end()
            && !machine.is_open()
            && !end.outcome.is_the_commands()
        {
            session.refused(StatusCode::BAD_GATEWAY, end.detail.clone());
            return reply::text(StatusCode::BAD_GATEWAY, end.detail.clone());
        }
        session.opened();
        let cut = self.cut.clone();
        self.sessions.spawn(async move {
            let Some(client) = downstream(client).await else {
                session.ended(Outcome::ClientGone, "the client left", Bytes::default());
                return;
            };
            let cut = cut.cancelled_owned();
            let refused = |refusal: &_| session.port_refused(refusal);
            let end = relay::run(Leg::new(client), upstream, &mut machine, out, cut, refused).await;
            session.ended(end.outcome, end.detail, machine.bytes());
        });
        let mut response = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        for (name, value) in [
            (header::SEC_WEBSOCKET_ACCEPT, accept),
            (header::SEC_WEBSOCKET_PROTOCOL, subprotocol),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

fn plan(request: &Request<Incoming>, tunnels: bool) -> Result<Plan, String> {
    if tunnels {
        let offered = subprotocol::offers_tunnel(request.headers()).unwrap_or_default();
        return Ok(Plan {
            client: offered.to_owned(),
            upstream: subprotocol::tunnel_spdy_protocol(offered).to_owned(),
            options: None,
        });
    }
    let query = request.uri().query().unwrap_or_default();
    let options = StreamOptions::from_kubelet_query(query).map_err(|error| error.to_string())?;
    Ok(Plan {
        client: Subprotocol::V5.as_str().to_owned(),
        upstream: Subprotocol::V4.as_str().to_owned(),
        options: Some(options),
    })
}

/// The client's headers, but for those of its connection, its handshake and its identity.
fn spdy_headers(headers: &mut HeaderMap, plan: &Plan, peer: &Peer) -> HeaderMap {
    let mut headers = std::mem::take(headers);
    headers::strip_hop_by_hop(&mut headers);
    headers::strip_identity(&mut headers, peer.address.ip());
    for name in [
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_VERSION,
        header::SEC_WEBSOCKET_PROTOCOL,
        header::SEC_WEBSOCKET_EXTENSIONS,
        header::CONTENT_LENGTH,
        STREAM_PROTOCOL,
    ] {
        headers.remove(name);
    }
    headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    if let Ok(protocol) = HeaderValue::from_str(&plan.upstream) {
        headers.insert(STREAM_PROTOCOL, protocol);
    }
    headers
}
