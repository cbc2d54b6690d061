//! Any objects and questions of a small world, in which much matches.
#![allow(dead_code, reason = "no test uses all of it")]

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use streamway_rbac::{Question, Resource, Who};

use crate::shapes::{
    Objects, aggregating, binding, cluster_binding, cluster_role, labelled, named, role, rule, urls,
};

pub(crate) const NAMESPACES: [&str; 2] = ["n1", "n2"];
pub(crate) const NAMES: [&str; 2] = ["a", "b"];
const ROLES: [&str; 4] = ["r1", "r2", "r3", "gone"];
const VERBS: [&str; 7] = [
    "get",
    "create",
    "list",
    "*",
    "impersonate",
    "bind",
    "escalate",
];
const GROUPS: [&str; 4] = ["-", "apps", "*", "rbac.authorization.k8s.io"];
const RESOURCES: [&str; 14] = [
    "*",
    "*/*",
    "*/exec",
    "pods",
    "pods/*",
    "pods/exec",
    "pods/attach",
    "pods/portforward",
    "nodes/proxy",
    "*/proxy",
    "users",
    "serviceaccounts",
    "serviceaccounts/token",
    "clusterroles",
];
const URLS: [&str; 6] = ["*", "/a", "/a*", "/a/*", "/a/b", "/*/b"];
const SUBJECTS: [&str; 13] = [
    "user:u",
    "user:v",
    "user:system:anonymous",
    "user:system:serviceaccount:n1:x",
    "group:g",
    "group:system:authenticated",
    "group:system:unauthenticated",
    "group:system:serviceaccounts",
    "group:system:serviceaccounts:n1",
    "group:system:masters",
    "account:n1/x",
    "account:n2/x",
    "account:/x",
];

fn some(items: &'static [&'static str]) -> impl Strategy<Value = String> {
    subsequence(items, 1..=2).prop_map(|items| items.join(","))
}

fn any_rule() -> impl Strategy<Value = PolicyRule> {
    let names = prop_oneof![3 => Just(String::new()), 1 => some(&["a", "b", "-"])];
    let resources = (some(&VERBS), some(&GROUPS), some(&RESOURCES), names);
    prop_oneof![
        6 => resources.prop_map(|(verbs, groups, resources, names)| {
            named(&names, rule(&verbs, &groups, &resources))
        }),
        1 => (some(&VERBS), some(&URLS)).prop_map(|(verbs, paths)| urls(&verbs, &paths)),
    ]
}

fn rules() -> impl Strategy<Value = Vec<PolicyRule>> {
    vec(any_rule(), 0..=3)
}

fn label() -> impl Strategy<Value = &'static str> {
    select(vec!["l1=y", "l2=y", "l3=y"])
}

/// ClusterRoles, some of them aggregated, with rules of their own too.
fn cluster_roles() -> impl Strategy<Value = Vec<ClusterRole>> {
    let one = (
        rules(),
        vec(label(), 0..=2),
        weighted(0.3, vec(label(), 1..=2)),
    );
    vec(one, 0..=5).prop_map(|roles| {
        let roles = roles.into_iter().enumerate();
        let roles = roles.map(|(place, (rules, labels, selected))| {
            let role = cluster_role(&format!("r{place}"), &rules);
            let role = labelled(&labels.join(","), role);
            let Some(selected) = selected else {
                return role;
            };
            let selectors: Vec<LabelSelector> = selected.into_iter().map(selector).collect();
            aggregating(&selectors, role)
        });
        roles.collect()
    })
}

fn selector(label: &str) -> LabelSelector {
    let (key, value) = label.split_once('=').expect("KEY=VALUE");
    LabelSelector {
        match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
        match_expressions: None,
    }
}

fn reference() -> impl Strategy<Value = String> {
    let kind = select(vec!["Role", "ClusterRole"]);
    (kind, select(&ROLES)).prop_map(|(kind, name)| format!("{kind}/{name}"))
}

/// Objects of a world.
pub(crate) fn objects() -> impl Strategy<Value = Objects> {
    let roles = vec((select(&NAMESPACES), select(&ROLES[..3]), rules()), 0..=4);
    let bindings = vec((select(&NAMESPACES), some(&SUBJECTS), reference()), 0..=8);
    let cluster_bindings = vec((some(&SUBJECTS), reference()), 0..=4);
    (roles, cluster_roles(), bindings, cluster_bindings).prop_map(
        |(roles, cluster_roles, bindings, cluster_bindings)| {
            let mut objects = Objects {
                cluster_roles,
                ..Objects::default()
            };
            for (namespace, name, rules) in roles {
                let is = |own: &k8s_openapi::api::rbac::v1::Role| {
                    own.metadata.namespace.as_deref() == Some(namespace)
                        && own.metadata.name.as_deref() == Some(name)
                };
                if !objects.roles.iter().any(is) {
                    objects.roles.push(role(namespace, name, &rules));
                }
            }
            for (place, (namespace, to, reference)) in bindings.iter().enumerate() {
                let name = format!("b{place}");
                let binding = binding(namespace, &name, to, reference);
                objects.bindings.push(binding);
            }
            for (place, (to, reference)) in cluster_bindings.iter().enumerate() {
                let name = format!("b{place}");
                let binding = cluster_binding(&name, to, reference);
                objects.cluster_bindings.push(binding);
            }
            objects
        },
    )
}

/// Who could ask.
pub(crate) fn who() -> impl Strategy<Value = Who> {
    let group = select(vec![
        "g",
        "system:masters",
        "system:unauthenticated",
        "other",
    ]);
    let user = select(vec!["u", "v", "g", "system:anonymous", "other"]);
    prop_oneof![
        (user, vec(group, 0..=2)).prop_map(|(name, groups)| Who::user(name, &groups)),
        select(&NAMESPACES).prop_map(|namespace| Who::service_account(namespace, "x")),
        Just(Who::exactly("u", &[])),
    ]
}

/// What could be asked, as it would be and as nobody does.
pub(crate) fn question() -> impl Strategy<Value = Question<'static>> {
    let words = (
        select(&["get", "create", "list", "*", "impersonate", "other"]),
        select(&["", "apps", "*", "rbac.authorization.k8s.io", "other"]),
        select(&[
            "pods",
            "pods/exec",
            "nodes",
            "users",
            "*",
            "clusterroles",
            "other",
        ]),
        select(&["", "exec", "attach", "proxy", "*", "token", "other"]),
        select(&["", "n1", "n2", "other"]),
        select(&["", "a", "b", "other"]),
    );
    prop_oneof![
        6 => words.prop_map(|(verb, group, resource, subresource, namespace, name)| {
            Question::Resource(Resource { verb, group, resource, subresource, namespace, name })
        }),
        1 => (select(&["get", "*", "other"]), select(&["/a", "/a/", "/a/b", "/*/b", "/", ""]))
            .prop_map(|(verb, path)| Question::Url { verb, path }),
    ]
}
