//! One node as the plan looks at it: the Node and its NodeStreaming side by side.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use streamway_crds::{
    AgentStatus, NodeMode, NodeState, NodeStreaming, NodeStreamingSpec, NodeStreamingStatus,
    Traffic, Way, names,
};

use super::observed::ObservedNode;
use super::version::{SPEAKS_FOR_ITSELF, Version};
use crate::withdraw::Ports;

/// How long an agent that was never heard may take before it counts as silent: a controller that has
/// just taken over has asked nobody yet.
pub(super) const FIRST_BEAT: jiff::SignedDuration = jiff::SignedDuration::from_secs(3);

/// A node whose NodeStreaming is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) name: &'a str,
    pub(super) seen: &'a ObservedNode,
    pub(super) streaming: &'a NodeStreaming,
    pub(super) spec: &'a NodeStreamingSpec,
    pub(super) status: &'a NodeStreamingStatus,
    pub(super) version: Option<Version>,
    pub(super) declared: bool,
    pub(super) ports: Ports,
}

/// Whether an agent is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    /// Not known before that time.
    Unknown(Option<Timestamp>),
    /// It is not, and why.
    Unwell(String),
}

static NOTHING_KNOWN: NodeStreamingStatus = NodeStreamingStatus {
    state: None,
    mode: None,
    declared: None,
    port: None,
    kubelet_version: None,
    message: None,
    observed_generation: None,
    conditions: Vec::new(),
    agent: None,
    last_probe: None,
    transitions: Vec::new(),
};

impl<'a> View<'a> {
    pub(super) fn new(
        name: &'a str,
        seen: &'a ObservedNode,
        streaming: &'a NodeStreaming,
        ports: Ports,
    ) -> Self {
        Self {
            name,
            seen,
            streaming,
            spec: &streaming.spec,
            status: streaming.status.as_ref().unwrap_or(&NOTHING_KNOWN),
            version: Version::parse(kubelet_version(&seen.node)),
            declared: declares(&seen.node),
            ports,
        }
    }

    pub(super) fn kubelet_version(&self) -> &'a str {
        kubelet_version(&self.seen.node)
    }

    pub(super) fn generation(&self) -> i64 {
        self.streaming.metadata.generation.unwrap_or(0)
    }

    /// The port that the Node names.
    pub(super) fn port(&self) -> Option<i32> {
        let status = self.seen.node.status.as_ref()?;
        let endpoints = status.daemon_endpoints.as_ref()?;
        Some(endpoints.kubelet_endpoint.as_ref()?.port)
    }

    /// Whether the Node names the agent's port.
    pub(super) fn at_agents_port(&self) -> bool {
        self.port() == Some(i32::from(self.ports.agent))
    }

    /// Whether the kubelet says itself what it takes, and undoes what others say for it.
    pub(super) fn speaks_for_itself(&self) -> bool {
        self.version
            .is_some_and(|version| version >= SPEAKS_FOR_ITSELF)
    }

    /// Whether the kubelet became one of another kind since the status was written: what it takes must
    /// be found out anew. A part of 1.35's take WebSockets, so they are a kind of their own.
    pub(super) fn has_changed_kind(&self) -> bool {
        let kind = |version: Version| version.cmp(&SPEAKS_FOR_ITSELF);
        let before = self.status.kubelet_version.as_deref();
        match (before.and_then(Version::parse), self.version) {
            (Some(before), Some(now)) => kind(before) != kind(now),
            _ => false,
        }
    }

    /// Whether the Node is Ready.
    pub(super) fn is_ready(&self) -> bool {
        let conditions = self
            .seen
            .node
            .status
            .iter()
            .flat_map(|status| &status.conditions);
        conditions
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    }

    pub(super) fn state(&self) -> NodeState {
        self.status.state.unwrap_or(NodeState::Untouched)
    }

    /// When the state last changed.
    pub(super) fn since(&self) -> Option<Timestamp> {
        self.status
            .transitions
            .first()
            .map(|transition| transition.time.0)
    }

    /// Begun: on its way over, over, or failed on the way.
    pub(super) fn is_begun(&self) -> bool {
        self.spec.revision.is_some()
    }

    /// Over, and proved since its spec last changed.
    pub(super) fn is_over(&self) -> bool {
        self.is_begun()
            && self.state() == NodeState::On
            && self.status.observed_generation == Some(self.generation())
    }

    /// Taken back, or being taken back, and not brought over again.
    pub(super) fn is_off(&self) -> bool {
        let spec = self.spec;
        !self.is_begun()
            && (spec.mode.is_some() || spec.feature == streamway_crds::Feature::Withdrawn)
    }

    /// A pod that sessions can be tried with.
    pub(super) fn ready_pod(&self) -> Option<&'a str> {
        let mut pods = self.seen.pods.iter();
        pods.find(|pod| pod.ready).map(|pod| pod.name.as_str())
    }

    /// Whether the agent says that it does what is wanted, and it is one that still is.
    fn agent_says(&self, traffic: Traffic) -> bool {
        let is_there = |agent: &AgentStatus| {
            let name = agent.pod_name.as_deref();
            name.is_none_or(|name| self.seen.pods.iter().any(|pod| pod.name == name))
        };
        let agent = self.status.agent.as_ref();
        agent.is_some_and(|agent| agent.traffic == Some(traffic) && is_there(agent))
    }

    /// Whether traffic is where the spec wants it, as read back.
    pub(super) fn traffic_has_arrived(&self) -> bool {
        match (self.spec.way, self.spec.traffic) {
            (Way::Redirect, Traffic::Agent) => self.agent_says(Traffic::Agent),
            (Way::Port, Traffic::Agent) => self.at_agents_port(),
            // An agent that is gone has no table: the kernel removed it.
            (_, Traffic::Kubelet) => {
                !self.at_agents_port()
                    && (!self.agent_says(Traffic::Agent)
                        || self.seen.pods.is_empty()
                        || matches!(self.health(Timestamp::MAX), Health::Unwell(_)))
            }
        }
    }

    /// How the agent is.
    pub(super) fn health(&self, now: Timestamp) -> Health {
        let Some(beat) = &self.seen.heartbeat else {
            return Health::Unknown(None);
        };
        match &beat.ready {
            Ok(()) => Health::Well,
            Err(why) => {
                let known_at = beat.since + FIRST_BEAT;
                if beat.heard.is_none() && now < known_at {
                    Health::Unknown(Some(known_at))
                } else {
                    Health::Unwell(why.clone())
                }
            }
        }
    }

    /// How the node streams now, by what the API server of that version sees.
    pub(super) fn mode_in_effect(&self, api_server: Option<Version>) -> Option<NodeMode> {
        use super::version::{SENDS_WEBSOCKETS, TRANSLATES};
        let api_server = api_server?;
        Some(if api_server < TRANSLATES {
            NodeMode::Gateway
        } else if api_server < SENDS_WEBSOCKETS || !self.declared {
            NodeMode::Translated
        } else if self.spec.traffic == Traffic::Agent {
            NodeMode::Proxied
        } else {
            NodeMode::Native
        })
    }
}

/// Whether a Node declares the feature.
fn declares(node: &Node) -> bool {
    let features = node
        .status
        .as_ref()
        .and_then(|status| status.declared_features.as_ref());
    features.is_some_and(|features| features.iter().any(|feature| feature == names::FEATURE))
}

fn kubelet_version(node: &Node) -> &str {
    node.status
        .as_ref()
        .and_then(|status| status.node_info.as_ref())
        .map_or("", |info| info.kubelet_version.as_str())
}
