//! Waves: the steps of a rollout.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::int_or_percent::IntOrPercent;
use crate::rules::{self, rule};

/// A step of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wave {
    /// The wave's name, such as `canary`. Status, Events and NodeStreamings name it.
    #[schemars(schema_with = "rules::name")]
    pub name: String,
    /// Which nodes are in the wave: exactly one of count, percent and selector. A node is in the first wave that takes it.
    pub nodes: WaveNodes,
    /// How many nodes may be on their way or not ready at once, as a number such as 2 or a part of the wave such as "10%". Nodes that are not ready for any other reason count too.
    #[serde(default = "one")]
    pub max_unavailable: IntOrPercent,
    /// How long the wave is watched once all its nodes are over, before its last measurement; the next wave begins after that, and with 0s at once.
    #[serde(default = "bake")]
    pub bake: Duration,
    /// Whether the wave begins by itself, or waits for a RolloutAction Promote.
    #[serde(default)]
    pub approval: Approval,
}

/// Which nodes are in a wave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [rule(
    "[has(self.count), has(self.percent), has(self.selector)].exists_one(given, given)",
    "write exactly one of count, percent and selector",
)]))]
pub struct WaveNodes {
    /// So many nodes of those that earlier waves did not take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub count: Option<i32>,
    /// Enough nodes that, with those of earlier waves, so many of a hundred of the rollout's nodes are taken: 5, then 25, then 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub percent: Option<i32>,
    /// The nodes with these labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::selector")]
    pub selector: Option<LabelSelector>,
}

/// Whether a wave begins by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Approval {
    /// It does, when the wave before it has baked.
    #[default]
    Automatic,
    /// It waits for a RolloutAction Promote.
    Manual,
}

const fn one() -> IntOrPercent {
    IntOrPercent::Int(1)
}

const fn bake() -> Duration {
    Duration::from_mins(5)
}
