//! What the controller counts. docs/operations.md lists it.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// A rollout and a phase.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct RolloutPhase {
    pub(crate) rollout: String,
    pub(crate) phase: &'static str,
}

/// A NodeStreaming's state.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct State {
    pub(crate) state: &'static str,
}

/// A write to the API server.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Write {
    /// What was written: `nodes/status`, `nodestreamings` …
    pub(crate) resource: &'static str,
    /// `success`, `conflict` or `error`.
    pub(crate) result: &'static str,
}

/// A probe.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Probed {
    /// `passed`, `failed` or `error`.
    pub(crate) result: &'static str,
}

/// A step of a probe.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct ProbeStep {
    /// `exec`, `attach` or `portforward`.
    pub(crate) subresource: &'static str,
}

/// What came of a certificate signing request.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Decision {
    /// `approved` or `denied`.
    pub(crate) decision: &'static str,
}

/// Findings of the audit.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct Finding {
    /// `critical`, `high`, `medium`, `low` or `note`.
    pub(crate) severity: &'static str,
}

/// Every metric of the controller; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    /// 1 for the phase that a rollout is in.
    pub(crate) phase: Family<RolloutPhase, Gauge>,
    /// NodeStreamings by state.
    pub(crate) nodes: Family<State, Gauge>,
    /// From a change to the plan that answers it.
    pub(crate) plan: Histogram,
    /// From a plan to its last write.
    pub(crate) apply: Histogram,
    /// Writes to the API server.
    pub(crate) writes: Family<Write, Counter>,
    /// Probes by result.
    pub(crate) probes: Family<Probed, Counter>,
    /// How long steps that passed took.
    pub(crate) steps: Family<ProbeStep, Histogram, fn() -> Histogram>,
    /// Agents that carry traffic, and did not answer when they were last asked.
    pub(crate) silent_agents: Gauge,
    /// Requests for agents' certificates.
    pub(crate) certificates: Family<Decision, Counter>,
    /// Findings of the last audit of Roles and bindings.
    pub(crate) findings: Family<Finding, Gauge>,
    /// Those that AccessExemptions accept.
    pub(crate) accepted: Gauge,
    /// 1 while this is the one that acts.
    pub(crate) leader: Gauge,
    /// When a plan was last made, in seconds since 1970.
    pub(crate) last_plan: Gauge<f64, AtomicU64>,
}

#[allow(clippy::cast_precision_loss, reason = "seconds, for a gauge")]
fn seconds(time: Timestamp) -> f64 {
    time.as_second() as f64
}

/// 1 ms to 65 s.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 9))
}

impl Metrics {
    /// Registers them all.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            phase: Family::default(),
            nodes: Family::default(),
            plan: durations(),
            apply: durations(),
            writes: Family::default(),
            probes: Family::default(),
            steps: Family::new_with_constructor(durations),
            silent_agents: Gauge::default(),
            certificates: Family::default(),
            findings: Family::default(),
            accepted: Gauge::default(),
            leader: Gauge::default(),
            last_plan: Gauge::default(),
        };
        let m = &metrics;
        registry.register(
            "streamway_rollout_phase",
            "Rollouts: 1 for the phase that they are in",
            m.phase.clone(),
        );
        registry.register("streamway_nodes", "Nodes by state", m.nodes.clone());
        registry.register(
            "streamway_plan_duration_seconds",
            "How long a plan of the whole cluster took",
            m.plan.clone(),
        );
        registry.register(
            "streamway_apply_duration_seconds",
            "How long it took to carry a plan out",
            m.apply.clone(),
        );
        registry.register(
            "streamway_api_writes",
            "Writes to the API server",
            m.writes.clone(),
        );
        registry.register("streamway_probes", "Probes of nodes", m.probes.clone());
        registry.register(
            "streamway_probe_duration_seconds",
            "How long a probe's sessions took that passed",
            m.steps.clone(),
        );
        registry.register(
            "streamway_silent_agents",
            "Agents that carry traffic and did not answer when last asked",
            m.silent_agents.clone(),
        );
        registry.register(
            "streamway_certificate_requests",
            "Requests for agents' certificates by decision",
            m.certificates.clone(),
        );
        registry.register(
            "streamway_access_findings",
            "Findings of the last audit of Roles and bindings that nobody accepted, by severity",
            m.findings.clone(),
        );
        registry.register(
            "streamway_access_accepted",
            "Findings of the last audit of Roles and bindings that AccessExemptions accept",
            m.accepted.clone(),
        );
        registry.register(
            "streamway_leader",
            "1 while this is the controller that acts",
            m.leader.clone(),
        );
        registry.register(
            "streamway_last_plan_timestamp_seconds",
            "When a plan was last made, in seconds since 1970",
            m.last_plan.clone(),
        );
        metrics
    }

    /// A plan was made now.
    pub(crate) fn planned(&self) {
        self.last_plan.set(seconds(Timestamp::now()));
    }

    /// How long ago that was.
    pub(crate) fn since_plan(&self) -> Duration {
        let seconds = seconds(Timestamp::now()) - self.last_plan.get();
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
    }

    /// Counts a write.
    pub(crate) fn wrote<T>(&self, resource: &'static str, result: &Result<T, kube::Error>) {
        let result = match result {
            Ok(_) => "success",
            Err(kube::Error::Api(status)) if status.code == 409 => "conflict",
            Err(_) => "error",
        };
        self.writes.get_or_create(&Write { resource, result }).inc();
    }

    /// Counts a step of a probe that passed.
    pub(crate) fn step(&self, subresource: &'static str, took: Duration) {
        self.steps
            .get_or_create(&ProbeStep { subresource })
            .observe(took.as_secs_f64());
    }
}
