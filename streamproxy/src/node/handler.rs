//! One request: who asks, may they, and which way it goes.

use std::sync::Arc;

use http::header;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use streamway_daemon::gates::FeatureGate;
use streamway_kstream::channel::StreamOptions;

use super::kubelet::Kubelet;
use super::route;
use crate::auth::{Authenticator, Authorizer, UserInfo};
use crate::headers;
use crate::listen::{Handler, Peer};
use crate::reply::{self, Body};
use crate::route::Route;
use crate::session::Protocol;
use crate::streaming::{self, Streams, Translation};
use crate::upstream::{Answer, Outgoing};

/// What every request is handled with.
#[derive(Debug)]
pub(super) struct Node {
    /// Who asks.
    pub(super) authenticator: Authenticator,
    /// May they.
    pub(super) authorizer: Authorizer,
    /// The kubelet behind.
    pub(super) kubelet: Arc<Kubelet>,
    /// What sessions are run with.
    pub(super) streams: Streams,
}

/// Which way a request goes.
#[derive(Debug)]
enum Way {
    /// exec and attach from v5, or port-forward from the tunnel, to SPDY.
    Translate(Route, Protocol),
    /// An upgrade that the kubelet speaks itself.
    Upgrade(Route, Protocol),
    /// A plain request.
    Forward,
}

impl Handler for Node {
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Arc<Peer>,
    ) -> Response<Body> {
        let user = match self.admit(&request, &peer).await {
            Ok(user) => user,
            Err(response) => return self.counted(response),
        };
        match self.way(&request) {
            Way::Translate(route, protocol) => {
                self.translated(request, route, user, &peer, protocol).await
            }
            Way::Upgrade(route, protocol) => {
                self.passed(request, route, user, &peer, protocol).await
            }
            Way::Forward => {
                let response = self.forwarded(request, &peer).await;
                self.counted(response)
            }
        }
    }
}

impl Node {
    /// Authenticates and authorizes, before anything of the request is looked at or passed on.
    async fn admit(
        &self,
        request: &Request<Incoming>,
        peer: &Peer,
    ) -> Result<UserInfo, Response<Body>> {
        let user = self
            .authenticator
            .authenticate(peer.certificates.as_ref(), request.headers())
            .await
            .map_err(|error| reply::text(error.status(), error.to_string()))?;
        self.authorizer
            .authorize(&user, request.method(), request.uri())
            .await
            .map_err(|error| reply::text(error.status(), error.to_string()))?;
        Ok(user)
    }

    fn way(&self, request: &Request<Incoming>) -> Way {
        let Some(route) = route::of(request.uri().path()) else {
            return Way::Forward;
        };
        let Some(protocol) = streaming::offered(request.headers(), route.subresource) else {
            return Way::Forward;
        };
        let gates = self.streams.gates;
        let native = gates.enabled(FeatureGate::ExtendWebSocketsToKubelet)
            && self.kubelet.declared.websockets();
        let gate = match protocol {
            Protocol::V5 => FeatureGate::TranslateStreamCloseWebsocketRequests,
            Protocol::Tunnel => FeatureGate::PortForwardWebsockets,
            _ => return Way::Upgrade(route, protocol),
        };
        if gates.enabled(gate) && !native {
            Way::Translate(route, protocol)
        } else {
            Way::Upgrade(route, protocol)
        }
    }

    async fn translated(
        &self,
        mut request: Request<Incoming>,
        route: Route,
        user: UserInfo,
        peer: &Peer,
        protocol: Protocol,
    ) -> Response<Body> {
        let streams = &self.streams;
        let mut session = streams.session(user.name, route, protocol, Protocol::Spdy);
        if streaming::has_body(&request) {
            return streams.refused(&mut session, StatusCode::BAD_REQUEST, streaming::HAS_BODY);
        }
        let (method, headers) = (request.method(), request.headers());
        let translation = if protocol == Protocol::Tunnel {
            Translation::tunnel(method, headers)
        } else {
            let query = request.uri().query().unwrap_or_default();
            match StreamOptions::from_kubelet_query(query) {
                Ok(options) => Translation::remote_command(method, headers, options),
                Err(error) => {
                    let status = StatusCode::BAD_REQUEST;
                    return streams.refused(&mut session, status, error.to_string());
                }
            }
        };
        let translation = match translation {
            Ok(translation) => translation,
            Err(error) => return streams.handshake_refused(&mut session, error),
        };
        let client = hyper::upgrade::on(&mut request);
        let target = request.uri().path_and_query().cloned();
        let mut headers = self.kubelets_headers(request.headers_mut(), peer);
        translation.spdy_headers(&mut headers);
        let server = &self.kubelet.server;
        let answer = server.upgrade(Method::POST, target, headers).await;
        streams
            .translated(session, client, translation, answer)
            .await
    }

    /// An upgrade that the kubelet speaks itself.
    async fn passed(
        &self,
        mut request: Request<Incoming>,
        route: Route,
        user: UserInfo,
        peer: &Peer,
        protocol: Protocol,
    ) -> Response<Body> {
        let streams = &self.streams;
        let mut session = streams.session(user.name, route, protocol, protocol);
        if streaming::has_body(&request) {
            return streams.refused(&mut session, StatusCode::BAD_REQUEST, streaming::HAS_BODY);
        }
        let Some(token) = request.headers().get(header::UPGRADE).cloned() else {
            let text = "the Upgrade header is missing";
            return streams.refused(&mut session, StatusCode::BAD_REQUEST, text);
        };
        let client = hyper::upgrade::on(&mut request);
        let mut headers = self.kubelets_headers(request.headers_mut(), peer);
        headers.insert(header::UPGRADE, token.clone());
        let target = request.uri().path_and_query().cloned();
        let server = &self.kubelet.server;
        let answer = server
            .upgrade(request.method().clone(), target, headers)
            .await;
        if let Ok(Answer::Refused(response)) = &answer
            && protocol == Protocol::V5
            && response.status() == StatusCode::FORBIDDEN
        {
            // A kubelet that does not take what it declared: perhaps another one by now.
            self.kubelet.declared.doubt();
        }
        streams.passed(session, client, &token, answer)
    }

    /// Everything that is no stream: logs, metrics, stats, pods.
    async fn forwarded(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        let mut request = request.map(Outgoing::Incoming);
        *request.headers_mut() = self.kubelets_headers(request.headers_mut(), peer);
        headers::origin_form(request.uri_mut());
        match self.kubelet.server.send(request).await {
            Ok(response) => reply::servers(response),
            Err(unanswered) => {
                let error = unanswered.error;
                tracing::warn!(%error, "a request could not be passed on");
                reply::text(error.status(), error.to_string())
            }
        }
    }

    /// A client's headers, as the proxy may say them to the kubelet.
    fn kubelets_headers(&self, headers: &mut HeaderMap, peer: &Peer) -> HeaderMap {
        let mut headers = std::mem::take(headers);
        headers::strip_hop_by_hop(&mut headers);
        headers::strip_identity(&mut headers);
        headers::forwarded_for(&mut headers, &peer.forwarded_for);
        headers.insert(header::HOST, self.kubelet.server.host());
        headers
    }

    fn counted(&self, response: Response<Body>) -> Response<Body> {
        self.streams.metrics.answered(response.status());
        response
    }
}
