//! Roles and bindings, of any of the four kinds.

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use serde::{Deserialize, Serialize};
use streamway_rbac::Policy;

/// A role or a binding. In JSON it is the object itself, with `apiVersion` and `kind`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Object {
    Role(Role),
    ClusterRole(ClusterRole),
    RoleBinding(RoleBinding),
    ClusterRoleBinding(ClusterRoleBinding),
}

#[derive(Deserialize)]
struct Head {
    kind: String,
}

impl Object {
    pub(crate) fn add_to(&self, policy: &mut Policy) {
        match self {
            Self::Role(role) => policy.add_role(role),
            Self::ClusterRole(role) => policy.add_cluster_role(role),
            Self::RoleBinding(binding) => policy.add_role_binding(binding),
            Self::ClusterRoleBinding(binding) => policy.add_cluster_role_binding(binding),
        }
    }

    /// Reads one from JSON; none if it is of another kind.
    pub(crate) fn parse(text: &str) -> serde_json::Result<Option<Self>> {
        let head: Head = serde_json::from_str(text)?;
        Ok(Some(match head.kind.as_str() {
            "Role" => Self::Role(serde_json::from_str(text)?),
            "ClusterRole" => Self::ClusterRole(serde_json::from_str(text)?),
            "RoleBinding" => Self::RoleBinding(serde_json::from_str(text)?),
            "ClusterRoleBinding" => Self::ClusterRoleBinding(serde_json::from_str(text)?),
            _ => return Ok(None),
        }))
    }
}
