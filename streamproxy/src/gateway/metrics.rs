//! What the gateway counts besides the data plane's metrics.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// One API server, as `--apiserver` has it.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Url {
    pub(super) apiserver: String,
}

/// What came of a check.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Checked {
    /// `allowed`, `denied` or `error`.
    pub(super) result: &'static str,
}

/// The gateway's own metrics; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct GatewayMetrics {
    /// 1 for an API server that is ready.
    pub(super) healthy: Family<Url, Gauge<i64, AtomicI64>>,
    /// 1 for an API server that believes the front-proxy certificate.
    pub(super) believed: Family<Url, Gauge<i64, AtomicI64>>,
    /// Checks whether a caller may create what they ask for with GET.
    pub(super) create_checks: Family<Checked, Counter>,
}

impl GatewayMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "streamway_apiserver_healthy",
            "API servers: 1 ready, 0 not",
            metrics.healthy.clone(),
        );
        registry.register(
            "streamway_apiserver_trusts_front_proxy",
            "API servers: 1 takes users that the gateway tells it, 0 does not",
            metrics.believed.clone(),
        );
        registry.register(
            "streamway_create_checks",
            "Checks that a caller of GET on a streaming subresource may create it",
            metrics.create_checks.clone(),
        );
        metrics
    }
}
