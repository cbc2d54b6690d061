//! `AccessReport`: who has too much or too little to open sessions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::rules::rule;

/// The name of the only one.
pub const ACCESS_REPORT: &str = "cluster";

/// As many findings as a report lists: 200 of some 2 KiB are well below what etcd takes.
pub const LISTED_FINDINGS: usize = 200;

/// How the cluster's RBAC is audited.
#[derive(CustomResource, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "streamway.dev",
    version = "v1alpha1",
    kind = "AccessReport",
    plural = "accessreports",
    shortname = "sreport",
    category = "streamway",
    status = "AccessReportStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "Who may get and not create pods/exec, pods/attach and pods/portforward, who the other way round, and who has get nodes/proxy. There is one, named cluster; the controller makes it and keeps it. kubectl streamway audit says the same, with reasons and fixes.",
    printcolumn(
        name = "Critical",
        type_ = "integer",
        json_path = ".status.counts.critical"
    ),
    printcolumn(name = "High", type_ = "integer", json_path = ".status.counts.high"),
    printcolumn(
        name = "Medium",
        type_ = "integer",
        json_path = ".status.counts.medium"
    ),
    printcolumn(name = "Low", type_ = "integer", json_path = ".status.counts.low"),
    printcolumn(name = "Notes", type_ = "integer", json_path = ".status.counts.note"),
    printcolumn(name = "Complete", type_ = "boolean", json_path = ".status.complete"),
    printcolumn(
        name = "Server",
        type_ = "string",
        json_path = ".status.server",
        priority = 1
    ),
    printcolumn(name = "Audited", type_ = "date", json_path = ".status.auditedAt")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [rule(
    "duration(self.interval) >= duration('1m')",
    "all Roles and bindings are read each time: write an interval of 1m or longer",
)]))]
pub struct AccessReportSpec {
    /// How often Roles and bindings are read again, such as 10m.
    #[serde(default = "interval")]
    pub interval: Duration,
}

impl Default for AccessReportSpec {
    fn default() -> Self {
        Self {
            interval: interval(),
        }
    }
}

/// What was found. It is written when it changes, and otherwise every hour.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessReportStatus {
    /// The generation of the spec that this is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready when the last audit read everything; if not, the reason says what failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// When the audit was that this tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audited_at: Option<Time>,
    /// The API server's version, which severities are for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Whether the API server asks for create by itself before it opens a WebSocket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks_create: Option<bool>,
    /// Whether all Roles and bindings were read.
    #[serde(default)]
    pub complete: bool,
    /// Roles and ClusterRoles.
    #[serde(default)]
    pub roles: i64,
    /// RoleBindings and ClusterRoleBindings.
    #[serde(default)]
    pub bindings: i64,
    /// How many findings there are, by severity.
    #[serde(default)]
    pub counts: SeverityCounts,
    /// Findings that AccessExemptions accept: they are in neither counts nor findings.
    #[serde(default)]
    pub accepted: i64,
    /// The findings, the worst first; at most 200.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 200), extend("x-kubernetes-list-type" = "atomic"))]
    pub findings: Vec<AccessFinding>,
    /// How many more there are than the list holds.
    #[serde(default)]
    pub more: i64,
}

/// Findings by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeverityCounts {
    /// Everybody can do it.
    #[serde(default)]
    pub critical: i64,
    /// Commands in pods, by somebody who may not create sessions.
    #[serde(default)]
    pub high: i64,
    /// Ports of pods, in the same way.
    #[serde(default)]
    pub medium: i64,
    /// Nothing is open; something is refused, or will be.
    #[serde(default)]
    pub low: i64,
    /// Ways around, and what Kubernetes itself holds.
    #[serde(default)]
    pub note: i64,
}

/// Somebody with too much or too little.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessFinding {
    /// What was looked for, such as SW001; kubectl streamway audit --help lists them.
    pub rule: String,
    /// Of rule and subject: the same in every audit.
    pub fingerprint: String,
    /// Critical, high, medium, low or note, on this API server.
    pub severity: String,
    /// Who, and what.
    pub title: String,
    /// On which objects.
    pub reach: String,
    /// What it comes to on this API server.
    pub exposure: String,
    /// By which binding, role and rule; the first of them.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
}

const fn interval() -> Duration {
    Duration::from_secs(600)
}
