//! What a plan asks for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use streamway_crds::{
    NodeStreamingSpec, NodeStreamingStatus, RolloutActionStatus, StreamingRolloutStatus,
};

/// What is to be done about one reading. An empty one is the aim: all is as it should be.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Plan {
    /// Writes. Chains know nothing of each other and may run side by side; what is urgent is first.
    pub(crate) chains: Vec<Chain>,
    /// Probes to start, most urgent first. They run while the next plans are made.
    pub(crate) probes: Vec<ProbeOrder>,
    /// The nodes whose agents are to be asked for heartbeats, and no others.
    pub(crate) follow: BTreeSet<String>,
    /// What is to be counted, by rollout.
    pub(crate) measure: BTreeMap<String, Measure>,
    /// When the plan changes though nothing was seen to change.
    pub(crate) wake_at: Option<Timestamp>,
}

/// Writes about one object, in order: when one fails, those after it are not made, and the next plan
/// begins from what is seen then.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chain {
    pub(crate) about: Subject,
    pub(crate) writes: Vec<Write>,
}

/// What a chain is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// A Node and its NodeStreaming.
    Node(String),
    /// A StreamingRollout.
    Rollout(String),
    /// A RolloutAction.
    Action(String),
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Write {
    /// Create a NodeStreaming with an empty spec, owned by the Node of that UID.
    Create { node: String, uid: String },
    /// Delete the NodeStreaming of that UID: it belongs to a Node that is gone.
    Delete { node: String, uid: String },
    /// Apply a NodeStreaming's whole spec, if its resourceVersion is still this one: whoever changed it
    /// meanwhile may have changed what was decided on.
    Spec {
        node: String,
        resource_version: Option<String>,
        spec: NodeStreamingSpec,
    },
    /// Patch the Node's status.
    Node { node: String, patch: NodePatch },
    /// Apply the controller's part of a NodeStreaming's status: all but `agent`.
    Status {
        node: String,
        status: Box<NodeStreamingStatus>,
        /// To be published once it is written.
        events: Vec<Event>,
    },
    /// Apply a rollout's whole status, if its resourceVersion is still this one.
    Rollout {
        rollout: String,
        resource_version: Option<String>,
        status: Box<StreamingRolloutStatus>,
        /// To be published once it is written.
        events: Vec<Event>,
    },
    /// Apply an action's status.
    Answer {
        action: String,
        status: RolloutActionStatus,
    },
}

/// What of a Node's status is to change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NodePatch {
    /// Whether it is to declare the feature.
    pub(crate) declared: Option<bool>,
    /// The kubelet port that it is to name.
    pub(crate) port: Option<u16>,
}

/// An Event, about the object whose status it comes with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Whether somebody should look.
    pub(crate) warning: bool,
    /// One word in CamelCase.
    pub(crate) reason: &'static str,
    /// A sentence.
    pub(crate) message: String,
}

/// A probe of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProbeOrder {
    pub(crate) node: String,
    /// The agent's pod that sessions go to.
    pub(crate) pod: String,
    /// Of the NodeStreaming that it is to prove.
    pub(crate) generation: i64,
    /// How long each of its sessions may take.
    pub(crate) timeout: Duration,
}

/// What is to be counted for a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Measure {
    /// Names the count: another one begins at zero. It is when the wave began.
    pub(crate) since: Timestamp,
    /// How often, at least.
    pub(crate) interval: Duration,
    /// On which nodes: those of the wave that were begun.
    pub(crate) nodes: BTreeSet<String>,
}

impl Plan {
    /// Plans again at `time`, if not before.
    pub(crate) fn wake(&mut self, time: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(time, |other| other.min(time)));
    }
}
