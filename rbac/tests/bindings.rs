//! Whom bindings give what, where.

mod shapes;

use shapes::{Objects, ask, binding, cluster_binding, cluster_role, role, rule, urls};
use streamway_rbac::{Index, Policy, Question, Subject, Who};

fn index(objects: &Objects) -> Index {
    Index::new(objects.add_to(Policy::of_cluster()))
}

fn may(index: &Index, who: &Who, namespace: &str, question: &str) -> bool {
    let question = Question::Resource(ask(namespace, question));
    index.may(who, &question).is_some()
}

fn reader() -> Objects {
    Objects {
        roles: vec![role("a", "reader", &[rule("get", "-", "pods")])],
        cluster_roles: vec![cluster_role(
            "reader",
            &[rule("get", "-", "pods,nodes"), urls("get", "/metrics")],
        )],
        ..Objects::default()
    }
}

#[test]
fn a_role_binding_reaches_its_namespace_only() {
    for (reference, other) in [("Role/reader", false), ("ClusterRole/reader", true)] {
        let mut objects = reader();
        objects.bindings = vec![
            binding("a", "b", "user:u", reference),
            binding("b", "b", "user:u", reference),
        ];
        let index = index(&objects);
        let user = Who::user("u", &[]);
        assert!(may(&index, &user, "a", "get pods"));
        // There is a Role in namespace a only.
        assert_eq!(may(&index, &user, "b", "get pods"), other);
        for namespace in ["", "c", "default"] {
            assert!(!may(&index, &user, namespace, "get pods"), "{namespace}");
        }
        // Objects without a namespace, and paths, are nobody's by a RoleBinding.
        assert!(!may(&index, &user, "", "get nodes"));
        let (verb, path) = ("get", "/metrics");
        assert!(index.may(&user, &Question::Url { verb, path }).is_none());
    }
}

#[test]
fn a_cluster_role_binding_reaches_everywhere() {
    let mut objects = reader();
    objects.cluster_bindings = vec![cluster_binding("b", "user:u", "ClusterRole/reader")];
    let index = index(&objects);
    let user = Who::user("u", &[]);
    for namespace in ["", "a", "unheard-of"] {
        assert!(may(&index, &user, namespace, "get pods"));
    }
    let (verb, path) = ("get", "/metrics");
    assert!(index.may(&user, &Question::Url { verb, path }).is_some());
    assert!(!may(&index, &Who::user("v", &[]), "", "get pods"));
}

#[test]
fn references_that_lead_nowhere_grant_nothing() {
    let mut objects = reader();
    objects
        .roles
        .push(role("a", "only", &[rule("*", "*", "*")]));
    objects.bindings = vec![
        binding("a", "gone", "user:u", "Role/gone"),
        binding("a", "other-kind", "user:u", "ClusterRole/only"),
        binding("b", "other-namespace", "user:u", "Role/reader"),
        binding("a", "odd-kind", "user:u", "Rolle/reader"),
    ];
    objects.cluster_bindings = vec![
        cluster_binding("gone", "user:u", "ClusterRole/gone"),
        // The API server refuses it; a manifest may have it.
        cluster_binding("to-a-role", "user:u", "Role/reader"),
    ];
    let index = index(&objects);
    for namespace in ["", "a", "b"] {
        assert!(!may(&index, &Who::user("u", &[]), namespace, "get pods"));
    }
}

#[test]
fn subjects() {
    let account = Who::service_account("a", "x");
    let as_user = "user:system:serviceaccount:a:x";
    let cases = [
        ("user:u", Who::user("u", &[]), true),
        ("user:u", Who::user("g", &["u"]), false),
        ("user:U", Who::user("u", &[]), false),
        ("group:g", Who::user("u", &["f", "g"]), true),
        ("group:g", Who::user("g", &[]), false),
        ("group:system:authenticated", Who::user("u", &[]), true),
        ("group:system:authenticated", account.clone(), true),
        ("group:system:authenticated", Who::anonymous(), false),
        ("group:system:unauthenticated", Who::anonymous(), true),
        ("group:system:unauthenticated", Who::user("u", &[]), false),
        ("user:system:anonymous", Who::anonymous(), true),
        ("group:system:authenticated", Who::exactly("u", &[]), false),
        ("account:a/x", account.clone(), true),
        ("account:b/x", account.clone(), false),
        ("account:a/y", account.clone(), false),
        // The binding's own namespace, which is a.
        ("account:/x", account.clone(), true),
        ("account:/x", Who::service_account("b", "x"), false),
        (as_user, account.clone(), true),
        (
            "account:a/x",
            Who::exactly("system:serviceaccount:a:x", &[]),
            true,
        ),
        ("account:a/x", Who::user("x", &[]), false),
        ("group:system:serviceaccounts", account.clone(), true),
        ("group:system:serviceaccounts:a", account.clone(), true),
        ("group:system:serviceaccounts:b", account.clone(), false),
        ("group:system:serviceaccounts", Who::user("u", &[]), false),
        ("Users:u", Who::user("u", &[]), false),
        ("user:v,group:g", Who::user("u", &["g"]), true),
        ("", Who::user("u", &[]), false),
    ];
    for (subjects, who, expected) in cases {
        let mut objects = reader();
        objects.bindings = vec![binding("a", "b", subjects, "Role/reader")];
        let told = may(&index(&objects), &who, "a", "get pods");
        assert_eq!(told, expected, "{subjects} is {who:?}");
    }
    // A ClusterRoleBinding has no namespace for an account to be in.
    let mut objects = reader();
    objects.cluster_bindings = vec![cluster_binding("b", "account:/x", "ClusterRole/reader")];
    assert!(!may(&index(&objects), &account, "a", "get pods"));
}

#[test]
fn an_object_without_a_namespace_is_in_default() {
    let mut objects = reader();
    objects.roles = vec![role("", "reader", &[rule("get", "-", "pods")])];
    objects.bindings = vec![binding("", "b", "user:u,account:/x", "Role/reader")];
    let index = index(&objects);
    for who in [Who::user("u", &[]), Who::service_account("default", "x")] {
        assert!(may(&index, &who, "default", "get pods"));
        assert!(!may(&index, &who, "", "get pods"));
        assert!(!may(&index, &who, "a", "get pods"));
    }
}

#[test]
fn the_later_of_two_objects_counts() {
    let mut objects = reader();
    objects.bindings = vec![
        binding("a", "b", "user:u", "Role/reader"),
        binding("a", "b", "user:v", "Role/reader"),
    ];
    objects
        .roles
        .push(role("a", "reader", &[rule("list", "-", "pods")]));
    let index = index(&objects);
    assert!(!may(&index, &Who::user("u", &[]), "a", "list pods"));
    assert!(may(&index, &Who::user("v", &[]), "a", "list pods"));
    assert!(!may(&index, &Who::user("v", &[]), "a", "get pods"));
}

#[test]
fn the_way_is_told() {
    let mut objects = reader();
    objects.cluster_roles.push(cluster_role(
        "more",
        &[rule("list", "-", "pods"), rule("get", "-", "*")],
    ));
    objects.bindings = vec![binding("a", "own", "user:u", "Role/reader")];
    objects.cluster_bindings = vec![cluster_binding(
        "wide",
        "user:v,group:g",
        "ClusterRole/more",
    )];
    let index = index(&objects);
    let question = Question::Resource(ask("a", "get pods"));
    let who = Who::user("u", &["g"]);
    let ways: Vec<String> = index
        .ways(&who, &question)
        .map(|path| path.to_string())
        .collect();
    let expected = [
        "Group g → ClusterRoleBinding wide → ClusterRole more → rule 2",
        "User u → RoleBinding a/own → Role a/reader → rule 1",
    ];
    assert_eq!(ways, expected);
    let path = index.may(&who, &question).expect("a way");
    assert_eq!(path.subject, Subject::Group("g".into()));
    assert_eq!((path.binding.namespace, path.binding.name), ("", "wide"));
    assert_eq!((path.written_in, path.rule), (path.role, 1));
}

#[test]
fn groups_that_kubernetes_adds() {
    let authenticated = "system:authenticated";
    let cases = [
        (Subject::of_user("u"), "u", vec![authenticated]),
        (
            Subject::of_user("system:anonymous"),
            "system:anonymous",
            vec!["system:unauthenticated"],
        ),
        (
            Subject::of_user("system:serviceaccount:a:x"),
            "system:serviceaccount:a:x",
            vec![
                "system:serviceaccounts",
                "system:serviceaccounts:a",
                authenticated,
            ],
        ),
        // No service account's name.
        (
            Subject::of_user("system:serviceaccount:a"),
            "system:serviceaccount:a",
            vec![authenticated],
        ),
        (Subject::Group("g".into()), "", vec!["g", authenticated]),
        (
            Subject::Group(authenticated.into()),
            "",
            vec![authenticated],
        ),
        (
            Subject::Group("system:unauthenticated".into()),
            "",
            vec!["system:unauthenticated"],
        ),
        (
            Subject::Group("system:serviceaccounts".into()),
            "",
            vec!["system:serviceaccounts", authenticated],
        ),
        (
            Subject::Group("system:serviceaccounts:a".into()),
            "",
            vec![
                "system:serviceaccounts:a",
                "system:serviceaccounts",
                authenticated,
            ],
        ),
    ];
    for (subject, name, groups) in cases {
        assert_eq!(subject.who(), Who::exactly(name, &groups), "{subject}");
    }
    let stranger = Who::user("u", &["system:unauthenticated"]);
    assert_eq!(stranger.groups, ["system:unauthenticated"]);
}
