//! Short forms of roles and bindings. A list is one string with commas; `-` is the empty string.
#![allow(dead_code, reason = "no test uses all of it")]

use k8s_openapi::api::rbac::v1::{
    AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef,
    Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use streamway_rbac::{Policy, Resource};

fn list(text: &str) -> Option<Vec<String>> {
    let items = text.split(',').filter(|item| !item.is_empty());
    let items: Vec<String> = items
        .map(|item| if item == "-" { "" } else { item }.to_owned())
        .collect();
    (!items.is_empty()).then_some(items)
}

pub(crate) fn rule(verbs: &str, groups: &str, resources: &str) -> PolicyRule {
    PolicyRule {
        verbs: list(verbs).unwrap_or_default(),
        api_groups: list(groups),
        resources: list(resources),
        ..PolicyRule::default()
    }
}

pub(crate) fn named(names: &str, rule: PolicyRule) -> PolicyRule {
    PolicyRule {
        resource_names: list(names),
        ..rule
    }
}

pub(crate) fn urls(verbs: &str, urls: &str) -> PolicyRule {
    PolicyRule {
        verbs: list(verbs).unwrap_or_default(),
        non_resource_urls: list(urls),
        ..PolicyRule::default()
    }
}

fn metadata(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
        ..ObjectMeta::default()
    }
}

pub(crate) fn role(namespace: &str, name: &str, rules: &[PolicyRule]) -> Role {
    Role {
        metadata: metadata(namespace, name),
        rules: Some(rules.to_vec()),
    }
}

pub(crate) fn cluster_role(name: &str, rules: &[PolicyRule]) -> ClusterRole {
    ClusterRole {
        metadata: metadata("", name),
        rules: Some(rules.to_vec()),
        aggregation_rule: None,
    }
}

/// Labels are `key=value`.
pub(crate) fn labelled(labels: &str, role: ClusterRole) -> ClusterRole {
    let labels = list(labels).unwrap_or_default();
    let pairs = labels.iter().filter_map(|label| label.split_once('='));
    let labels = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let metadata = ObjectMeta {
        labels: Some(labels.collect()),
        ..role.metadata
    };
    ClusterRole { metadata, ..role }
}

pub(crate) fn aggregating(selectors: &[LabelSelector], role: ClusterRole) -> ClusterRole {
    ClusterRole {
        aggregation_rule: Some(AggregationRule {
            cluster_role_selectors: Some(selectors.to_vec()),
        }),
        ..role
    }
}

/// Subjects are `user:NAME`, `group:NAME`, `account:NAMESPACE/NAME` or `account:/NAME`.
fn subjects(text: &str) -> Option<Vec<Subject>> {
    let subject = |text: &String| {
        let (kind, name) = text.split_once(':').expect("KIND:NAME");
        let (kind, namespace, name) = match kind {
            "user" => ("User", None, name),
            "group" => ("Group", None, name),
            "account" => {
                let (namespace, name) = name.split_once('/').expect("NAMESPACE/NAME");
                let given = (!namespace.is_empty()).then(|| namespace.to_owned());
                ("ServiceAccount", given, name)
            }
            other => (other, None, name),
        };
        Subject {
            kind: kind.to_owned(),
            name: name.to_owned(),
            namespace,
            api_group: None,
        }
    };
    list(text).map(|subjects| subjects.iter().map(subject).collect())
}

/// A role is `Role/NAME` or `ClusterRole/NAME`.
fn role_ref(role: &str) -> RoleRef {
    let (kind, name) = role.split_once('/').expect("KIND/NAME");
    RoleRef {
        api_group: None,
        kind: kind.to_owned(),
        name: name.to_owned(),
    }
}

pub(crate) fn binding(namespace: &str, name: &str, to: &str, role: &str) -> RoleBinding {
    RoleBinding {
        metadata: metadata(namespace, name),
        role_ref: role_ref(role),
        subjects: subjects(to),
    }
}

pub(crate) fn cluster_binding(name: &str, to: &str, role: &str) -> ClusterRoleBinding {
    ClusterRoleBinding {
        metadata: metadata("", name),
        role_ref: role_ref(role),
        subjects: subjects(to),
    }
}

/// Objects of a cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Objects {
    pub(crate) roles: Vec<Role>,
    pub(crate) cluster_roles: Vec<ClusterRole>,
    pub(crate) bindings: Vec<RoleBinding>,
    pub(crate) cluster_bindings: Vec<ClusterRoleBinding>,
}

impl Objects {
    pub(crate) fn add_to(&self, mut policy: Policy) -> Policy {
        self.roles.iter().for_each(|role| policy.add_role(role));
        let cluster_roles = self.cluster_roles.iter();
        cluster_roles.for_each(|role| policy.add_cluster_role(role));
        let bindings = self.bindings.iter();
        bindings.for_each(|binding| policy.add_role_binding(binding));
        let cluster_bindings = self.cluster_bindings.iter();
        cluster_bindings.for_each(|binding| policy.add_cluster_role_binding(binding));
        policy
    }
}

/// `VERB RESOURCE[.GROUP][/SUBRESOURCE] [NAME]`.
pub(crate) fn ask<'a>(namespace: &'a str, text: &'a str) -> Resource<'a> {
    let mut words = text.split(' ');
    let verb = words.next().unwrap_or_default();
    let resource = words.next().unwrap_or_default();
    let name = words.next().unwrap_or_default();
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    Resource {
        verb,
        group,
        resource,
        subresource,
        namespace,
        name,
    }
}
