//! RBAC by a plain walk over all objects for each question, in the words of Kubernetes' own walk
//! (`plugin/pkg/auth/authorizer/rbac`, `pkg/registry/rbac/validation`). Shares no code with the index.
#![allow(dead_code, reason = "no test uses all of it")]

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, RoleRef, Subject};
use streamway_rbac::{Question, Resource, Who};

use crate::shapes::Objects;

/// Whether somebody may do something.
pub(crate) fn may(objects: &Objects, who: &Who, question: &Question<'_>) -> bool {
    let everywhere = objects.cluster_bindings.iter().any(|binding| {
        applies(binding.subjects.as_deref(), "", who)
            && allows(objects, &binding.role_ref, "", question)
    });
    let namespace = match question {
        Question::Resource(resource) => resource.namespace,
        Question::Url { .. } => "",
    };
    everywhere
        || (!namespace.is_empty()
            && objects.bindings.iter().any(|binding| {
                binding.metadata.namespace.as_deref() == Some(namespace)
                    && applies(binding.subjects.as_deref(), namespace, who)
                    && allows(objects, &binding.role_ref, namespace, question)
            }))
}

fn applies(subjects: Option<&[Subject]>, namespace: &str, who: &Who) -> bool {
    let mut subjects = subjects.unwrap_or_default().iter();
    subjects.any(|subject| match subject.kind.as_str() {
        "User" => subject.name == who.name,
        "Group" => who.groups.contains(&subject.name),
        "ServiceAccount" => {
            let namespace = subject.namespace.as_deref().unwrap_or(namespace);
            let name = format!("system:serviceaccount:{namespace}:{}", subject.name);
            !namespace.is_empty() && name == who.name
        }
        _ => false,
    })
}

fn allows(objects: &Objects, role: &RoleRef, namespace: &str, question: &Question<'_>) -> bool {
    let rules = match role.kind.as_str() {
        "Role" => objects.roles.iter().find_map(|own| {
            let same = own.metadata.name.as_ref() == Some(&role.name)
                && own.metadata.namespace.as_deref() == Some(namespace);
            same.then_some(own.rules.as_deref())
        }),
        "ClusterRole" => {
            let mut roles = objects.cluster_roles.iter();
            let own = roles.find(|own| own.metadata.name.as_ref() == Some(&role.name));
            own.map(|own| own.rules.as_deref())
        }
        _ => None,
    };
    let rules = rules.flatten().unwrap_or_default();
    rules.iter().any(|rule| rule_allows(rule, question))
}

fn rule_allows(rule: &PolicyRule, question: &Question<'_>) -> bool {
    let has = |list: Option<&[String]>, item: &str| {
        list.unwrap_or_default().iter().any(|own| own == item)
    };
    let verb = |verb| has(Some(&rule.verbs), "*") || has(Some(&rule.verbs), verb);
    match question {
        Question::Resource(asked) => {
            let groups = rule.api_groups.as_deref();
            let names = rule.resource_names.as_deref();
            verb(asked.verb)
                && (has(groups, "*") || has(groups, asked.group))
                && resource_matches(rule.resources.as_deref().unwrap_or_default(), asked)
                && (names.unwrap_or_default().is_empty() || has(names, asked.name))
        }
        Question::Url { verb: asked, path } => {
            let mut urls = rule.non_resource_urls.iter().flatten();
            verb(asked)
                && urls.any(|url| {
                    let prefix = url.trim_end_matches('*');
                    url == path || (prefix != url && path.starts_with(prefix))
                })
        }
    }
}

fn resource_matches(resources: &[String], asked: &Resource<'_>) -> bool {
    let whole = match asked.subresource {
        "" => asked.resource.to_owned(),
        subresource => format!("{}/{subresource}", asked.resource),
    };
    resources.iter().any(|own| {
        let of_any = own.strip_prefix("*/");
        own == "*"
            || *own == whole
            || (!asked.subresource.is_empty() && of_any == Some(asked.subresource))
    })
}

/// Fills aggregated ClusterRoles as kube-controller-manager does, round by round, from empty ones.
/// Selectors are by labels only.
pub(crate) fn aggregate(objects: &mut Objects) {
    let aggregated = |role: &ClusterRole| role.aggregation_rule.is_some();
    for role in objects.cluster_roles.iter_mut() {
        if aggregated(role) {
            role.rules = None;
        }
    }
    loop {
        let before = objects.cluster_roles.clone();
        for role in objects.cluster_roles.iter_mut() {
            let Some(aggregation) = &role.aggregation_rule else {
                continue;
            };
            let mut rules: Vec<PolicyRule> = Vec::new();
            for selector in aggregation.cluster_role_selectors.iter().flatten() {
                let wanted = selector.match_labels.clone().unwrap_or_default();
                for other in &before {
                    let labels = other.metadata.labels.clone().unwrap_or_default();
                    let selected = wanted
                        .iter()
                        .all(|(key, value)| labels.get(key) == Some(value));
                    if selected && other.metadata.name != role.metadata.name {
                        let others = other.rules.iter().flatten();
                        for rule in others {
                            if !rules.contains(rule) {
                                rules.push(rule.clone());
                            }
                        }
                    }
                }
            }
            role.rules = Some(rules);
        }
        let rules = |roles: &[ClusterRole]| -> Vec<usize> {
            let counts = roles.iter().map(|role| role.rules.iter().flatten().count());
            counts.collect()
        };
        if rules(&before) == rules(&objects.cluster_roles) {
            return;
        }
    }
}
