//! Probes that run, and what came of those that ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use streamway_crds::{LastProbe, ProbeDurations, ProbeResult};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::events::cut;
use crate::metrics::{Metrics, Probed as ProbedLabel};
use crate::plan::{ProbeOrder, Probed, Probes};
use crate::prober::{Prober, Report, Step, Target};
use crate::scrape::Tally;

/// Bytes of a message that are kept: an answer's text may be long, and a status has an end.
const LONGEST: usize = 1024;

/// Probes of all nodes; clones are the same.
#[derive(Clone)]
pub(crate) struct Probing {
    prober: Prober,
    namespace: String,
    metrics: Metrics,
    changed: Arc<Notify>,
    nodes: Arc<Mutex<HashMap<String, Node>>>,
}

#[derive(Debug, Default)]
struct Node {
    running: Option<AbortHandle>,
    last: Option<Probed>,
    tally: Tally,
    /// When and why the last one that failed did.
    failure: Option<(Timestamp, String)>,
}

impl Probing {
    /// Of agents' pods in `namespace`. `changed` is told when one ended.
    pub(crate) fn new(
        prober: Prober,
        namespace: &str,
        metrics: Metrics,
        changed: Arc<Notify>,
    ) -> Self {
        Self {
            prober,
            namespace: namespace.to_owned(),
            metrics,
            changed,
            nodes: Arc::default(),
        }
    }

    /// Starts a probe, unless one of its node is under way.
    pub(crate) fn start(&self, order: ProbeOrder) {
        let mut nodes = self.lock();
        let node = nodes.entry(order.node.clone()).or_default();
        if node.running.is_none() {
            // It notes its end under the lock that is held here: not before it is written down.
            let task = tokio::spawn(self.clone().run(order));
            node.running = Some(task.abort_handle());
        }
    }

    /// What is known of a node.
    pub(crate) fn of(&self, node: &str) -> Probes {
        let nodes = self.lock();
        nodes.get(node).map_or_else(Probes::default, |node| Probes {
            running: node.running.is_some(),
            last: node.last.clone(),
        })
    }

    /// Probes of a node that said something of it, since the process started.
    pub(crate) fn tally(&self, node: &str) -> Tally {
        self.lock()
            .get(node)
            .map(|node| node.tally)
            .unwrap_or_default()
    }

    /// Those of a node since an earlier tally, and when and why the last that failed of them did.
    pub(crate) fn counted(
        &self,
        node: &str,
        earlier: Tally,
    ) -> (Tally, Option<(Timestamp, String)>) {
        let nodes = self.lock();
        let Some(node) = nodes.get(node) else {
            return (Tally::default(), None);
        };
        let tally = node.tally.since(earlier);
        let failure = (tally.good < tally.total).then(|| node.failure.clone());
        (tally, failure.flatten())
    }

    /// Forgets every node that is not among these.
    pub(crate) fn keep<T>(&self, known: &BTreeMap<String, T>) {
        self.lock().retain(|name, node| {
            let stays = known.contains_key(name);
            if !stays && let Some(running) = &node.running {
                running.abort();
            }
            stays
        });
    }

    /// Ends all that run.
    pub(crate) fn stop(&self) {
        self.keep::<()>(&BTreeMap::new());
    }

    async fn run(self, order: ProbeOrder) {
        let target = Target {
            namespace: self.namespace.clone(),
            pod: order.pod.clone(),
        };
        let report = self.prober.probe(&target, order.timeout).await;
        for (step, took) in &report.passed {
            self.metrics.step(step.as_str(), *took);
        }
        let result = told(&report, Timestamp::now());
        let label = match result.result {
            ProbeResult::Passed => "passed",
            ProbeResult::Failed => "failed",
            ProbeResult::Error => "error",
        };
        let label = ProbedLabel { result: label };
        self.metrics.probes.get_or_create(&label).inc();
        if let Some(message) = &result.message {
            tracing::warn!(
                node = order.node,
                pod = order.pod,
                message,
                "the probe did not pass"
            );
        }
        if let Some(node) = self.lock().get_mut(&order.node) {
            node.running = None;
            node.note(order.generation, result);
        }
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Node>> {
        // Each node's entry is whole between calls.
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    fn note(&mut self, generation: i64, result: LastProbe) {
        let before = self
            .last
            .as_ref()
            .filter(|last| last.generation == generation);
        let before = before.map_or(0, |last| last.failures);
        let (good, total, failures) = match result.result {
            ProbeResult::Passed => (1, 1, 0),
            ProbeResult::Failed => (0, 1, before + 1),
            // It says nothing of the node, neither good nor bad.
            ProbeResult::Error => (0, 0, before),
        };
        self.tally = self.tally.plus(Tally { good, total });
        if result.result == ProbeResult::Failed {
            let why = result.message.clone().unwrap_or_default();
            self.failure = Some((result.time.0, why));
        }
        self.last = Some(Probed {
            generation,
            result,
            failures,
        });
    }
}

/// A report as a NodeStreaming's status tells it.
fn told(report: &Report, now: Timestamp) -> LastProbe {
    let took = |step| {
        let passed = report.passed.iter().find(|(passed, _)| *passed == step)?;
        i64::try_from(passed.1.as_millis()).ok()
    };
    let result = match &report.failed {
        None => ProbeResult::Passed,
        Some((_, error)) if error.is_about_the_node() => ProbeResult::Failed,
        Some(_) => ProbeResult::Error,
    };
    let failed = report.failed.as_ref();
    LastProbe {
        time: Time(now),
        result,
        message: failed.map(|(step, error)| cut(format!("{}: {error}", step.as_str()), LONGEST)),
        durations: (!report.passed.is_empty()).then(|| ProbeDurations {
            exec_ms: took(Step::Exec),
            attach_ms: took(Step::Attach),
            port_forward_ms: took(Step::PortForward),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::prober::ProbeError;

    fn report(failed: Option<ProbeError>) -> LastProbe {
        let report = Report {
            passed: vec![(Step::Exec, Duration::from_millis(7))],
            failed: failed.map(|error| (Step::Attach, error)),
        };
        told(&report, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn failures_are_counted_in_a_row_and_for_one_generation() {
        let failed = || report(Some(ProbeError::Wrong("no".into())));
        let error = || report(Some(ProbeError::Unreachable("no".into())));
        let mut node = Node::default();
        for (generation, result, failures) in [
            (1, failed(), 1),
            (1, failed(), 2),
            // Nothing was learned of the node.
            (1, error(), 2),
            // Another switch: what failed before says nothing of it.
            (2, failed(), 1),
            (2, report(None), 0),
            (2, failed(), 1),
        ] {
            node.note(generation, result);
            assert_eq!(node.last.as_ref().unwrap().failures, failures);
        }
        assert_eq!(node.tally, Tally { good: 1, total: 5 });
    }

    #[test]
    fn what_a_status_tells() {
        let failed = report(Some(ProbeError::Wrong("other bytes".into())));
        assert_eq!(failed.result, ProbeResult::Failed);
        assert_eq!(failed.message.as_deref(), Some("attach: other bytes"));
        let durations = failed.durations.unwrap();
        assert_eq!((durations.exec_ms, durations.attach_ms), (Some(7), None));
        assert_eq!(report(None).message, None);
        let long = report(Some(ProbeError::Wrong("ä".repeat(LONGEST))));
        assert!(long.message.unwrap().len() <= LONGEST);
    }
}
