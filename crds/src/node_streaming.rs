//! `NodeStreaming`: how one node streams.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{DescribeValues, rule};
use crate::streaming_rollout::Way;

/// How a node is to stream, as the controller decided.
///
/// Traffic and feature are two switches, so that their order is explicit and a crash between the two
/// leaves a state that is safe: traffic comes first on the way in, and the feature goes first on the way out.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema,
)]
#[kube(
    group = "streamway.dev",
    version = "v1alpha1",
    kind = "NodeStreaming",
    plural = "nodestreamings",
    shortname = "nstream",
    category = "streamway",
    status = "NodeStreamingStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "How one node streams exec, attach and port-forward. There is one for each Node, with the Node's name. The controller makes and writes it; change a StreamingRollout instead.",
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.mode"),
    printcolumn(name = "Declared", type_ = "boolean", json_path = ".status.declared"),
    printcolumn(
        name = "Traffic",
        type_ = "string",
        json_path = ".status.agent.traffic"
    ),
    printcolumn(name = "Agent", type_ = "boolean", json_path = ".status.agent.ready"),
    printcolumn(
        name = "Probe",
        type_ = "string",
        json_path = ".status.lastProbe.result"
    ),
    printcolumn(name = "Rollout", type_ = "string", json_path = ".spec.rollout"),
    printcolumn(name = "Wave", type_ = "string", json_path = ".spec.wave"),
    printcolumn(
        name = "Kubelet",
        type_ = "string",
        json_path = ".status.kubeletVersion",
        priority = 1
    ),
    printcolumn(
        name = "Port",
        type_ = "integer",
        json_path = ".status.port",
        priority = 1
    ),
    printcolumn(
        name = "Certificate",
        type_ = "string",
        json_path = ".status.agent.certificateNotAfter",
        priority = 1
    ),
    printcolumn(
        name = "Why",
        type_ = "string",
        json_path = ".status.message",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = DescribeValues, extend("x-kubernetes-validations" = [rule(
    "self.feature != 'Declared' || self.traffic == 'Agent'",
    "feature Declared needs traffic Agent: a kubelet that does not take WebSockets itself would refuse them",
)]))]
pub struct NodeStreamingSpec {
    /// Where what comes for the kubelet's port goes.
    #[serde(default)]
    pub traffic: Traffic,
    /// Whether the Node declares that it can be sent WebSockets.
    #[serde(default)]
    pub feature: Feature,
    /// How traffic is brought to the agent.
    #[serde(default)]
    pub way: Way,
    /// How the node is to stream, once Auto was resolved for it. Not set while no rollout wants anything of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<NodeMode>,
    /// The StreamingRollout that the node follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<String>,
    /// The wave of it that the node is in. It does not change while the rollout's waves do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
    /// The revision of the rollout that the node was brought to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// Where a node's traffic for the kubelet goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Traffic {
    /// To the kubelet itself.
    #[default]
    Kubelet,
    /// To the agent, which stands in for the kubelet.
    Agent,
}

/// Whether a Node declares `ExtendWebSocketsToKubelet`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Feature {
    /// As the kubelet has it; nothing is changed.
    #[default]
    Kubelet,
    /// Kept in, whatever the kubelet says.
    Declared,
    /// Kept out, whatever the kubelet says.
    Withdrawn,
}

/// How a node streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeMode {
    /// The kubelet takes WebSockets itself.
    Native,
    /// The agent takes them and speaks SPDY to the kubelet.
    Proxied,
    /// The API server takes them and speaks SPDY to the kubelet.
    Translated,
    /// The API server takes no WebSockets; clients use `streamproxy gateway`.
    Gateway,
}

/// What is known of the node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = DescribeValues)]
pub struct NodeStreamingStatus {
    /// Where the node is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<NodeState>,
    /// How the node streams now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<NodeMode>,
    /// Whether the Node declares the feature, read from the Node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<bool>,
    /// The port at which the API server reaches the node, read from the Node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// The kubelet's version, read from the Node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubelet_version: Option<String>,
    /// Why the node is where it is, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The generation of the spec that this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled, Eligible and Probed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// What the agent says of itself. Only the agent writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentStatus>,
    /// The last try of real sessions through the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_probe: Option<LastProbe>,
    /// The last changes of state, newest first; five at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub transitions: Vec<Transition>,
}

/// Where a node is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeState {
    /// As its kubelet wants it: no rollout has come to it.
    Untouched,
    /// A rollout wants it and it cannot take the mode; the condition Eligible says why.
    Excluded,
    /// Being brought over.
    TurningOn,
    /// Streams by WebSocket as wanted.
    On,
    /// Being taken back.
    TurningOff,
    /// Taken back, and kept from declaring the feature where its kubelet would.
    Off,
    /// Does not do what it should, and was taken out of the path.
    Failed,
}

impl NodeState {
    /// As it is written in YAML, and in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Untouched => "Untouched",
            Self::Excluded => "Excluded",
            Self::TurningOn => "TurningOn",
            Self::On => "On",
            Self::TurningOff => "TurningOff",
            Self::Off => "Off",
            Self::Failed => "Failed",
        }
    }
}

/// What an agent says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where traffic goes by what the agent did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// Whether it serves, and reaches its kubelet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Why it is not ready, or why traffic is not where it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When its client certificate runs out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<Time>,
    /// Its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// The feature gates that it runs with and that are on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub feature_gates: Vec<String>,
}

/// A try of exec, attach and port-forward through the API server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastProbe {
    /// When it ended.
    pub time: Time,
    /// What came of it.
    pub result: ProbeResult,
    /// What went wrong, or how long the node took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How long each session took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durations: Option<ProbeDurations>,
}

/// What came of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProbeResult {
    /// Every session ended as it should, with the bytes that it should.
    Passed,
    /// A session did not.
    Failed,
    /// The probe could not be made for a reason that is not the node's, such as an API server that did not answer.
    Error,
}

/// How long the sessions of a probe took, in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeDurations {
    /// exec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec_ms: Option<i64>,
    /// attach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach_ms: Option<i64>,
    /// port-forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_forward_ms: Option<i64>,
}

/// A change of a node's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// When.
    pub time: Time,
    /// From which state.
    pub from: NodeState,
    /// To which.
    pub to: NodeState,
    /// Why, in a sentence.
    pub reason: String,
}
