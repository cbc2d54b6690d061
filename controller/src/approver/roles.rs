//! The rights of one node's agent: a ClusterRole and its binding, each of the agent's user's name.
//!
//! A kubelet asks the API server whether the agent may use it, for the resource `nodes/…` of its own
//! name; so `resourceNames` makes the credential worth nothing on another node. Both belong to the
//! node's NodeStreaming, and so go with the Node, and with the CRD when Streamway is uninstalled.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use kube::api::ObjectMeta;
use streamway_crds::{NodeStreaming, names};

/// What a kubelet authorizes, by the names of 1.36; older ones know a part of them.
const KUBELET: [&str; 8] = [
    "nodes/proxy",
    "nodes/log",
    "nodes/stats",
    "nodes/metrics",
    "nodes/pods",
    "nodes/healthz",
    "nodes/configz",
    "nodes/checkpoint",
];

/// The verbs that a kubelet makes of HTTP's methods.
const VERBS: [&str; 5] = ["get", "create", "update", "patch", "delete"];

/// The ClusterRole of the agent on a node.
pub(super) fn role(node: &NodeStreaming) -> Option<ClusterRole> {
    let name = node.metadata.name.as_deref()?;
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        resource_names: Some(vec![name.to_owned()]),
        ..PolicyRule::default()
    };
    Some(ClusterRole {
        metadata: metadata(node)?,
        rules: Some(vec![
            rule("", &KUBELET, &VERBS),
            rule("", &["nodes"], &["get"]),
            rule(names::GROUP, &["nodestreamings"], &["get", "list", "watch"]),
            rule(names::GROUP, &["nodestreamings/status"], &["get", "patch"]),
        ]),
        aggregation_rule: None,
    })
}

/// The binding of that role to the agent's user.
pub(super) fn binding(node: &NodeStreaming) -> Option<ClusterRoleBinding> {
    let user = names::agent_user(node.metadata.name.as_deref()?);
    let group = "rbac.authorization.k8s.io".to_owned();
    Some(ClusterRoleBinding {
        metadata: metadata(node)?,
        role_ref: RoleRef {
            api_group: Some(group.clone()),
            kind: "ClusterRole".to_owned(),
            name: user.clone(),
        },
        subjects: Some(vec![Subject {
            api_group: Some(group),
            kind: "User".to_owned(),
            name: user,
            namespace: None,
        }]),
    })
}

/// Whether what is there is what should be, as far as it is ours to say.
pub(super) fn same_metadata(is: &ObjectMeta, should: &ObjectMeta) -> bool {
    let labels = should.labels.iter().flatten();
    let has = |(name, value)| is.labels.as_ref().and_then(|all| all.get(name)) == Some(value);
    is.owner_references == should.owner_references && labels.into_iter().all(has)
}

fn metadata(node: &NodeStreaming) -> Option<ObjectMeta> {
    let name = node.metadata.name.clone()?;
    let labels = [
        (names::PART_OF_LABEL, names::PART_OF),
        (names::COMPONENT_LABEL, "agent"),
        // A node's name may be longer than a label's value.
        (
            names::NODE_LABEL,
            Some(&*name)
                .filter(|name| name.len() <= 63)
                .unwrap_or_default(),
        ),
    ];
    let labels = labels.map(|(label, value)| (label.to_owned(), value.to_owned()));
    Some(ObjectMeta {
        owner_references: Some(vec![OwnerReference {
            api_version: NodeStreaming::api_version(&()).into_owned(),
            kind: NodeStreaming::kind(&()).into_owned(),
            name: name.clone(),
            uid: node.metadata.uid.clone()?,
            ..OwnerReference::default()
        }]),
        name: Some(names::agent_user(&name)),
        labels: Some(labels.into()),
        ..ObjectMeta::default()
    })
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeStreaming {
        let mut node = NodeStreaming::default();
        node.metadata.name = Some("one".into());
        node.metadata.uid = Some("uid".into());
        node
    }

    #[test]
    fn every_rule_is_for_the_one_node() {
        let role = role(&node()).unwrap();
        assert_eq!(role.metadata.name.as_deref(), Some("streamway:node:one"));
        for rule in role.rules.unwrap() {
            assert_eq!(
                rule.resource_names,
                Some(vec!["one".to_owned()]),
                "{rule:?}"
            );
            assert!(!rule.verbs.contains(&"*".to_owned()), "{rule:?}");
        }
    }

    #[test]
    fn they_go_with_the_nodestreaming() {
        let binding = binding(&node()).unwrap();
        let owner = &binding.metadata.owner_references.as_ref().unwrap()[0];
        assert_eq!(
            (owner.kind.as_str(), owner.name.as_str()),
            ("NodeStreaming", "one")
        );
        assert_eq!(owner.api_version, "streamway.dev/v1alpha1");
        assert_eq!(role(&NodeStreaming::default()), None);
    }

    #[test]
    fn what_others_add_is_no_difference() {
        let should = role(&node()).unwrap().metadata;
        let mut is = should.clone();
        is.labels
            .as_mut()
            .unwrap()
            .insert("theirs".into(), "x".into());
        is.resource_version = Some("7".into());
        assert!(same_metadata(&is, &should));
        is.labels.as_mut().unwrap().remove(names::NODE_LABEL);
        assert!(!same_metadata(&is, &should));
    }
}
