//! `StreamingRollout`: which nodes stream by WebSocket, and in which order they get there.

mod analysis;
mod status;
mod wave;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::period::Period;
use crate::rules::{self, DescribeValues, rule};

pub use analysis::{Analysis, Indicator, Objective, Prober};
pub use status::{
    AnalysisStatus, ExcludedNode, LastAction, NextTransition, NodeCounts, ObjectiveStatus, Phase,
    StreamingRolloutStatus, WavePhase, WaveStatus,
};
pub use wave::{Approval, Wave, WaveNodes};

/// What a rollout is to reach, and how.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "streamway.dev",
    version = "v1alpha1",
    kind = "StreamingRollout",
    plural = "streamingrollouts",
    shortname = "sroll",
    category = "streamway",
    status = "StreamingRolloutStatus",
    derive = "PartialEq",
    doc = "Brings nodes over to streaming exec, attach and port-forward by WebSocket, wave by wave, proves each node with real sessions, and takes nodes back by itself when they misbehave.",
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Wave", type_ = "string", json_path = ".status.progress"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.nodes.total"),
    printcolumn(
        name = "Updated",
        type_ = "integer",
        json_path = ".status.nodes.updated"
    ),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.nodes.failed"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.next.time"),
    printcolumn(
        name = "Excluded",
        type_ = "integer",
        json_path = ".status.nodes.excluded",
        priority = 1
    ),
    printcolumn(
        name = "Message",
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
#[schemars(transform = DescribeValues, extend("x-kubernetes-validations" = [
    rule(
        "self.mode != 'Native' || self.way != 'Port'",
        "mode Native brings no traffic to agents, so it has no way: remove way, or use mode Auto or Proxied",
    ),
    rule(
        "self.progressDeadline.matches('[1-9]')",
        "a wave needs some time: write a progressDeadline of more than zero, such as 10m",
    ),
]))]
pub struct StreamingRolloutSpec {
    /// Which nodes the rollout is for, by their labels. All nodes, if not given. A node that several rollouts select follows the oldest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::selector")]
    pub node_selector: Option<LabelSelector>,
    /// How these nodes are to stream.
    #[serde(default)]
    pub mode: Mode,
    /// How traffic is brought to the agent on nodes whose kubelet needs one.
    #[serde(default)]
    pub way: Way,
    /// What becomes of nodes that stream by WebSocket already when the rollout first meets them.
    #[serde(default)]
    pub adopt: Adopt,
    /// The steps of the rollout, in order. Each is brought over and watched before the next begins. The last one takes all that is left: nodes.percent is 100.
    #[schemars(length(max = 20), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"],
        "x-kubernetes-validations" = [
            rule("self.size() > 0", "write at least one wave, such as {name: all, nodes: {percent: 100}}"),
            rule(
                "self.size() == 0 || (has(self[self.size() - 1].nodes.percent) \
                 && self[self.size() - 1].nodes.percent == 100)",
                "the last wave takes all nodes that are left: write nodes: {percent: 100} in it",
            ),
            rule(
                "self.filter(wave, has(wave.nodes.percent)).map(wave, wave.nodes.percent).isSorted() \
                 && self.filter(wave, has(wave.nodes.percent)).all(wave, self.exists_one(other, \
                 has(other.nodes.percent) && other.nodes.percent == wave.nodes.percent))",
                "a wave's percent counts the nodes of earlier waves too: write more in each wave than in the one before, such as 5, 25, 100",
            ),
        ],
    ))]
    pub waves: Vec<Wave>,
    /// How a wave is judged while it is brought over and bakes.
    #[serde(default)]
    pub analysis: Analysis,
    /// When nodes may be brought over. At any time, if empty. A node that was begun is finished when a window closes; rolling back waits for no window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub windows: Vec<Period>,
    /// When no node may be brought over, also inside of windows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub blackouts: Vec<Period>,
    /// Start no further node while it is true. Nodes that are over stay so. A RolloutAction Pause does the same without a change of the spec.
    #[serde(default)]
    pub paused: bool,
    /// How long a wave may go without bringing a node over, while it is not held by a pause, an approval or a window. After that it has failed.
    #[serde(default = "progress_deadline")]
    pub progress_deadline: Duration,
    /// What happens when a wave fails.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// What is taken back when a wave fails and onFailure is Rollback, or when somebody aborts.
    #[serde(default)]
    pub rollback_scope: RollbackScope,
}

/// How nodes are to stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// For each node what it can: Native where its kubelet takes WebSockets itself, else Proxied. It follows when a kubelet is upgraded or downgraded.
    #[default]
    Auto,
    /// The kubelet takes WebSockets itself. Nodes whose kubelet cannot are left out.
    Native,
    /// The agent takes WebSockets and speaks SPDY to the kubelet, also where the kubelet could take them itself.
    Proxied,
}

/// How traffic is brought to the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Way {
    /// The agent redirects the kubelet's port to itself with an nftables table that the kernel removes when the agent dies. It needs Linux 5.12 or later.
    #[default]
    Redirect,
    /// The Node names the agent's port instead of the kubelet's. It needs no rights on the node; a dead agent costs up to 5 seconds.
    Port,
}

/// What becomes of nodes that already declare the feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Adopt {
    /// They keep streaming by WebSocket, and count as brought over in their wave.
    #[default]
    Keep,
    /// They are taken back first, and are brought over when their wave comes.
    Reset,
}

/// What happens when a wave fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// Nodes are taken back as rollbackScope says. The revision is not tried again before a RolloutAction Retry or a change of the spec.
    #[default]
    Rollback,
    /// Nothing is taken back but nodes that do not work; the rollout waits for somebody.
    Pause,
}

/// What is taken back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RollbackScope {
    /// The wave that failed.
    #[default]
    Wave,
    /// All waves.
    All,
}

const fn progress_deadline() -> Duration {
    Duration::from_mins(10)
}
