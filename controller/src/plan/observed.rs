//! What a plan is made from: one reading of everything, as the caches and the watchers in memory have
//! it. Objects are shared, not copied: a reading of 5,000 nodes costs next to nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use streamway_crds::{LastProbe, NodeStreaming, RolloutAction, StreamingRollout};

use super::version::Version;
use crate::agents::Heartbeat;
use crate::scrape::Tally;
use crate::withdraw::Ports;

/// One reading.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    /// The oldest API server that was met; none while it is not known, and then nothing is begun.
    pub(crate) api_server: Option<Version>,
    /// Why no node at all can be brought over, such as a kubelet client of the API server's that may
    /// not `get nodes/proxy`.
    pub(crate) obstacle: Option<String>,
    /// What stands in Nodes for the agents and for the kubelets.
    pub(crate) ports: Ports,
    /// Every Node by name.
    pub(crate) nodes: BTreeMap<String, ObservedNode>,
    /// Every rollout, in any order.
    pub(crate) rollouts: Vec<Arc<StreamingRollout>>,
    /// Every action, in any order.
    pub(crate) actions: Vec<Arc<RolloutAction>>,
    /// What was counted of that which the last plan wanted measured, by rollout.
    pub(crate) measured: BTreeMap<String, Measured>,
}

/// One Node and what goes with it.
#[derive(Debug, Clone)]
pub(crate) struct ObservedNode {
    /// The Node, trimmed.
    pub(crate) node: Arc<Node>,
    /// The NodeStreaming of its name.
    pub(crate) streaming: Option<Arc<NodeStreaming>>,
    /// What is known of its agent; none while it is not asked.
    pub(crate) heartbeat: Option<Heartbeat>,
    /// The agent's pods on it: one, or two while it is updated.
    pub(crate) pods: Vec<AgentPod>,
    /// What came of probes since this process started.
    pub(crate) probes: Probes,
    /// Whether a chain of an earlier plan about it is still being written: nothing is planned for it
    /// meanwhile, and it counts as begun.
    pub(crate) writing: bool,
}

/// An agent's pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AgentPod {
    pub(crate) name: String,
    /// Ready, and nobody is deleting it.
    pub(crate) ready: bool,
}

impl AgentPod {
    /// As a Pod tells it.
    pub(crate) fn of(pod: &Pod) -> Self {
        let conditions = pod.status.iter().flat_map(|status| &status.conditions);
        let ready = conditions
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            ready: ready && pod.metadata.deletion_timestamp.is_none(),
        }
    }
}

/// Probes of one node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probes {
    /// Whether one is under way, or waits for its turn.
    pub(crate) running: bool,
    /// The last one that ended.
    pub(crate) last: Option<Probed>,
}

/// A probe that ended.
#[derive(Debug, Clone)]
pub(crate) struct Probed {
    /// The generation that the order for it named: a probe proves no switch that came after it.
    pub(crate) generation: i64,
    /// What came of it.
    pub(crate) result: LastProbe,
    /// How many have failed in a row, this one included, in the same generation.
    pub(crate) failures: u32,
}

/// What was counted for one rollout. Counting begins anew when the plan's `Measure::since` changes.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    /// The `Measure::since` that this answers.
    pub(crate) since: Timestamp,
    /// Names the count: another begins at zero.
    pub(crate) count: String,
    /// By node, since then.
    pub(crate) nodes: BTreeMap<String, Counted>,
    /// What came on nodes that are not counted any more.
    pub(crate) left: Counted,
    /// What the API servers translated themselves since then: nodes that are not over.
    pub(crate) baseline: Option<Counted>,
}

impl Measured {
    /// All that was counted, by the node's name.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&str, &Counted)> {
        let nodes = self.nodes.iter().map(|(name, one)| (name.as_str(), one));
        nodes.chain([("that left", &self.left)])
    }
}

/// What was counted in one place. None where there is nothing that counts it: a kubelet counts no
/// sessions' ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) upgrades: Option<Tally>,
    pub(crate) sessions: Option<Tally>,
    pub(crate) probes: Option<Tally>,
    /// When and why the last probe that failed did, if one of these failed.
    pub(crate) failure: Option<(Timestamp, String)>,
    /// Why the place could not be asked, when it last could not.
    pub(crate) error: Option<String>,
}

impl Counted {
    /// Whether nothing happened there.
    pub(crate) fn is_empty(&self) -> bool {
        let mut all = [self.upgrades, self.sessions, self.probes].into_iter();
        all.all(|tally| tally.is_none_or(|tally| tally.total == 0))
    }

    /// With what was counted elsewhere.
    pub(crate) fn plus(self, other: Self) -> Self {
        let both = |one: Option<Tally>, other: Option<Tally>| match (one, other) {
            (Some(one), Some(other)) => Some(one.plus(other)),
            (one, other) => one.or(other),
        };
        Self {
            upgrades: both(self.upgrades, other.upgrades),
            sessions: both(self.sessions, other.sessions),
            probes: both(self.probes, other.probes),
            failure: self.failure.max(other.failure),
            error: self.error.or(other.error),
        }
    }
}
