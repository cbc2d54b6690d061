//! Who is found, where, and by what path. `tests/found.rs` shows that nobody else is.

mod shapes;

use k8s_openapi::api::rbac::v1::PolicyRule;
use shapes::{Objects, binding, cluster_binding, cluster_role, named, role, rule};
use streamway_rbac::{Detour, Index, Kind, Policy, Stream};

/// Findings of a kind, as `SUBJECT | REACH | PATH, PATH`, each path without the subject.
fn found(index: &Index, kind: Kind) -> Vec<String> {
    let findings = index.findings();
    let findings = findings.iter().filter(|finding| finding.kind == kind);
    let text = findings.map(|finding| {
        let paths = finding.paths.iter().map(|path| {
            let rule = path.rule + 1;
            format!("{} {rule}", path.binding.name)
        });
        let paths: Vec<String> = paths.collect();
        format!(
            "{} | {} | {}",
            finding.subject,
            finding.reach,
            paths.join(", ")
        )
    });
    text.collect()
}

const GET_EXEC: Kind = Kind::GetWithoutCreate(Stream::Exec);
const CREATE_EXEC: Kind = Kind::CreateWithoutGet(Stream::Exec);

fn exec(verbs: &str) -> PolicyRule {
    rule(verbs, "-", "pods/exec")
}

/// ClusterRoles for each verb, for both, and a reader of everything.
fn roles() -> Objects {
    Objects {
        cluster_roles: vec![
            cluster_role("get", &[exec("get")]),
            cluster_role("create", &[exec("create")]),
            cluster_role("both", &[exec("create"), exec("get")]),
            cluster_role("reader", &[rule("get,list,watch", "*", "*")]),
            cluster_role("admin", &[rule("*", "*", "*")]),
            cluster_role("get-a", &[named("a", exec("get"))]),
            cluster_role("get-nothing", &[named("-", exec("get"))]),
            cluster_role("create-a", &[named("a", exec("create"))]),
        ],
        ..Objects::default()
    }
}

/// Bindings are `NAMESPACE ROLE SUBJECTS`, `-` for the cluster; their names are their places.
fn index(bindings: &[&str]) -> Index {
    index_with(bindings, &[])
}

fn index_with(bindings: &[&str], known: &[(&str, &str)]) -> Index {
    let mut objects = roles();
    for (place, text) in bindings.iter().enumerate() {
        let words: Vec<&str> = text.split(' ').collect();
        let [namespace, role, to]: [&str; 3] = words.try_into().expect("three words");
        let (name, role) = (format!("b{place}"), format!("ClusterRole/{role}"));
        if namespace == "-" {
            let binding = cluster_binding(&name, to, &role);
            objects.cluster_bindings.push(binding);
        } else {
            let binding = binding(namespace, &name, to, &role);
            objects.bindings.push(binding);
        }
    }
    let mut policy = objects.add_to(Policy::of_cluster());
    for (user, group) in known {
        policy.add_groups(user, &[group]);
    }
    Index::new(policy)
}

#[test]
fn get_by_one_binding_and_create_by_another() {
    let both = index(&["- get user:u", "- create user:u"]);
    assert_eq!(both.findings(), []);

    let in_one = index(&["- get user:u", "n1 create user:u"]);
    assert_eq!(
        found(&in_one, GET_EXEC),
        ["User u | everywhere: all; in n1: none | b0 1"]
    );
    assert!(found(&in_one, CREATE_EXEC).is_empty());

    let elsewhere = index(&["n1 get user:u", "n2 create user:u"]);
    assert_eq!(found(&elsewhere, GET_EXEC), ["User u | in n1: all | b0 1"]);
    assert_eq!(
        found(&elsewhere, CREATE_EXEC),
        ["User u | in n2: all | b1 1"]
    );

    let everywhere = index(&["n1 get user:u", "- create user:u", "n2 both user:u"]);
    assert!(found(&everywhere, GET_EXEC).is_empty());
    assert_eq!(
        found(&everywhere, CREATE_EXEC),
        ["User u | everywhere: all; in n1: none; in n2: none | b1 1"]
    );
}

#[test]
fn names() {
    let limited = index(&["n1 get user:u", "n1 create-a user:u"]);
    assert_eq!(
        found(&limited, GET_EXEC),
        ["User u | in n1: all but a | b0 1"]
    );
    assert!(found(&limited, CREATE_EXEC).is_empty());

    let one = index(&["n1 get-a user:u", "- get-a user:v", "- create-a user:v"]);
    assert_eq!(found(&one, GET_EXEC), ["User u | in n1: a | b0 1"]);

    // No pod is without a name.
    let nobody = index(&["- get-nothing user:u"]);
    assert_eq!(nobody.findings(), []);
}

#[test]
fn only_the_paths_that_lead_there_are_told() {
    let objects = index(&[
        "- get-a user:u",
        "n1 get user:u",
        "n2 both user:u",
        "n1 create-a user:u",
        "n2 reader user:u",
    ]);
    assert_eq!(
        found(&objects, GET_EXEC),
        ["User u | everywhere: a; in n1: all but a; in n2: none | b0 1, b1 1"]
    );
}

#[test]
fn what_a_group_gives_is_found_with_the_group() {
    // Everybody who logs in may create, so nobody lacks it; and it lacks get for most.
    let group = index(&["- get user:u", "- create group:system:authenticated"]);
    assert!(found(&group, GET_EXEC).is_empty());
    assert_eq!(
        found(&group, CREATE_EXEC),
        ["Group system:authenticated | everywhere: all | b1 1"]
    );
    let stranger = index(&[
        "- get user:system:anonymous",
        "- create group:system:authenticated",
    ]);
    assert_eq!(
        found(&stranger, GET_EXEC),
        ["User system:anonymous | everywhere: all | b0 1"]
    );

    // Members of the one group are members of the other.
    let both = index(&[
        "n1 get group:system:serviceaccounts:n1",
        "n1 create group:system:serviceaccounts",
    ]);
    assert!(found(&both, GET_EXEC).is_empty());

    for group in [
        "system:serviceaccounts",
        "system:serviceaccounts:n1",
        "system:authenticated",
    ] {
        let create = format!("- create group:{group}");
        let account = index(&["n1 get account:/x", &create, "- get account:n2/x"]);
        let other = ["ServiceAccount n2/x | everywhere: all | b2 1"];
        let expected = if group.ends_with(":n1") {
            &other[..]
        } else {
            &[]
        };
        assert_eq!(found(&account, GET_EXEC), expected, "{group}");
    }
}

#[test]
fn an_account_that_is_named_in_two_ways_is_one() {
    let index = index(&[
        "n1 get account:/x",
        "- create user:system:serviceaccount:n1:x",
    ]);
    assert!(found(&index, GET_EXEC).is_empty());
    assert_eq!(
        found(&index, CREATE_EXEC),
        ["ServiceAccount n1/x | everywhere: all; in n1: none | b1 1"]
    );
}

#[test]
fn groups_that_are_known_count() {
    let bindings = ["- get user:u", "- create group:g"];
    let unknown = index(&bindings);
    assert_eq!(
        found(&unknown, GET_EXEC),
        ["User u | everywhere: all | b0 1"]
    );
    let known = index_with(&bindings, &[("u", "g")]);
    assert!(found(&known, GET_EXEC).is_empty());
    // Others in the group still lack it.
    assert_eq!(
        found(&known, CREATE_EXEC),
        ["Group g | everywhere: all | b1 1"]
    );
    let master = index_with(&["- get user:u"], &[("u", "system:masters")]);
    assert_eq!(master.findings(), []);
}

#[test]
fn a_reader_of_everything_is_found_for_everything() {
    let index = index(&["- reader group:g", "n1 reader user:u"]);
    for stream in Stream::ALL {
        let expected = [
            "Group g | everywhere: all | b0 1",
            "User u | in n1: all | b1 1",
        ];
        assert_eq!(found(&index, Kind::GetWithoutCreate(stream)), expected);
        assert!(found(&index, Kind::CreateWithoutGet(stream)).is_empty());
    }
    // A RoleBinding gives nothing on nodes.
    let nodes = ["Group g | everywhere: all | b0 1"];
    assert_eq!(found(&index, Kind::NodesProxy { create: false }), nodes);
}

#[test]
fn who_may_do_everything_is_found_for_nodes_only() {
    let index = index(&[
        "- admin user:u",
        "- admin group:system:masters",
        "n1 admin user:v",
    ]);
    let findings = index.findings();
    let kinds: Vec<Kind> = findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [Kind::NodesProxy { create: true }]);
    assert_eq!(findings[0].subject.to_string(), "User u");
}

#[test]
fn detours() {
    let mut objects = roles();
    objects.cluster_roles = vec![
        cluster_role("users", &[named("jane", rule("impersonate", "-", "users"))]),
        cluster_role("accounts", &[rule("impersonate", "-", "serviceaccounts")]),
        cluster_role("token", &[rule("create", "-", "serviceaccounts/token")]),
        cluster_role(
            "bind",
            &[rule("bind", "rbac.authorization.k8s.io", "clusterroles")],
        ),
    ];
    objects.roles = vec![role(
        "n1",
        "escalate",
        &[rule(
            "escalate",
            "rbac.authorization.k8s.io",
            "roles,clusterroles",
        )],
    )];
    objects.cluster_bindings = vec![cluster_binding("users", "user:u", "ClusterRole/users")];
    objects.bindings = vec![
        // Users have no namespace, so this gives none.
        binding("n1", "nothing", "user:v", "ClusterRole/users"),
        binding("n1", "accounts", "user:u", "ClusterRole/accounts"),
        binding("n1", "token", "user:u", "ClusterRole/token"),
        binding("n1", "escalate", "user:u", "Role/escalate"),
        binding("n1", "bind", "user:u", "ClusterRole/bind"),
    ];
    let index = Index::new(objects.add_to(Policy::of_cluster()));
    let cases = [
        (Detour::ImpersonateUsers, Some("everywhere: jane | users")),
        (Detour::ImpersonateGroups, None),
        (
            Detour::ImpersonateServiceAccounts,
            Some("in n1: all | accounts"),
        ),
        (Detour::Token, Some("in n1: all | token")),
        (Detour::EscalateRoles, Some("in n1: all | escalate")),
        // ClusterRoles have no namespace either, but to bind one is asked for in the binding's.
        (Detour::EscalateClusterRoles, None),
        (Detour::BindRoles, None),
        (Detour::BindClusterRoles, Some("in n1: all | bind")),
    ];
    for (detour, expected) in cases {
        let expected: Vec<String> = expected
            .map(|text| format!("User u | {text} 1"))
            .into_iter()
            .collect();
        assert_eq!(found(&index, Kind::Detour(detour)), expected, "{detour:?}");
    }
}
