//! What is known of a rollout.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::analysis::Indicator;
use crate::percentage::Percentage;
use crate::rollout_action::Verb;
use crate::rules::DescribeValues;

/// Where a rollout is. Written by the controller, only when something changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = DescribeValues)]
pub struct StreamingRolloutStatus {
    /// The generation of the spec that this answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the rollout is, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Where it is and what it waits for, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Ready, Reconciling and Stalled as kstatus reads them; Progressing, Paused, Degraded, RolledBack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The revision that nodes are brought to: a hash of what the spec says of nodes and waves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The revision that failed last. It is not tried again before a RolloutAction Retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_revision: Option<String>,
    /// The name of the wave that is being brought over, bakes or waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_wave: Option<String>,
    /// Its place among the waves, such as 2/5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// The nodes of all waves, counted.
    #[serde(default)]
    pub nodes: NodeCounts,
    /// Each wave, in the order of the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub waves: Vec<WaveStatus>,
    /// What happens next by itself, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextTransition>,
    /// How the current wave is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisStatus>,
    /// Whether a RolloutAction Pause holds the rollout.
    #[serde(default)]
    pub paused_by_action: bool,
    /// The last RolloutAction that was carried out. It is noted together with its effect, so that it is carried out once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_action: Option<LastAction>,
    /// Nodes that cannot take their mode, and why; the first twenty by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["node"]))]
    pub excluded: Vec<ExcludedNode>,
}

/// Where a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// No node was begun yet.
    Pending,
    /// A wave is being brought over.
    Progressing,
    /// A wave is over and is watched.
    Baking,
    /// The next wave waits for a RolloutAction Promote.
    WaitingForApproval,
    /// The next node waits for a window, or for the end of a blackout.
    WaitingForWindow,
    /// Held by the spec, by a RolloutAction Pause, or by an analysis that cannot tell.
    Paused,
    /// Nodes are being taken back.
    RollingBack,
    /// Nodes were taken back; the revision is not tried again before a RolloutAction Retry.
    RolledBack,
    /// A wave failed and onFailure is Pause, or the spec cannot be followed.
    Stalled,
    /// All nodes that can be are over.
    Complete,
}

impl Phase {
    /// As it is written in YAML, and in metrics and Events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Progressing => "Progressing",
            Self::Baking => "Baking",
            Self::WaitingForApproval => "WaitingForApproval",
            Self::WaitingForWindow => "WaitingForWindow",
            Self::Paused => "Paused",
            Self::RollingBack => "RollingBack",
            Self::RolledBack => "RolledBack",
            Self::Stalled => "Stalled",
            Self::Complete => "Complete",
        }
    }
}

/// Nodes, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeCounts {
    /// All that belong here.
    pub total: i32,
    /// Brought over to the current revision.
    pub updated: i32,
    /// Of these, those that stream and pass their probes.
    pub ready: i32,
    /// Failed.
    pub failed: i32,
    /// On their way, or not ready for any other reason.
    pub unavailable: i32,
    /// Unable to take their mode.
    pub excluded: i32,
}

/// One wave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaveStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub phase: WavePhase,
    /// Its nodes, counted.
    #[serde(default)]
    pub nodes: NodeCounts,
    /// Whether it may begin: by itself, or by a RolloutAction Promote.
    #[serde(default)]
    pub approved: bool,
    /// When its first node was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When a node of it was last brought over; the progress deadline counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progressed_at: Option<Time>,
    /// When its bake time ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bake_until: Option<Time>,
    /// When it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
}

/// Where a wave is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WavePhase {
    /// Not begun.
    Pending,
    /// Being brought over.
    Progressing,
    /// Over, and watched.
    Baking,
    /// Done.
    Complete,
    /// Failed.
    Failed,
    /// Taken back.
    RolledBack,
}

/// What happens next by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NextTransition {
    /// When.
    pub time: Time,
    /// What, in a few words, such as: bake of wave canary ends.
    pub what: String,
}

/// How the current wave is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AnalysisStatus {
    /// Measurements that failed since the wave began.
    pub failures: i32,
    /// Measurements in a row that were inconclusive, but for errors among them.
    pub inconclusive: i32,
    /// Measurements in a row that ended in an error.
    pub errors: i32,
    /// When it was last measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured_at: Option<Time>,
    /// What came of it, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The present count, which began at zero when its leader began to lead, or the rollout to be followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<String>,
    /// Each objective's last measurement.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["indicator"]))]
    pub objectives: Vec<ObjectiveStatus>,
}

/// An objective's last measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectiveStatus {
    /// What was counted.
    pub indicator: Indicator,
    /// How many samples there were since the wave began.
    pub samples: i64,
    /// How much of them was good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Percentage>,
    /// The same of nodes that are not over yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Percentage>,
    /// How many samples were not good.
    #[serde(default)]
    pub bad: i64,
    /// How many of the bad ones a measurement has failed by. None fails two.
    #[serde(default)]
    pub blamed: i64,
    /// How many good samples came since a measurement failed, or saw a bad one.
    #[serde(default)]
    pub good_since: i64,
    /// How many samples the present count had come to.
    #[serde(default)]
    pub counted: i64,
    /// How many of these were not good.
    #[serde(default)]
    pub counted_bad: i64,
    /// Whether the measurement passed it: it holds, or measurements have failed by all that was bad, and minSamples good ones came since.
    pub met: bool,
}

/// A RolloutAction that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastAction {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// What was asked.
    pub verb: Verb,
    /// When it was carried out.
    pub time: Time,
    /// What was done.
    pub message: String,
    /// The wave that it met, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
}

/// A node that cannot take its mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExcludedNode {
    /// Its name.
    pub node: String,
    /// Why not.
    pub reason: String,
}
