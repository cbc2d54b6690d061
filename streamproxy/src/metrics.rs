//! What the data plane counts. docs/operations.md lists it.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// One label: an HTTP status code.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Code {
    /// The status.
    pub(crate) code: u16,
}

/// The labels of one streaming endpoint.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Endpoint {
    /// `exec`, `attach` or `portforward`.
    pub(crate) subresource: &'static str,
}

/// An endpoint and what came of a request.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct EndpointResult {
    /// `exec`, `attach` or `portforward`.
    pub(crate) subresource: &'static str,
    /// `success` where 101 was answered, `failure` otherwise.
    pub(crate) result: &'static str,
}

/// KEP-4006's `type` label.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Type {
    /// `exec`, `attach` or `portforward`.
    pub(crate) r#type: &'static str,
}

/// An ended session.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Ended {
    /// `exec`, `attach` or `portforward`.
    pub(crate) subresource: &'static str,
    /// The protocol on the client's leg.
    pub(crate) client_protocol: &'static str,
    /// The protocol on the kubelet's leg.
    pub(crate) upstream_protocol: &'static str,
    /// What came of it: `streamway_translate::Outcome`'s words, or `passed` where the proxy did not
    /// look inside.
    pub(crate) outcome: &'static str,
}

/// Bytes of sessions' content.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Direction {
    /// `exec`, `attach` or `portforward`.
    pub(crate) subresource: &'static str,
    /// `in`: from the client; `out`: to it.
    pub(crate) direction: &'static str,
}

/// Every metric of the data plane.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Upstream's name for translated sessions, by the code at their end: 200, or why not.
    pub(crate) translator: Family<Code, Counter>,
    /// Upstream's name for tunnels: 101, or why not.
    pub(crate) tunnel: Family<Code, Counter>,
    /// Upstream's name for WebSocket requests that a kubelet serves; this serves its API.
    pub(crate) kubelet_websocket: Family<Endpoint, Counter>,
    /// The KEP's name, with the result that upstream left out.
    pub(crate) kubelet_websocket_result: Family<EndpointResult, Counter>,
    /// The KEP's name.
    pub remote_command_v5: Family<Type, Counter>,
    /// The KEP's name.
    pub port_forward_v2: Family<Type, Counter>,
    /// Open sessions.
    pub(crate) active: Family<Endpoint, Gauge<i64, AtomicI64>>,
    /// Ended sessions.
    pub(crate) sessions: Family<Ended, Counter>,
    /// How long sessions lasted.
    pub(crate) duration: Family<Endpoint, Histogram, fn() -> Histogram>,
    /// Content of sessions.
    pub(crate) bytes: Family<Direction, Counter>,
    /// Connections that a forwarded port refused, and that did not end the port-forward.
    pub(crate) refusals: Counter,
    /// Answers to requests that are not sessions.
    pub(crate) requests: Family<Code, Counter>,
}

/// 10 ms to 12 h.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 4.0, 12))
}

impl Metrics {
    /// A request that is no session was answered.
    pub(crate) fn answered(&self, status: http::StatusCode) {
        let code = status.as_u16();
        self.requests.get_or_create(&Code { code }).inc();
    }

    /// Registers them all; a kubelet's own only where a kubelet's API is served.
    pub(crate) fn register(registry: &mut Registry, kubelets: bool) -> Self {
        let metrics = Self {
            translator: Family::default(),
            tunnel: Family::default(),
            kubelet_websocket: Family::default(),
            kubelet_websocket_result: Family::default(),
            remote_command_v5: Family::default(),
            port_forward_v2: Family::default(),
            active: Family::default(),
            sessions: Family::default(),
            duration: Family::new_with_constructor(durations),
            bytes: Family::default(),
            refusals: Counter::default(),
            requests: Family::default(),
        };
        let m = &metrics;
        registry.register(
            "apiserver_stream_translator_requests",
            "Translated sessions by the code at their end",
            m.translator.clone(),
        );
        registry.register(
            "apiserver_stream_tunnel_requests",
            "Tunnelled port-forward requests by answer",
            m.tunnel.clone(),
        );
        if kubelets {
            registry.register(
                "kubelet_websocket_streaming_requests",
                "WebSocket streaming requests",
                m.kubelet_websocket.clone(),
            );
            registry.register(
                "kubelet_streaming_websocket_requests",
                "WebSocket streaming requests by result of the upgrade",
                m.kubelet_websocket_result.clone(),
            );
        }
        registry.register(
            "num_ws_remote_command_v5",
            "Requests for v5.channel.k8s.io",
            m.remote_command_v5.clone(),
        );
        registry.register(
            "num_ws_port_forward_v2",
            "Requests for a port-forward tunnel",
            m.port_forward_v2.clone(),
        );
        registry.register(
            "streamway_streaming_active_connections",
            "Open streaming sessions",
            m.active.clone(),
        );
        registry.register(
            "streamway_sessions",
            "Ended streaming sessions by protocol on each leg and outcome",
            m.sessions.clone(),
        );
        registry.register(
            "streamway_session_duration_seconds",
            "Length of streaming sessions",
            m.duration.clone(),
        );
        registry.register(
            "streamway_session_bytes",
            "Content of streaming sessions; in is from the client",
            m.bytes.clone(),
        );
        registry.register(
            "streamway_portforward_refusals",
            "Connections that a forwarded port refused without ending the port-forward",
            m.refusals.clone(),
        );
        registry.register(
            "streamway_requests",
            "Answers to requests that are not streaming sessions",
            m.requests.clone(),
        );
        metrics
    }
}
