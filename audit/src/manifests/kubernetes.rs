//! The roles that every cluster has: manifests bind them, and add to them by labels.

use std::sync::LazyLock;

use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use serde::Deserialize;
use streamway_rbac::Policy;

/// Those of Kubernetes 1.36.3, without the rules of aggregated ones, one a line. Made by
///
/// ```sh
/// kubectl get clusterroles,roles -A -l kubernetes.io/bootstrapping=rbac-defaults -o json | jq -c '.items[]
///   | {kind, metadata: (.metadata | {name, namespace, labels}), aggregationRule,
///      rules: (if .aggregationRule then null else .rules end)}
///   | del(..|nulls)'
/// ```
///
/// `e2e/tests/audit_cli.rs` compares what the ClusterRoles give with a cluster.
const KUBERNETES: &str = include_str!("kubernetes.jsonl");

#[derive(Debug, Deserialize)]
#[serde(tag = "kind")]
enum Own {
    ClusterRole(ClusterRole),
    Role(Role),
}

/// A policy of manifests with nothing but these.
pub(super) fn policy() -> Policy {
    static POLICY: LazyLock<Policy> = LazyLock::new(|| {
        let mut policy = Policy::of_manifests();
        for own in own().flatten() {
            match own {
                Own::ClusterRole(role) => policy.add_cluster_role(&role),
                Own::Role(role) => policy.add_role(&role),
            }
        }
        policy
    });
    POLICY.clone()
}

fn own() -> impl Iterator<Item = serde_json::Result<Own>> {
    KUBERNETES.lines().map(serde_json::from_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_role() {
        let own: Vec<_> = own().collect::<Result<_, _>>().unwrap();
        assert_eq!(own.len(), policy().roles());
        assert!(own.len() > 70);
    }
}
