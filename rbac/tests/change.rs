//! Rules looked at and changed, and who holds what before and after.

mod shapes;

use k8s_openapi::api::rbac::v1::AggregationRule;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use shapes::{Objects, cluster_binding, cluster_role, named, role, rule};
use streamway_rbac::{Index, Object, ObjectKind, Policy};

fn objects() -> Objects {
    let mut part = cluster_role("part", &[named("a", rule("get", "-", "pods/exec"))]);
    part.metadata.labels = Some([("to".to_owned(), "whole".to_owned())].into());
    // As the controller left it.
    let mut whole = cluster_role("whole", &[named("a", rule("get", "-", "pods/exec"))]);
    whole.aggregation_rule = Some(AggregationRule {
        cluster_role_selectors: Some(vec![LabelSelector {
            match_labels: Some([("to".to_owned(), "whole".to_owned())].into()),
            ..LabelSelector::default()
        }]),
    });
    Objects {
        cluster_roles: vec![part, whole],
        roles: vec![role("n", "r", &[rule("get", "*", "*")])],
        cluster_bindings: vec![cluster_binding("b", "user:u", "ClusterRole/whole")],
        ..Objects::default()
    }
}

fn cluster(name: &str) -> Object<'_> {
    Object {
        kind: ObjectKind::ClusterRole,
        namespace: "",
        name,
    }
}

fn holders(policy: Policy) -> Vec<String> {
    let index = Index::new(policy);
    let holders = index.holders();
    let holders = holders.iter().map(|holder| {
        let right = holder.right;
        let what = format!("{} {}/{}", right.verb, right.resource, right.subresource);
        format!("{}: {what} {}", holder.subject, holder.reach)
    });
    holders.collect()
}

#[test]
fn rules_are_as_they_were_written() {
    let policy = objects().add_to(Policy::of_cluster());
    assert_eq!((policy.roles(), policy.bindings()), (3, 1));
    let expected = vec![named("a", rule("get", "-", "pods/exec"))];
    assert_eq!(policy.rules(&cluster("part")), Some(expected));
    let namespaced = Object {
        kind: ObjectKind::Role,
        namespace: "n",
        name: "r",
    };
    assert_eq!(policy.rules(&namespaced), Some(vec![rule("get", "*", "*")]));
    assert_eq!(policy.rules(&cluster("r")), None);
    assert!(policy.is_aggregated(&cluster("whole")) && !policy.is_aggregated(&cluster("part")));
}

#[test]
fn a_change_of_a_part_is_one_of_the_whole() {
    let mut policy = objects().add_to(Policy::of_cluster());
    let before = ["User u: get pods/exec everywhere: a"];
    assert_eq!(holders(policy.clone().aggregated()), before);
    let rules = [rule("get,create", "-", "pods/exec")];
    assert!(policy.set_rules(&cluster("part"), &rules));
    assert!(!policy.set_rules(&cluster("nobody"), &rules));
    // What the whole holds is not filled in yet.
    assert_eq!(holders(policy.clone()), before);
    let after = [
        "User u: create pods/exec everywhere: all",
        "User u: get pods/exec everywhere: all",
    ];
    assert_eq!(holders(policy.aggregated()), after);
}
