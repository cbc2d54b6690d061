//! `AccessExemption`: who may go on without `create`, why, and until when.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules::{self, DescribeValues, rule};

/// Who may open sessions in pods with `get` alone, why, and until when.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "streamway.dev",
    version = "v1alpha1",
    kind = "AccessExemption",
    plural = "accessexemptions",
    shortname = "aexempt",
    category = "streamway",
    derive = "PartialEq",
    doc = "Subjects whom the webhook does not ask for create, where a session in a pod needs create as well as get: with a reason, and until a time. It gives no right, and is nothing to the API server's own check (1.35 and later) and to the ValidatingAdmissionPolicy.",
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expires"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(
        name = "Namespaces",
        type_ = "string",
        json_path = ".spec.namespaces",
        priority = 1
    ),
    printcolumn(
        name = "Subjects",
        type_ = "string",
        json_path = ".spec.subjects[*].name",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = DescribeValues)]
pub struct AccessExemptionSpec {
    /// Whom it is for: any of these.
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = [rule(
        "self.size() > 0",
        "write at least one subject",
    )]))]
    pub subjects: Vec<ExemptSubject>,
    /// The namespaces that it holds in; without any, in all. nodes/proxy is in none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = [rule(
        "self.all(name, name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))",
        "write names of namespaces, or leave the list out for all of them: there are no patterns",
    )]))]
    pub namespaces: Vec<String>,
    /// What they may go on with.
    #[serde(default = "sessions")]
    #[schemars(length(max = 4), extend("x-kubernetes-list-type" = "atomic", "x-kubernetes-validations" = [rule(
        "self.size() > 0",
        "write at least one resource, such as pods/exec, or leave the list out for all three of pods",
    )]))]
    pub resources: Vec<ExemptResource>,
    /// Why, for those who read it later. The webhook's log repeats it.
    #[schemars(length(max = 1024), extend("x-kubernetes-validations" = [rule(
        "self.trim() != ''",
        "write why, and who is to see to it",
    )]))]
    pub reason: String,
    /// Until when, such as 2027-01-31T00:00:00Z. From that second on it is as if it were not there.
    pub expires: Time,
}

// Namespace is a word of CEL's own, which API servers before 1.29 know only by its other name.
/// Somebody, as in a RoleBinding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = DescribeValues, extend("x-kubernetes-validations" = [rule(
    "self.kind != 'ServiceAccount' || has(self.__namespace__)",
    "a ServiceAccount is in a namespace: write it",
), rule(
    "self.kind == 'ServiceAccount' || !has(self.__namespace__)",
    "only a ServiceAccount has a namespace: remove it",
)]))]
pub struct ExemptSubject {
    /// What they are.
    pub kind: ExemptSubjectKind,
    /// Their name, as the API server knows it.
    #[schemars(length(max = 512), extend("x-kubernetes-validations" = [rule(
        "self != ''",
        "write the name",
    ), rule(
        "self != 'system:masters'",
        "members of system:masters are never asked: remove it",
    )]))]
    pub name: String,
    /// A ServiceAccount's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules::name")]
    pub namespace: Option<String>,
}

/// What a subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExemptSubjectKind {
    /// A user by its name.
    User,
    /// Every member of a group.
    Group,
    /// A service account.
    ServiceAccount,
}

/// What sessions are opened by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ExemptResource {
    /// Commands in a pod.
    #[serde(rename = "pods/exec")]
    PodsExec,
    /// A pod's own terminal.
    #[serde(rename = "pods/attach")]
    PodsAttach,
    /// Connections into a pod.
    #[serde(rename = "pods/portforward")]
    PodsPortforward,
    /// Kubelets' API, asked directly or through the API server.
    #[serde(rename = "nodes/proxy")]
    NodesProxy,
}

fn sessions() -> Vec<ExemptResource> {
    use ExemptResource::{PodsAttach, PodsExec, PodsPortforward};
    vec![PodsExec, PodsAttach, PodsPortforward]
}
