//! What is read of Kubernetes' protobuf: the fields that the audit needs (`generated.proto` of k8s.io/api
//! `rbac/v1` and `core/v1`, k8s.io/apimachinery `meta/v1` and `runtime`, 1.36). Others are skipped.

use std::collections::HashMap;
use std::fmt::Debug;

use bytes::Bytes;
use k8s_openapi::api::rbac::v1 as rbac;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use prost::Message;

/// `runtime.Unknown`, which everything is wrapped in, behind four bytes.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(bytes = "bytes", tag = "2")]
    raw: Bytes,
}

const MAGIC: &[u8] = b"k8s\0";

/// What is in the envelope; none if there is no envelope.
pub(super) fn unwrapped(body: &Bytes) -> Option<Bytes> {
    let rest = body.strip_prefix(MAGIC)?;
    let envelope = Envelope::decode(body.slice_ref(rest)).ok()?;
    Some(envelope.raw)
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ListMeta>,
    #[prost(string, tag = "3")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListMeta {
    /// `continue`.
    #[prost(string, tag = "3")]
    pub(super) next: String,
    #[prost(int64, optional, tag = "4")]
    pub(super) remaining: Option<i64>,
}

/// A list of which only the head is read.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ListHead {
    #[prost(message, optional, tag = "1")]
    pub(super) metadata: Option<ListMeta>,
}

/// A list of which only the items are read.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Items<T: Message + Default + Debug> {
    #[prost(message, repeated, tag = "2")]
    pub(super) items: Vec<T>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(map = "string, string", tag = "11")]
    labels: HashMap<String, String>,
}

/// A Role; a ClusterRole too, which has the third field.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Role {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, repeated, tag = "2")]
    rules: Vec<PolicyRule>,
    #[prost(message, optional, tag = "3")]
    aggregation: Option<AggregationRule>,
}

#[derive(Clone, PartialEq, Message)]
struct PolicyRule {
    #[prost(string, repeated, tag = "1")]
    verbs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    groups: Vec<String>,
    #[prost(string, repeated, tag = "3")]
    resources: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    names: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    urls: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct AggregationRule {
    #[prost(message, repeated, tag = "1")]
    selectors: Vec<LabelSelector>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelSelector {
    #[prost(map = "string, string", tag = "1")]
    labels: HashMap<String, String>,
    #[prost(message, repeated, tag = "2")]
    expressions: Vec<Requirement>,
}

#[derive(Clone, PartialEq, Message)]
struct Requirement {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    operator: String,
    #[prost(string, repeated, tag = "3")]
    values: Vec<String>,
}

/// A RoleBinding or a ClusterRoleBinding.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Binding {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, repeated, tag = "2")]
    subjects: Vec<Subject>,
    #[prost(message, optional, tag = "3")]
    role: Option<RoleRef>,
}

#[derive(Clone, PartialEq, Message)]
struct Subject {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    group: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct RoleRef {
    #[prost(string, tag = "1")]
    group: String,
    #[prost(string, tag = "2")]
    kind: String,
    #[prost(string, tag = "3")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Pod {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    spec: Option<PodSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSpec {
    #[prost(string, tag = "8")]
    account: String,
}

impl Role {
    pub(super) fn into_role(self) -> rbac::Role {
        rbac::Role {
            metadata: metadata(self.metadata),
            rules: Some(self.rules.into_iter().map(rule).collect()),
        }
    }

    pub(super) fn into_cluster_role(self) -> rbac::ClusterRole {
        let aggregation_rule = self.aggregation.map(|own| rbac::AggregationRule {
            cluster_role_selectors: Some(own.selectors.into_iter().map(selector).collect()),
        });
        rbac::ClusterRole {
            metadata: metadata(self.metadata),
            rules: Some(self.rules.into_iter().map(rule).collect()),
            aggregation_rule,
        }
    }
}

impl Binding {
    pub(super) fn into_role_binding(self) -> rbac::RoleBinding {
        rbac::RoleBinding {
            metadata: metadata(self.metadata),
            role_ref: role_ref(self.role),
            subjects: Some(self.subjects.into_iter().map(subject).collect()),
        }
    }

    pub(super) fn into_cluster_role_binding(self) -> rbac::ClusterRoleBinding {
        rbac::ClusterRoleBinding {
            metadata: metadata(self.metadata),
            role_ref: role_ref(self.role),
            subjects: Some(self.subjects.into_iter().map(subject).collect()),
        }
    }
}

impl Pod {
    /// Namespace, name, service account.
    pub(super) fn into_parts(self) -> (String, String, String) {
        let metadata = self.metadata.unwrap_or_default();
        let account = self.spec.unwrap_or_default().account;
        (metadata.namespace, metadata.name, account)
    }
}

fn metadata(own: Option<ObjectMeta>) -> meta::ObjectMeta {
    let own = own.unwrap_or_default();
    meta::ObjectMeta {
        name: Some(own.name),
        namespace: some(own.namespace),
        labels: (!own.labels.is_empty()).then(|| own.labels.into_iter().collect()),
        ..meta::ObjectMeta::default()
    }
}

fn rule(own: PolicyRule) -> rbac::PolicyRule {
    let list = |list: Vec<String>| (!list.is_empty()).then_some(list);
    rbac::PolicyRule {
        verbs: own.verbs,
        api_groups: list(own.groups),
        resources: list(own.resources),
        resource_names: list(own.names),
        non_resource_urls: list(own.urls),
    }
}

fn selector(own: LabelSelector) -> meta::LabelSelector {
    let expressions = own
        .expressions
        .into_iter()
        .map(|own| meta::LabelSelectorRequirement {
            key: own.key,
            operator: own.operator,
            values: (!own.values.is_empty()).then_some(own.values),
        });
    let expressions: Vec<_> = expressions.collect();
    meta::LabelSelector {
        match_labels: (!own.labels.is_empty()).then(|| own.labels.into_iter().collect()),
        match_expressions: (!expressions.is_empty()).then_some(expressions),
    }
}

fn role_ref(own: Option<RoleRef>) -> rbac::RoleRef {
    let own = own.unwrap_or_default();
    rbac::RoleRef {
        api_group: some(own.group),
        kind: own.kind,
        name: own.name,
    }
}

fn subject(own: Subject) -> rbac::Subject {
    rbac::Subject {
        api_group: some(own.group),
        kind: own.kind,
        name: own.name,
        namespace: some(own.namespace),
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
