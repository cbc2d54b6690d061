//! `RolloutAction`: one verb of an operator's.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{DescribeValues, rule};

/// What an operator asks of a rollout. It is done once and never changes.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "streamway.dev",
    version = "v1alpha1",
    kind = "RolloutAction",
    plural = "rolloutactions",
    shortname = "sact",
    category = "streamway",
    status = "RolloutActionStatus",
    derive = "PartialEq",
    doc = "One verb of an operator's on a StreamingRollout: promote, abort, retry, pause, resume or roll back. It is carried out once and says in its status what came of it. It changes no spec, so what Git holds stays true.",
    printcolumn(name = "Rollout", type_ = "string", json_path = ".spec.rollout"),
    printcolumn(name = "Verb", type_ = "string", json_path = ".spec.verb"),
    printcolumn(name = "By", type_ = "string", json_path = ".spec.by"),
    printcolumn(name = "Result", type_ = "string", json_path = ".status.result"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.message",
        priority = 1
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".spec.reason",
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
    "self == oldSelf",
    "an action does not change once it is made: delete it, and create another",
)]))]
pub struct RolloutActionSpec {
    /// The name of the StreamingRollout that it is for.
    #[schemars(length(max = 63), extend("x-kubernetes-validations" = [rule(
        "self != ''",
        "write the name of the StreamingRollout that the action is for",
    )]))]
    pub rollout: String,
    /// What to do.
    pub verb: Verb,
    /// Why, for those who read it later. Events repeat it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// Who asks. Filled in by the API server at creation, whatever is written here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub by: Option<String>,
}

/// What may be asked of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verb {
    /// Go on with the next wave now: the rest of the bake time is not waited for, and a manual approval is given.
    Promote,
    /// Stop the rollout and take nodes back as its rollbackScope says. The revision is not tried again before a Retry.
    Abort,
    /// Try a revision again that failed, was aborted or was rolled back.
    Retry,
    /// Start no further node until Resume.
    Pause,
    /// Go on after Pause. A rollout whose spec says paused stays so.
    Resume,
    /// Take all nodes of all waves back. The revision is not tried again before a Retry.
    Rollback,
}

/// What came of an action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = DescribeValues)]
pub struct RolloutActionStatus {
    /// Whether it was carried out. Not set before the controller has looked at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ActionResult>,
    /// What was done, or why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// The wave that it met, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
    /// The rollout's revision that it met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// Whether an action was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ActionResult {
    /// It was.
    Done,
    /// It does not fit the state that the rollout is in; the message says what would.
    Refused,
}
