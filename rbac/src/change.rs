//! Roles looked at and changed, for a look at what that would do.

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::path::{Object, ObjectKind};
use crate::policy::{Aggregation, ObjectKey, Policy};
use crate::symbol::Symbol;

impl Policy {
    /// How many Roles and ClusterRoles there are.
    pub fn roles(&self) -> usize {
        self.roles.len()
    }

    /// How many RoleBindings and ClusterRoleBindings there are.
    pub fn bindings(&self) -> usize {
        self.bindings.len()
    }

    /// The rules that a role itself holds, with what does not matter to matching left out; none if
    /// there is no such role.
    pub fn rules(&self, role: &Object<'_>) -> Option<Vec<PolicyRule>> {
        let facts = self.roles.get(&self.key(role)?)?;
        let rules = facts.rules.iter();
        let rules = rules.filter_map(|id| self.rules.get(id.place()));
        Some(rules.map(|rule| rule.written(&self.symbols)).collect())
    }

    /// Whether a ClusterRole's rules are others', so that its own are overwritten.
    pub fn is_aggregated(&self, role: &Object<'_>) -> bool {
        let facts = self.key(role).and_then(|key| self.roles.get(&key));
        facts.is_some_and(|facts| facts.selectors.is_some())
    }

    /// Gives a role other rules. Whether there is such a role.
    pub fn set_rules(&mut self, role: &Object<'_>, rules: &[PolicyRule]) -> bool {
        let Some(key) = self.key(role) else {
            return false;
        };
        let rules = rules.iter().map(|rule| self.rule(rule)).collect();
        let facts = self.roles.get_mut(&key);
        facts.map(|facts| facts.rules = rules).is_some()
    }

    /// The same, with the rules of aggregated ClusterRoles as kube-controller-manager will fill them:
    /// for a live cluster's objects after a change.
    pub fn aggregated(mut self) -> Self {
        self.aggregation = Aggregation::Computed;
        self
    }

    fn key(&self, role: &Object<'_>) -> Option<ObjectKey> {
        let namespace = match role.kind {
            ObjectKind::ClusterRole => Symbol::EMPTY,
            ObjectKind::Role => self.symbols.find(role.namespace)?,
            ObjectKind::ClusterRoleBinding | ObjectKind::RoleBinding => return None,
        };
        let name = self.symbols.find(role.name)?;
        Some(ObjectKey { namespace, name })
    }
}
