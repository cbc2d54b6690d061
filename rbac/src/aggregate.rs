//! Aggregated ClusterRoles: the rules of those that their selectors match, as
//! `pkg/controller/clusterroleaggregation` of Kubernetes 1.36 fills them in.

use std::collections::HashSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::policy::{ObjectKey, Policy, RoleFacts, RuleId};
use crate::symbol::{Symbol, Symbols};

/// A rule, and where it is written: a role, and its place there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) rule: RuleId,
    pub(crate) role: ObjectKey,
    pub(crate) place: usize,
}

/// The rules that a role itself holds.
pub(crate) fn held(key: ObjectKey, role: &RoleFacts) -> impl Iterator<Item = Written> {
    let rules = role.rules.iter().enumerate();
    rules.map(move |(place, &rule)| Written {
        rule,
        role: key,
        place,
    })
}

/// All ClusterRoles in the order of their names, which is the controller's.
pub(crate) struct ClusterRoles<'p> {
    symbols: &'p Symbols,
    roles: Vec<(ObjectKey, &'p RoleFacts)>,
}

impl<'p> ClusterRoles<'p> {
    pub(crate) fn of(policy: &'p Policy) -> Self {
        let symbols = &policy.symbols;
        let roles = policy.roles.iter().map(|(key, role)| (*key, role));
        let mut roles: Vec<_> = roles
            .filter(|(key, _)| key.namespace == Symbol::EMPTY)
            .collect();
        roles.sort_unstable_by_key(|(key, _)| symbols.text(key.name));
        Self { symbols, roles }
    }

    /// The rules that a role comes to: its own, or if it is aggregated those of the roles that it
    /// selects, each rule once. Roles that select each other in a ring have what the ring selects
    /// outside of it.
    pub(crate) fn aggregated(&self, key: ObjectKey, role: &'p RoleFacts) -> Vec<Written> {
        let mut rules = Vec::new();
        let mut seen = HashSet::from([key]);
        let mut taken = HashSet::new();
        // A stack of its own: a chain of roles in a manifest may be of any length.
        let mut next = vec![(key, role)];
        while let Some((key, role)) = next.pop() {
            let Some(selectors) = &role.selectors else {
                rules.extend(held(key, role).filter(|written| taken.insert(written.rule)));
                continue;
            };
            let found = selectors
                .iter()
                .flat_map(|selector| self.selected(selector));
            let mut found: Vec<_> = found.filter(|(key, _)| seen.insert(*key)).collect();
            found.reverse();
            next.append(&mut found);
        }
        rules
    }

    fn selected(
        &self,
        selector: &'p LabelSelector,
    ) -> impl Iterator<Item = (ObjectKey, &'p RoleFacts)> {
        let roles = self.roles.iter().copied();
        roles.filter(move |(_, role)| {
            selects(selector, |wanted| {
                let mut labels = role.labels.iter();
                let label = labels.find(|(key, _)| self.symbols.text(*key) == wanted);
                label.map(|(_, value)| self.symbols.text(*value))
            })
        })
    }
}

/// Whether a selector matches labels. The empty one matches all; one that Kubernetes would refuse
/// matches none.
fn selects<'a>(selector: &LabelSelector, label: impl Fn(&str) -> Option<&'a str>) -> bool {
    let mut pairs = selector.match_labels.iter().flatten();
    let mut requirements = selector.match_expressions.iter().flatten();
    pairs.all(|(key, value)| label(key) == Some(value))
        && requirements.all(|requirement| meets(requirement, label(&requirement.key)))
}

fn meets(requirement: &LabelSelectorRequirement, label: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let among = |label: &str| values.iter().any(|value| value == label);
    match (requirement.operator.as_str(), values.is_empty()) {
        ("In", false) => label.is_some_and(among),
        ("NotIn", false) => !label.is_some_and(among),
        ("Exists", true) => label.is_some(),
        ("DoesNotExist", true) => label.is_none(),
        _ => false,
    }
}
