//! One request: who asks, may they, and which way it goes.

mod passthrough;
mod translated;

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use streamway_daemon::gates::{FeatureGate, FeatureGates};
use streamway_kstream::subprotocol;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Authenticator, Authorizer, PeerCertificates, UserInfo};
use crate::headers;
use crate::kubelet::Kubelet;
use crate::metrics::{Code, Metrics};
use crate::reply::{self, Body};
use crate::route::{Route, Subresource};
use crate::session::Protocol;

/// What every request is handled with.
#[derive(Debug)]
pub(crate) struct Node {
    /// Who asks.
    pub(crate) authenticator: Authenticator,
    /// May they.
    pub(crate) authorizer: Authorizer,
    /// The kubelet behind.
    pub(crate) kubelet: Arc<Kubelet>,
    /// What is on.
    pub(crate) gates: FeatureGates,
    /// What is counted.
    pub(crate) metrics: Arc<Metrics>,
    /// Runs the sessions; closed and awaited at shutdown.
    pub(crate) sessions: TaskTracker,
    /// Cuts the sessions that are left at the end of the grace period.
    pub(crate) cut: CancellationToken,
}

/// What is known of the connection that a request came by.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its address.
    pub(crate) address: SocketAddr,
    /// The certificates that it showed, unverified.
    pub(crate) certificates: Option<PeerCertificates>,
}

/// Which way a request goes.
#[derive(Debug)]
enum Way {
    /// exec and attach, v5 to SPDY.
    Translate(Route),
    /// port-forward, the tunnel to SPDY.
    Tunnel(Route),
    /// An upgrade that the kubelet speaks itself.
    Upgrade(Route, Protocol),
    /// A plain request.
    Forward,
}

impl Node {
    /// Answers one request.
    pub(crate) async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Arc<Peer>,
    ) -> Response<Body> {
        let user = match self.admit(&request, &peer).await {
            Ok(user) => user,
            Err(response) => return self.counted(response),
        };
        match self.way(&request) {
            Way::Translate(route) => self.translated(request, route, user, &peer, false).await,
            Way::Tunnel(route) => self.translated(request, route, user, &peer, true).await,
            Way::Upgrade(route, protocol) => {
                self.passed_upgrade(request, route, user, &peer, protocol)
                    .await
            }
            Way::Forward => {
                let response = self.forwarded(request, &peer).await;
                self.counted(response)
            }
        }
    }

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
        let Some(route) = Route::of(request.uri().path()) else {
            return Way::Forward;
        };
        let headers = request.headers();
        let native = self.gates.enabled(FeatureGate::ExtendWebSocketsToKubelet)
            && self.kubelet.declared().websockets();
        if !subprotocol::is_websocket_upgrade(headers) {
            return if subprotocol::is_spdy_upgrade(headers) {
                Way::Upgrade(route, Protocol::Spdy)
            } else {
                Way::Forward
            };
        }
        let tunnels = route.subresource == Subresource::PortForward;
        if !tunnels && subprotocol::offers_v5(headers) {
            let gate = FeatureGate::TranslateStreamCloseWebsocketRequests;
            return if self.gates.enabled(gate) && !native {
                Way::Translate(route)
            } else {
                Way::Upgrade(route, Protocol::V5)
            };
        }
        if tunnels && subprotocol::offers_tunnel(headers).is_some() {
            return if self.gates.enabled(FeatureGate::PortForwardWebsockets) && !native {
                Way::Tunnel(route)
            } else {
                Way::Upgrade(route, Protocol::Tunnel)
            };
        }
        Way::Upgrade(route, Protocol::OtherWebSocket)
    }

    /// Everything that is no stream: logs, metrics, stats, pods.
    async fn forwarded(&self, mut request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        headers::strip_hop_by_hop(request.headers_mut());
        headers::strip_identity(request.headers_mut(), peer.address.ip());
        match self.kubelet.forward(request).await {
            Ok(response) => reply::kubelets(response),
            Err(error) => {
                tracing::warn!(%error, "a request could not be passed on");
                reply::text(error.status(), error.to_string())
            }
        }
    }

    fn counted(&self, response: Response<Body>) -> Response<Body> {
        let code = response.status().as_u16();
        self.metrics.requests.get_or_create(&Code { code }).inc();
        response
    }
}

/// Whether the kubelet's answer to an upgrade is one that the client may have: a redirect is not,
/// whoever sends it would have the caller's stream sent elsewhere, and neither is a success that
/// upgrades nothing.
fn refusal_passes(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}
