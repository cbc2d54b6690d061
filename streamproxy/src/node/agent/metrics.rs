//! What an agent counts beside its requests.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// An agent's metrics. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct AgentMetrics {
    redirects: Gauge,
    certificates: Family<Outcome, Counter>,
}

/// What came of asking for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A certificate.
    Signed,
    /// No.
    Denied,
    /// Nothing.
    Error,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

impl AgentMetrics {
    /// Registers them.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "streamway_agent_redirect_active",
            "Whether new connections for the kubelet's port are redirected to this agent: 1 or 0",
            metrics.redirects.clone(),
        );
        registry.register(
            "streamway_agent_certificate_requests",
            "Client certificates that were asked for, by what came of it",
            metrics.certificates.clone(),
        );
        metrics
    }

    pub(super) fn asked(&self, asked: Asked) {
        let result = match asked {
            Asked::Signed => "signed",
            Asked::Denied => "denied",
            Asked::Error => "error",
        };
        self.certificates.get_or_create(&Outcome { result }).inc();
    }

    pub(super) fn redirects(&self, active: bool) {
        self.redirects.set(active.into());
    }
}
