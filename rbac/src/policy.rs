//! The objects that an index is made of.

use std::collections::HashMap;

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use crate::path::{Object, ObjectKind};
use crate::rule::Rule;
use crate::subject::{Key, account_name};
use crate::symbol::{Symbol, Symbols};

/// Where objects without a namespace go that need one, as with kubectl.
const DEFAULT_NAMESPACE: &str = "default";

/// Roles and bindings, read one by one and kept small, so that a caller need not hold them all.
///
/// Of two objects with the same name the later one counts, as if they had been applied.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(crate) aggregation: Aggregation,
    pub(crate) symbols: Symbols,
    /// Each rule once, however many roles have it.
    pub(crate) rules: Vec<Rule>,
    numbers: HashMap<Rule, RuleId>,
    pub(crate) roles: HashMap<ObjectKey, RoleFacts>,
    pub(crate) bindings: HashMap<ObjectKey, BindingFacts>,
    /// Groups that users are known to be in, by user.
    pub(crate) groups: HashMap<Symbol, Vec<Symbol>>,
}

/// Whether the rules of aggregated ClusterRoles are what they hold, or what they select.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregation {
    Stored,
    Computed,
}

/// Place of a rule in [`Policy::rules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RuleId(usize);

impl RuleId {
    pub(crate) fn place(self) -> usize {
        self.0
    }
}

/// Namespace, empty for none, and name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ObjectKey {
    pub(crate) namespace: Symbol,
    pub(crate) name: Symbol,
}

impl ObjectKey {
    /// The role of this name.
    pub(crate) fn role(self, symbols: &Symbols) -> Object<'_> {
        self.object(symbols, [ObjectKind::ClusterRole, ObjectKind::Role])
    }

    /// The binding of this name.
    pub(crate) fn binding(self, symbols: &Symbols) -> Object<'_> {
        let kinds = [ObjectKind::ClusterRoleBinding, ObjectKind::RoleBinding];
        self.object(symbols, kinds)
    }

    fn object(self, symbols: &Symbols, [cluster_wide, namespaced]: [ObjectKind; 2]) -> Object<'_> {
        let namespace = symbols.text(self.namespace);
        let kind = if namespace.is_empty() {
            cluster_wide
        } else {
            namespaced
        };
        let name = symbols.text(self.name);
        Object {
            kind,
            namespace,
            name,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct RoleFacts {
    pub(crate) rules: Box<[RuleId]>,
    pub(crate) labels: Box<[(Symbol, Symbol)]>,
    /// `aggregationRule.clusterRoleSelectors`, where there is an aggregation rule.
    pub(crate) selectors: Option<Box<[LabelSelector]>>,
}

#[derive(Debug, Clone)]
pub(crate) struct BindingFacts {
    /// None where the reference can never lead to a role.
    pub(crate) role: Option<ObjectKey>,
    pub(crate) subjects: Box<[Key]>,
}

impl Policy {
    /// Objects of a live cluster: aggregated ClusterRoles hold their rules, as the API server takes
    /// them to.
    pub fn of_cluster() -> Self {
        Self::new(Aggregation::Stored)
    }

    /// Objects of manifests: the rules of aggregated ClusterRoles are those that they will hold once
    /// kube-controller-manager has filled them.
    pub fn of_manifests() -> Self {
        Self::new(Aggregation::Computed)
    }

    fn new(aggregation: Aggregation) -> Self {
        Self {
            aggregation,
            symbols: Symbols::default(),
            rules: Vec::new(),
            numbers: HashMap::new(),
            roles: HashMap::new(),
            bindings: HashMap::new(),
            groups: HashMap::new(),
        }
    }

    /// Adds a Role.
    pub fn add_role(&mut self, role: &Role) {
        let key = self.namespaced(&role.metadata);
        self.add(key, role.rules.as_deref(), &role.metadata, None);
    }

    /// Adds a ClusterRole.
    pub fn add_cluster_role(&mut self, role: &ClusterRole) {
        let key = self.cluster_wide(&role.metadata);
        let selectors = role.aggregation_rule.as_ref().map(|aggregation| {
            let selectors = aggregation.cluster_role_selectors.clone();
            selectors.unwrap_or_default().into_boxed_slice()
        });
        self.add(key, role.rules.as_deref(), &role.metadata, selectors);
    }

    /// Adds a RoleBinding.
    pub fn add_role_binding(&mut self, binding: &RoleBinding) {
        let key = self.namespaced(&binding.metadata);
        let role = self.role_of(&binding.role_ref, key.namespace);
        let subjects = self.subjects(binding.subjects.as_deref(), key.namespace);
        self.bindings.insert(key, BindingFacts { role, subjects });
    }

    /// Adds a ClusterRoleBinding.
    pub fn add_cluster_role_binding(&mut self, binding: &ClusterRoleBinding) {
        let key = self.cluster_wide(&binding.metadata);
        let role = self.role_of(&binding.role_ref, Symbol::EMPTY);
        let subjects = self.subjects(binding.subjects.as_deref(), Symbol::EMPTY);
        self.bindings.insert(key, BindingFacts { role, subjects });
    }

    /// Adds groups that a user is known to be in, from an audit log for one: Kubernetes has no list of
    /// them. [`Index::findings`](crate::Index::findings) takes the user's other rights from them.
    pub fn add_groups(&mut self, user: &str, groups: &[&str]) {
        let user = self.symbols.put(user);
        let groups = groups.iter().map(|group| self.symbols.put(group));
        let groups: Vec<Symbol> = groups.collect();
        self.groups.entry(user).or_default().extend(groups);
    }

    /// Bindings of somebody whose role is not there, and that role. They give nothing as long as it is not.
    pub fn unresolved(&self) -> impl Iterator<Item = (Object<'_>, Object<'_>)> {
        let referring = self.bindings.iter();
        let referring = referring.filter(|(_, binding)| !binding.subjects.is_empty());
        let referring = referring.filter_map(|(key, binding)| Some((*key, binding.role?)));
        let unresolved = referring.filter(|(_, role)| !self.roles.contains_key(role));
        unresolved.map(|(binding, role)| {
            let binding = binding.binding(&self.symbols);
            (binding, role.role(&self.symbols))
        })
    }

    fn add(
        &mut self,
        key: ObjectKey,
        rules: Option<&[PolicyRule]>,
        metadata: &ObjectMeta,
        selectors: Option<Box<[LabelSelector]>>,
    ) {
        let rules = rules.unwrap_or_default();
        let rules = rules.iter().map(|rule| self.rule(rule)).collect();
        let labels = metadata.labels.iter().flatten();
        let labels = labels
            .map(|(key, value)| (self.symbols.put(key), self.symbols.put(value)))
            .collect();
        let facts = RoleFacts {
            rules,
            labels,
            selectors,
        };
        self.roles.insert(key, facts);
    }

    pub(crate) fn rule(&mut self, rule: &PolicyRule) -> RuleId {
        let rule = Rule::of(rule, &mut self.symbols);
        if let Some(&id) = self.numbers.get(&rule) {
            return id;
        }
        let id = RuleId(self.rules.len());
        self.rules.push(rule.clone());
        self.numbers.insert(rule, id);
        id
    }

    fn namespaced(&mut self, metadata: &ObjectMeta) -> ObjectKey {
        let given = metadata.namespace.as_deref().unwrap_or_default();
        // Empty stands for the cluster here, which no such object reaches.
        let namespace = if given.is_empty() {
            DEFAULT_NAMESPACE
        } else {
            given
        };
        ObjectKey {
            namespace: self.symbols.put(namespace),
            ..self.cluster_wide(metadata)
        }
    }

    fn cluster_wide(&mut self, metadata: &ObjectMeta) -> ObjectKey {
        ObjectKey {
            namespace: Symbol::EMPTY,
            name: self
                .symbols
                .put(metadata.name.as_deref().unwrap_or_default()),
        }
    }

    /// The role that a binding in `namespace` refers to, whether there is one or not.
    fn role_of(&mut self, reference: &RoleRef, namespace: Symbol) -> Option<ObjectKey> {
        let namespace = match reference.kind.as_str() {
            "Role" if namespace != Symbol::EMPTY => namespace,
            "ClusterRole" => Symbol::EMPTY,
            _ => return None,
        };
        let name = self.symbols.put(&reference.name);
        Some(ObjectKey { namespace, name })
    }

    fn subjects(&mut self, subjects: Option<&[Subject]>, namespace: Symbol) -> Box<[Key]> {
        let subjects = subjects.unwrap_or_default().iter();
        subjects
            .filter_map(|subject| self.subject(subject, namespace))
            .collect()
    }

    /// A subject of a binding in `namespace`; none where it names nobody.
    fn subject(&mut self, subject: &Subject, namespace: Symbol) -> Option<Key> {
        match subject.kind.as_str() {
            "User" => Some(Key::User(self.symbols.put(&subject.name))),
            "Group" => Some(Key::Group(self.symbols.put(&subject.name))),
            "ServiceAccount" => {
                let given = subject.namespace.as_deref().unwrap_or_default();
                let own = if given.is_empty() {
                    self.symbols.text(namespace)
                } else {
                    given
                };
                let name = (!own.is_empty()).then(|| account_name(own, &subject.name))?;
                Some(Key::User(self.symbols.put(&name)))
            }
            _ => None,
        }
    }
}
