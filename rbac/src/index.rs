//! Questions, answered as the API server's RBAC authorizer answers them.

use std::collections::HashMap;

use crate::aggregate::{ClusterRoles, Written, held};
use crate::path::Path;
use crate::policy::{Aggregation, ObjectKey, Policy, RoleFacts};
use crate::question::Question;
use crate::rule::Rule;
use crate::subject::{Key, Subject, Who};
use crate::symbol::{Symbol, Symbols};

/// Who may do what, and why: a [`Policy`], made ready for questions. It does not change.
#[derive(Debug, Clone)]
pub struct Index {
    pub(crate) symbols: Symbols,
    pub(crate) rules: Vec<Rule>,
    pub(crate) roles: Vec<Role>,
    pub(crate) bindings: Vec<Binding>,
    /// Sorted, so that what a subject has in a namespace is one range.
    pub(crate) grants: Vec<Grant>,
    /// Groups that users are known to be in.
    pub(crate) groups: HashMap<Symbol, Vec<Symbol>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Role {
    key: ObjectKey,
    pub(crate) rules: Box<[Written]>,
}

/// A binding that leads to a role.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Binding {
    pub(crate) key: ObjectKey,
    /// Place in [`Index::roles`].
    pub(crate) role: usize,
}

/// A subject's entry in a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grant {
    pub(crate) to: Key,
    /// The binding's namespace; empty for a ClusterRoleBinding.
    pub(crate) namespace: Symbol,
    /// Place in [`Index::bindings`].
    pub(crate) binding: usize,
}

impl Index {
    /// Makes a policy ready for questions.
    pub fn new(policy: Policy) -> Self {
        let (roles, places) = roles(&policy);
        let mut facts: Vec<_> = policy.bindings.into_iter().collect();
        let text = |symbol| policy.symbols.text(symbol);
        // The same answers whatever order the objects came in.
        facts.sort_unstable_by(|(a, _), (b, _)| {
            let names = |key: &ObjectKey| (text(key.namespace), text(key.name));
            names(a).cmp(&names(b))
        });
        let mut bindings = Vec::new();
        let mut grants = Vec::new();
        for (key, facts) in facts {
            // A role that is not there grants nothing.
            let Some(&role) = facts.role.and_then(|role| places.get(&role)) else {
                continue;
            };
            grants.extend(facts.subjects.iter().map(|&to| Grant {
                to,
                namespace: key.namespace,
                binding: bindings.len(),
            }));
            bindings.push(Binding { key, role });
        }
        grants.sort_unstable();
        grants.dedup();
        grants.shrink_to_fit();
        Self {
            symbols: policy.symbols,
            rules: policy.rules,
            roles,
            bindings,
            grants,
            groups: policy.groups,
        }
    }

    /// Whether somebody may do something, and why: the first of all [`ways`](Self::ways).
    ///
    /// Only what roles and bindings say: the API server allows members of `system:masters` everything
    /// before it asks RBAC, and may have other authorizers.
    pub fn may(&self, who: &Who, question: &Question<'_>) -> Option<Path<'_>> {
        self.ways(who, question).next()
    }

    /// All reasons why somebody may do something: ClusterRoleBindings, then RoleBindings of the
    /// question's namespace, by subject and then by name.
    pub fn ways<'q>(
        &self,
        who: &Who,
        question: &Question<'q>,
    ) -> impl Iterator<Item = Path<'_>> + use<'_, 'q> {
        let asked = question.asked(&self.symbols);
        let user = self.symbols.find(&who.name).map(Key::User);
        let groups = who.groups.iter();
        let groups = groups.filter_map(|group| self.symbols.find(group).map(Key::Group));
        let keys: Vec<Key> = user.into_iter().chain(groups).collect();
        let namespace = self.symbols.find(question.namespace());
        let own = namespace.filter(|&namespace| namespace != Symbol::EMPTY);
        let scopes = [Some(Symbol::EMPTY), own].into_iter().flatten();
        let pairs = scopes.flat_map(move |scope| {
            let keys = keys.clone().into_iter();
            keys.map(move |key| (key, scope))
        });
        let grants = pairs.flat_map(|(key, scope)| self.grants_of(key, Some(scope)));
        grants.flat_map(move |grant| {
            let rules = self.rules_of(grant);
            rules.filter_map(move |(written, rule)| {
                let allows = rule.allows(&asked, &self.symbols);
                allows.then(|| self.path(grant, written)).flatten()
            })
        })
    }

    /// What a subject is granted in a namespace, empty for the cluster; in all, without one.
    pub(crate) fn grants_of(&self, key: Key, namespace: Option<Symbol>) -> &[Grant] {
        let place = |grant: &Grant| match namespace {
            Some(namespace) => (grant.to, grant.namespace).cmp(&(key, namespace)),
            None => grant.to.cmp(&key),
        };
        let start = self.grants.partition_point(|grant| place(grant).is_lt());
        let rest = self.grants.get(start..).unwrap_or_default();
        let count = rest.partition_point(|grant| place(grant).is_le());
        rest.get(..count).unwrap_or_default()
    }

    /// The rules of the role that is granted.
    pub(crate) fn rules_of(&self, grant: &Grant) -> impl Iterator<Item = (Written, &Rule)> {
        let binding = self.bindings.get(grant.binding);
        let role = binding.and_then(|binding| self.roles.get(binding.role));
        let rules = role.into_iter().flat_map(|role| role.rules.iter());
        rules.filter_map(|&written| Some((written, self.rules.get(written.rule.place())?)))
    }

    pub(crate) fn path(&self, grant: &Grant, written: Written) -> Option<Path<'_>> {
        let binding = self.bindings.get(grant.binding)?;
        let role = self.roles.get(binding.role)?;
        Some(Path {
            binding: binding.key.binding(&self.symbols),
            subject: self.subject(grant.to),
            role: role.key.role(&self.symbols),
            written_in: written.role.role(&self.symbols),
            rule: written.place,
        })
    }

    pub(crate) fn subject(&self, key: Key) -> Subject {
        match key {
            Key::User(name) => Subject::of_user(self.symbols.text(name)),
            Key::Group(name) => Subject::Group(self.symbols.text(name).to_owned()),
        }
    }
}

/// All roles with the rules that they come to, and the place of each.
fn roles(policy: &Policy) -> (Vec<Role>, HashMap<ObjectKey, usize>) {
    let cluster_roles = ClusterRoles::of(policy);
    let mut roles = Vec::with_capacity(policy.roles.len());
    let mut places = HashMap::with_capacity(policy.roles.len());
    for (&key, facts) in &policy.roles {
        places.insert(key, roles.len());
        let rules = rules(policy, &cluster_roles, key, facts);
        roles.push(Role { key, rules });
    }
    (roles, places)
}

fn rules(
    policy: &Policy,
    cluster_roles: &ClusterRoles<'_>,
    key: ObjectKey,
    facts: &RoleFacts,
) -> Box<[Written]> {
    if facts.selectors.is_none() {
        return held(key, facts).collect();
    }
    let aggregated = cluster_roles.aggregated(key, facts);
    if policy.aggregation == Aggregation::Computed {
        return aggregated.into();
    }
    // What it holds counts; where that comes from is where it is to be changed.
    let held = held(key, facts);
    let origin = |own: Written| aggregated.iter().find(|other| other.rule == own.rule);
    held.map(|own| origin(own).copied().unwrap_or(own))
        .collect()
}
