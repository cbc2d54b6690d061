//! Aggregated ClusterRoles, from manifests and as a cluster holds them.

mod shapes;

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use shapes::{Objects, aggregating, ask, cluster_binding, cluster_role, labelled, rule};
use streamway_rbac::{Index, Path, Policy, Question, Who};

fn label(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(BTreeMap::from([(key.to_owned(), value.to_owned())])),
        match_expressions: None,
    }
}

fn expression(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
    LabelSelector {
        match_labels: None,
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: key.to_owned(),
            operator: operator.to_owned(),
            values: (!values.is_empty()).then(|| values.iter().map(|&v| v.to_owned()).collect()),
        }]),
    }
}

/// The way of user `u`, who has ClusterRole `top`, to a verb on pods.
fn way<'a>(index: &'a Index, verb: &str) -> Option<Path<'a>> {
    let question = format!("{verb} pods");
    index.may(
        &Who::user("u", &[]),
        &Question::Resource(ask("a", &question)),
    )
}

fn objects(roles: &[ClusterRole]) -> Objects {
    Objects {
        cluster_roles: roles.to_vec(),
        cluster_bindings: vec![cluster_binding("b", "user:u", "ClusterRole/top")],
        ..Objects::default()
    }
}

fn of_manifests(roles: &[ClusterRole]) -> Index {
    Index::new(objects(roles).add_to(Policy::of_manifests()))
}

#[test]
fn selectors() {
    let cases = [
        (label("to", "top"), true),
        (label("to", "bottom"), false),
        (label("from", "top"), false),
        (LabelSelector::default(), true),
        (expression("to", "In", &["bottom", "top"]), true),
        (expression("to", "In", &["bottom"]), false),
        (expression("from", "In", &["top"]), false),
        (expression("to", "NotIn", &["bottom"]), true),
        (expression("to", "NotIn", &["top"]), false),
        (expression("from", "NotIn", &["top"]), true),
        (expression("to", "Exists", &[]), true),
        (expression("from", "Exists", &[]), false),
        (expression("to", "DoesNotExist", &[]), false),
        (expression("from", "DoesNotExist", &[]), true),
        // The API server refuses these.
        (expression("to", "NotIn", &[]), false),
        (expression("to", "Exists", &["top"]), false),
        (expression("to", "Gt", &["0"]), false),
    ];
    for (selector, expected) in cases {
        let part = labelled("to=top", cluster_role("part", &[rule("get", "-", "pods")]));
        let top = aggregating(std::slice::from_ref(&selector), cluster_role("top", &[]));
        let told = way(&of_manifests(&[part, top]), "get").is_some();
        assert_eq!(told, expected, "{selector:?}");
    }
    // All parts of a selector count; any of several selectors does.
    let part = labelled("a=1,b=2", cluster_role("part", &[rule("get", "-", "pods")]));
    let both = |value| LabelSelector {
        match_expressions: expression("b", "In", &[value]).match_expressions,
        ..label("a", "1")
    };
    for (selectors, expected) in [
        (vec![both("2")], true),
        (vec![both("3")], false),
        (vec![both("3"), label("b", "2")], true),
        (vec![], false),
    ] {
        let top = aggregating(&selectors, cluster_role("top", &[]));
        let told = way(&of_manifests(&[part.clone(), top]), "get").is_some();
        assert_eq!(told, expected, "{selectors:?}");
    }
}

#[test]
fn aggregates_of_aggregates_and_rings() {
    let get = labelled("to=mid", cluster_role("get", &[rule("get", "-", "pods")]));
    let list = labelled("to=top", cluster_role("list", &[rule("list", "-", "pods")]));
    let mid = labelled(
        "to=top",
        aggregating(&[label("to", "mid")], cluster_role("mid", &[])),
    );
    // In a ring with mid, and with itself.
    let top = labelled(
        "to=top,and=mid",
        aggregating(&[label("to", "top")], cluster_role("top", &[])),
    );
    let ring = aggregating(
        &[label("to", "mid"), label("and", "mid")],
        labelled("to=top", cluster_role("mid", &[])),
    );
    for mid in [mid, ring] {
        let index = of_manifests(&[top.clone(), list.clone(), mid, get.clone()]);
        let path = way(&index, "get").expect("through mid");
        assert_eq!(
            path.to_string(),
            "User u → ClusterRoleBinding b → ClusterRole top → ClusterRole get → rule 1"
        );
        assert!(way(&index, "list").is_some());
        assert!(way(&index, "watch").is_none());
    }
}

#[test]
fn rules_that_an_aggregated_role_holds_itself() {
    let part = labelled("to=top", cluster_role("part", &[rule("get", "-", "pods")]));
    let held = [rule("list", "-", "pods"), rule("get", "-", "pods")];
    let top = aggregating(&[label("to", "top")], cluster_role("top", &held));
    let roles = [part, top];

    // A manifest's are overwritten by the controller.
    let index = of_manifests(&roles);
    assert!(way(&index, "list").is_none());
    assert!(way(&index, "get").is_some());

    // A cluster's count, and come from where they are written.
    let index = Index::new(objects(&roles).add_to(Policy::of_cluster()));
    let list = way(&index, "list").expect("held");
    assert_eq!((list.written_in, list.rule), (list.role, 0));
    let get = way(&index, "get").expect("held");
    assert_eq!((get.written_in.name, get.rule), ("part", 0));
}
