//! exec and attach from v5 to SPDY, and port-forward tunnels.

use std::time::Instant;

use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use streamway_daemon::gates::FeatureGate;
use streamway_kstream::channel::StreamOptions;
use streamway_kstream::subprotocol::{self, STREAM_PROTOCOL_VERSION, Subprotocol};
use streamway_kstream::ws::handshake::{self, HandshakeError};
use streamway_spdy::Limits;
use streamway_translate::exec::Exec;
use streamway_translate::tunnel::Tunnel;
use streamway_translate::{Bytes, Outcome, Outputs, Translate};

use super::{Streams, downstream};
use crate::relay::{self, Leg};
use crate::reply::{self, Body};
use crate::session::Session;
use crate::stream::{Opened, Upstream};
use crate::upstream::{Answer, UpstreamError};

/// What a WebSocket request is translated to.
#[derive(Debug)]
pub(crate) struct Translation {
    /// The value of `Sec-WebSocket-Accept`.
    accept: String,
    /// The WebSocket subprotocol that the client is answered.
    client: String,
    /// The `X-Stream-Protocol-Version` that the server is asked for.
    upstream: String,
    /// exec's and attach's streams; `None` for a tunnel.
    options: Option<StreamOptions>,
}

impl Translation {
    /// exec or attach, with the streams that the request's query wants.
    ///
    /// # Errors
    ///
    /// A handshake that is none.
    pub(crate) fn remote_command(
        method: &Method,
        headers: &HeaderMap,
        options: StreamOptions,
    ) -> Result<Self, HandshakeError> {
        Ok(Self {
            accept: handshake::check(method, headers)?,
            client: Subprotocol::V5.as_str().to_owned(),
            upstream: Subprotocol::V4.as_str().to_owned(),
            options: Some(options),
        })
    }

    /// A port-forward tunnel.
    ///
    /// # Errors
    ///
    /// A handshake that is none.
    pub(crate) fn tunnel(method: &Method, headers: &HeaderMap) -> Result<Self, HandshakeError> {
        let offered = subprotocol::offers_tunnel(headers).unwrap_or_default();
        Ok(Self {
            accept: handshake::check(method, headers)?,
            client: offered.to_owned(),
            upstream: subprotocol::tunnel_spdy_protocol(offered).to_owned(),
            options: None,
        })
    }

    /// Makes headers that are ready for the server, but for the WebSocket handshake in them, those of a
    /// SPDY request.
    pub(crate) fn spdy_headers(&self, headers: &mut HeaderMap) {
        for name in [
            header::SEC_WEBSOCKET_KEY,
            header::SEC_WEBSOCKET_VERSION,
            header::SEC_WEBSOCKET_PROTOCOL,
            header::SEC_WEBSOCKET_EXTENSIONS,
            STREAM_PROTOCOL_VERSION,
        ] {
            headers.remove(name);
        }
        headers.insert(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        if let Ok(protocol) = HeaderValue::from_str(&self.upstream) {
            headers.insert(STREAM_PROTOCOL_VERSION, protocol);
        }
    }
}

impl Streams {
    /// A handshake that is none.
    pub(crate) fn handshake_refused(
        &self,
        session: &mut Session,
        error: HandshakeError,
    ) -> Response<Body> {
        let mut response = self.refused(session, error.status(), error.to_string());
        response.headers_mut().extend(error.headers());
        response
    }

    /// Answers a WebSocket request by what the server answered to its SPDY request, and runs the
    /// session. 101 is answered once every stream is open.
    pub(crate) async fn translated(
        &self,
        mut session: Session,
        client: OnUpgrade,
        translation: Translation,
        answer: Result<Answer, UpstreamError>,
    ) -> Response<Body> {
        let (answered, upstream) = match answer {
            Ok(Answer::Switched(answered, upstream)) => (answered, upstream),
            Ok(Answer::Refused(response)) => return self.server_refused(&mut session, response),
            Err(error) => return self.refused(&mut session, error.status(), error.to_string()),
        };
        let agreed = answered
            .get(&STREAM_PROTOCOL_VERSION)
            .map(HeaderValue::as_bytes);
        let spdy = subprotocol::is_spdy_upgrade(&answered);
        if !spdy || agreed != Some(translation.upstream.as_bytes()) {
            let (noun, version) = (self.noun, &translation.upstream);
            let text = format!("{noun} did not agree on SPDY/3.1 with {version}");
            return self.refused(&mut session, StatusCode::BAD_GATEWAY, text);
        }
        let limits = Limits::default();
        let mut out = Outputs::default();
        match translation.options {
            Some(options) => {
                let machine = Exec::new(options, limits, Instant::now(), &mut out);
                self.run(session, machine, out, (client, upstream), &translation)
                    .await
            }
            None => {
                let isolate = self.gates.enabled(FeatureGate::IsolatePortForwardErrors);
                let machine = Tunnel::new(isolate, limits);
                self.run(session, machine, out, (client, upstream), &translation)
                    .await
            }
        }
    }

    async fn run<T: Translate + Unpin + Send + 'static>(
        &self,
        mut session: Session,
        mut machine: T,
        mut out: Outputs,
        (client, upstream): (OnUpgrade, Opened<Upstream>),
        translation: &Translation,
    ) -> Response<Body> {
        let mut upstream = Leg::new(upstream);
        relay::open(&mut upstream, &mut machine, &mut out).await;
        // Once every stream is open the command may have run, and an answer but 101 would have kubectl
        // fall back to SPDY and run it again: how it ended is then told inside the WebSocket.
        if let Some(end) = machine.end()
            && !machine.is_open()
            && !end.outcome.is_the_commands()
        {
            return self.refused(&mut session, StatusCode::BAD_GATEWAY, end.detail.clone());
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
            (header::SEC_WEBSOCKET_ACCEPT, &translation.accept),
            (header::SEC_WEBSOCKET_PROTOCOL, &translation.client),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        response
    }
}
