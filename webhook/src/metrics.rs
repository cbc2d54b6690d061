//! What the webhook counts.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Every metric of the webhook; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(Arc<All>);

#[derive(Debug)]
struct All {
    requests: Family<Answered, Counter>,
    changes: Family<Changed, Counter>,
    durations: Family<Path, Histogram, fn() -> Histogram>,
    cache_updated: Gauge,
    cache_failures: Counter,
    bundle_writes: Counter,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answered {
    path: &'static str,
    decision: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Changed {
    change: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Path {
    path: &'static str,
}

/// 10 µs, which is what an answer takes, to the second after which API servers wait no longer.
fn durations() -> Histogram {
    Histogram::new([
        1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 0.025, 0.1, 0.5, 1.0,
    ])
}

impl Metrics {
    /// Registers them all.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let all = All {
            requests: Family::default(),
            changes: Family::default(),
            durations: Family::new_with_constructor(durations),
            cache_updated: Gauge::default(),
            cache_failures: Counter::default(),
            bundle_writes: Counter::default(),
        };
        registry.register(
            "streamway_webhook_requests",
            "Requests of the API server, by path and decision",
            all.requests.clone(),
        );
        registry.register(
            "streamway_webhook_changes",
            "What was changed in updates of Nodes' status",
            all.changes.clone(),
        );
        registry.register(
            "streamway_webhook_duration_seconds",
            "From a request that was read to its answer",
            all.durations.clone(),
        );
        registry.register(
            "streamway_webhook_cache_updated_timestamp_seconds",
            "When the API server last told something of NodeStreamings, in seconds since 1970",
            all.cache_updated.clone(),
        );
        registry.register(
            "streamway_webhook_cache_failures",
            "Watches of NodeStreamings that broke off or could not begin",
            all.cache_failures.clone(),
        );
        registry.register(
            "streamway_webhook_ca_bundle_writes",
            "caBundles that were not as they should be, and were written",
            all.bundle_writes.clone(),
        );
        Self(Arc::new(all))
    }

    /// A request at `path` was answered, `took` after it was read.
    pub(crate) fn answered(&self, path: &'static str, decision: &'static str, took: Duration) {
        self.0
            .requests
            .get_or_create(&Answered { path, decision })
            .inc();
        self.0
            .durations
            .get_or_create(&Path { path })
            .observe(took.as_secs_f64());
    }

    /// Something was changed.
    pub(crate) fn changed(&self, change: &'static str) {
        self.0.changes.get_or_create(&Changed { change }).inc();
    }

    /// The API server told something of NodeStreamings at `time`, in seconds since 1970.
    pub(crate) fn cache_updated(&self, time: i64) {
        self.0.cache_updated.set(time);
    }

    /// A watch of NodeStreamings failed.
    pub(crate) fn cache_failed(&self) {
        self.0.cache_failures.inc();
    }

    /// A caBundle was written.
    pub(crate) fn bundle_written(&self) {
        self.0.bundle_writes.inc();
    }
}
