//! What is counted of sessions and `create`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Target;

/// Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct AccessMetrics {
    decisions: Family<Decided, Counter>,
    answers: Family<Answered, Counter>,
    disagreements: Counter,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Decided {
    path: &'static str,
    subresource: &'static str,
    decision: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    by: &'static str,
}

impl AccessMetrics {
    /// Registers them all.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register(
            "streamway_webhook_access_decisions",
            "Sessions that were asked about: what became of each, and why",
            this.decisions.clone(),
        );
        registry.register(
            "streamway_webhook_access_answers",
            "How it was found out whether somebody may create a session",
            this.answers.clone(),
        );
        registry.register(
            "streamway_webhook_access_disagreements",
            "Sessions that RBAC's index let through and the API server would not have",
            this.disagreements.clone(),
        );
        this
    }

    pub(super) fn decided(
        &self,
        path: &'static str,
        target: Target,
        decision: &'static str,
        reason: &'static str,
    ) {
        let labels = Decided {
            path,
            subresource: target.subresource(),
            decision,
            reason,
        };
        self.decisions.get_or_create(&labels).inc();
    }

    /// The index was wrong.
    pub(super) fn disagreed(&self) {
        self.disagreements.inc();
    }

    /// How often the index was wrong.
    #[cfg(test)]
    pub(super) fn disagreements(&self) -> u64 {
        self.disagreements.get()
    }

    /// `index`: RBAC gives it. `review`: the API server was asked. `cache`: it was before. `failed`, `late`: it did not say.
    pub(super) fn answered(&self, by: &'static str) {
        self.answers.get_or_create(&Answered { by }).inc();
    }
}
