//! What a rule matches, case by case. `tests/reference.rs` and `e2e/tests/rbac_truth.rs` ask at random.

mod shapes;

use k8s_openapi::api::rbac::v1::PolicyRule;
use shapes::{ask, cluster_binding, cluster_role, named, rule, urls};
use streamway_rbac::{Index, Policy, Question, Who};

/// Whether a rule that somebody has everywhere allows something.
fn allows(rule: PolicyRule, question: Question<'_>) -> bool {
    let mut policy = Policy::of_cluster();
    policy.add_cluster_role(&cluster_role("r", &[rule]));
    policy.add_cluster_role_binding(&cluster_binding("b", "user:u", "ClusterRole/r"));
    let who = Who::user("u", &[]);
    Index::new(policy).may(&who, &question).is_some()
}

fn check(cases: &[(PolicyRule, &str, bool)]) {
    for (rule, question, expected) in cases {
        let asked = Question::Resource(ask("ns", question));
        let told = allows(rule.clone(), asked);
        assert_eq!(told, *expected, "{question} by {rule:?}");
    }
}

#[test]
fn verbs() {
    let pods = |verbs| rule(verbs, "-", "pods");
    check(&[
        (pods("get"), "get pods", true),
        (pods("get"), "list pods", false),
        (pods("get"), "GET pods", false),
        (pods("get,list"), "list pods", true),
        (pods("*"), "get pods", true),
        (pods("*"), "no-such-verb pods", true),
        // All verbs at once are more than any of them.
        (pods("get"), "* pods", false),
        (pods("*"), "* pods", true),
        (pods("g*"), "get pods", false),
        (pods(""), "get pods", false),
    ]);
}

#[test]
fn groups() {
    let group = |group| rule("get", group, "pods,deployments");
    check(&[
        (group("-"), "get pods", true),
        (group("-"), "get deployments.apps", false),
        (group("apps"), "get deployments.apps", true),
        (group("apps"), "get pods", false),
        (group("*"), "get pods", true),
        (group("*"), "get deployments.unknown", true),
        (group("-,apps"), "get deployments.apps", true),
        (group("*apps"), "get deployments.apps", false),
        // Without a group a rule is about no resource.
        (group(""), "get pods", false),
    ]);
}

#[test]
fn resources() {
    let resource = |resources| rule("get", "-", resources);
    check(&[
        (resource("pods"), "get pods", true),
        (resource("pods"), "get pods/exec", false),
        (resource("pods/exec"), "get pods/exec", true),
        (resource("pods/exec"), "get pods", false),
        (resource("pods/exec"), "get pods/attach", false),
        (resource("*"), "get pods", true),
        (resource("*"), "get pods/exec", true),
        (resource("*"), "get unknown/unknown", true),
        (resource("*/exec"), "get pods/exec", true),
        (resource("*/exec"), "get unknown/exec", true),
        (resource("*/exec"), "get pods", false),
        (resource("*/exec"), "get pods/attach", false),
        (resource("*/exec"), "get exec", false),
        // These are no patterns.
        (resource("pods/*"), "get pods/exec", false),
        (resource("pods/*"), "get pods", false),
        (resource("*/*"), "get pods/exec", false),
        (resource("pods*"), "get pods", false),
        (resource("*/ex*"), "get pods/exec", false),
        // Somebody may ask for them as they stand.
        (resource("pods/*"), "get pods/*", true),
        (resource("*/*"), "get pods/*", true),
        (resource("*/exec"), "get */exec", true),
        (resource("pods"), "get *", false),
        (resource("*"), "get *", true),
        (resource(""), "get pods", false),
    ]);
}

#[test]
fn names() {
    let two = |resources| named("a,b", rule("*", "-", resources));
    check(&[
        (two("pods/exec"), "get pods/exec a", true),
        (two("pods/exec"), "create pods/exec b", true),
        (two("pods/exec"), "create pods/exec c", false),
        (two("*"), "get pods c", false),
        // Requests that have no name.
        (two("pods"), "list pods", false),
        (two("pods"), "watch pods", false),
        (two("pods"), "deletecollection pods", false),
        (two("pods"), "create pods", false),
        // list with a field selector on the name.
        (two("pods"), "list pods a", true),
        // No star here.
        (named("*", rule("get", "-", "pods")), "get pods a", false),
        (named("*", rule("get", "-", "pods")), "get pods *", true),
        (named("-", rule("list", "-", "pods")), "list pods", true),
        (named("", rule("list", "-", "pods")), "list pods", true),
    ]);
}

#[test]
fn paths() {
    let cases = [
        ("/metrics", "/metrics", true),
        ("/metrics", "/metrics/", false),
        ("/metrics", "/metrics/cadvisor", false),
        ("/healthz/*", "/healthz/etcd", true),
        ("/healthz/*", "/healthz/", true),
        ("/healthz/*", "/healthz", false),
        ("/healthz*", "/healthz", true),
        ("/healthz*", "/healthz/etcd", true),
        ("/healthz**", "/healthz/etcd", true),
        ("*", "/anything", true),
        ("/*/etcd", "/healthz/etcd", false),
        ("/*/etcd", "/*/etcd", true),
        ("", "/metrics", false),
    ];
    for (url, path, expected) in cases {
        for (verb, has_verb) in [("get", true), ("post", false)] {
            let told = allows(urls("get", url), Question::Url { verb, path });
            assert_eq!(told, expected && has_verb, "{verb} {path} by {url}");
        }
    }
    // Resources and paths have nothing to do with each other.
    let all = rule("*", "*", "*");
    let (verb, path) = ("get", "/metrics");
    assert!(!allows(all, Question::Url { verb, path }));
    let pods = Question::Resource(ask("", "get pods"));
    assert!(!allows(urls("*", "*"), pods));
}
