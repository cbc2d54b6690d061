//! What AccessExemptions accept, and what they do not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::{Value, json};
use streamway_audit::{Baseline, Exemptions, Nowhere, Report, Server, Version};
use streamway_rbac::{Index, Policy};

/// When it is asked.
const NOW: &str = "2027-01-15T12:00:00Z";

/// `ci` may `get` exec and attach in the namespaces `a` and `b`, and `get` nodes/proxy; `all` may `get` exec
/// everywhere.
fn report(version: &str) -> Report {
    let role = |name: &str, resources: &[&str]| {
        json!({"metadata": {"name": name}, "rules": [
            {"verbs": ["get"], "apiGroups": [""], "resources": resources},
        ]})
    };
    let binding = |name: &str, role: &str, namespace: Option<&str>, subject: &str| {
        json!({
            "metadata": {"name": name, "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "namespace": "build", "name": subject}],
        })
    };
    let mut policy = Policy::of_cluster();
    for role in [
        role("pods", &["pods/exec", "pods/attach"]),
        role("nodes", &["nodes/proxy"]),
        role("exec", &["pods/exec"]),
    ] {
        policy.add_cluster_role(&serde_json::from_value(role).unwrap());
    }
    for namespace in ["a", "b"] {
        let binding = binding("pods", "pods", Some(namespace), "ci");
        policy.add_role_binding(&serde_json::from_value(binding).unwrap());
    }
    for binding in [
        binding("nodes", "nodes", None, "ci"),
        binding("exec", "exec", None, "all"),
    ] {
        policy.add_cluster_role_binding(&serde_json::from_value(binding).unwrap());
    }
    let server = Server::of(Version::parse(version).ok());
    Report::of(&Index::new(policy), server, &Nowhere)
}

/// For `ci` and exec; in all namespaces, if there is none.
fn exemption(name: &str, namespaces: &[&str], expires: &str) -> Value {
    let mut spec = json!({
        "subjects": [{"kind": "ServiceAccount", "namespace": "build", "name": "ci"}],
        "resources": ["pods/exec"],
        "reason": "until it is rewritten",
        "expires": expires,
    });
    if !namespaces.is_empty() {
        spec["namespaces"] = json!(namespaces);
    }
    json!({"apiVersion": "streamway.dev/v1alpha1", "kind": "AccessExemption",
        "metadata": {"name": name, "uid": "1"}, "spec": spec})
}

/// What is accepted, as `RULE reason (until)`.
fn accepted(version: &str, items: &[Value]) -> Vec<String> {
    let list = json!({"kind": "AccessExemptionList", "metadata": {}, "items": items});
    let exemptions: Exemptions = serde_json::from_value(list).unwrap();
    let mut report = report(version);
    let all = report.findings.len();
    report.exempt(&exemptions, NOW.parse().unwrap());
    let suppressed = report.findings.iter().filter_map(|finding| {
        let own = finding.suppressed.as_ref()?;
        let until = own.until.unwrap();
        Some(format!("{} {} ({until})", finding.rule, own.reason))
    });
    let suppressed: Vec<_> = suppressed.collect();
    assert_eq!(report.counts.suppressed, suppressed.len());
    assert_eq!(report.open().count() + suppressed.len(), all);
    suppressed
}

#[test]
fn a_finding_is_accepted_where_all_of_it_is() {
    let late = "2027-03-01T00:00:00Z";
    let sooner = "2027-02-01T08:00:00Z";
    let everywhere = exemption("all", &[], late);
    let both = exemption("both", &["a", "b"], late);
    let (a, b) = (exemption("a", &["a"], late), exemption("b", &["b"], sooner));
    let one = |items: &[&Value]| {
        let items: Vec<Value> = items.iter().map(|item| (*item).clone()).collect();
        accepted("1.34", &items)
    };

    // Midnight is the first moment at which it does not hold.
    let all = ["SW001 AccessExemption all: until it is rewritten (2027-02-28)"];
    assert_eq!(one(&[&everywhere]), all);
    let in_both = ["SW001 AccessExemption both: until it is rewritten (2027-02-28)"];
    assert_eq!(one(&[&both]), in_both);
    // The one that ends first ends it.
    let by_two = [
        "SW001 AccessExemption a: until it is rewritten; AccessExemption b: until it is rewritten \
         (2027-02-01)",
    ];
    assert_eq!(one(&[&a, &b]), by_two);
    // One that was renewed holds as long as the new one, and others have nothing to do with it.
    let elsewhere = exemption("elsewhere", &["c"], sooner);
    let old = exemption("old", &["a", "b"], sooner);
    assert_eq!(one(&[&old, &elsewhere, &both, &a]).len(), 1);
    assert!(
        one(&[&old, &elsewhere, &both])[0].ends_with("both: until it is rewritten (2027-02-28)")
    );

    assert!(one(&[]).is_empty());
    // b is left out.
    assert!(one(&[&a]).is_empty());
    assert!(one(&[&a, &elsewhere]).is_empty());
}

#[test]
fn what_reaches_everywhere_needs_an_exemption_for_everywhere() {
    let of_all = |namespaces: &[&str]| {
        let mut item = exemption("of-all", namespaces, "2027-03-01T00:00:00Z");
        item["spec"]["subjects"][0]["name"] = json!("all");
        accepted("1.34", &[item])
    };
    assert!(of_all(&["a", "b"]).is_empty());
    let told = ["SW001 AccessExemption of-all: until it is rewritten (2027-02-28)"];
    assert_eq!(of_all(&[]), told);
}

#[test]
fn who_is_not_meant_and_what_is_over_counts() {
    let exec = exemption("all", &[], "2027-03-01T00:00:00Z");
    let with = |field: &str, value: Value| {
        let mut item = exec.clone();
        item["spec"][field] = value;
        accepted("1.34", &[item])
    };
    let others = [
        json!({"kind": "ServiceAccount", "namespace": "other", "name": "ci"}),
        json!({"kind": "User", "name": "ci"}),
        json!({"kind": "Group", "name": "system:serviceaccounts"}),
    ];
    assert!(with("subjects", json!(others)).is_empty());
    // A service account is a user, too.
    let by_user = json!([{"kind": "User", "name": "system:serviceaccount:build:ci"}]);
    assert_eq!(with("subjects", by_user).len(), 1);
    assert!(with("resources", json!(["pods/portforward"])).is_empty());
    // To the second.
    assert!(with("expires", json!(NOW)).is_empty());
    assert_eq!(with("expires", json!("2027-01-15T12:00:01Z")).len(), 1);
    // Nodes are in no namespace.
    let nodes = |version: &str| {
        let mut item = exemption("nodes", &["a"], "2027-03-01T00:00:00Z");
        item["spec"]["resources"] = json!(["nodes/proxy"]);
        accepted(version, &[item])
    };
    let told = ["SW021 AccessExemption nodes: until it is rewritten (2027-02-28)"];
    assert_eq!(nodes("1.34"), told);
    // The API server's own check knows no exemptions: what it refuses is told. It is not asked of kubelets.
    assert!(accepted("1.36", &[exec]).is_empty());
    assert_eq!(nodes("1.36"), told);
}

#[test]
fn a_baseline_leaves_to_exemptions_what_is_theirs() {
    let item = exemption("all", &[], "2027-03-01T00:00:00Z");
    let exemptions: Exemptions = serde_json::from_value(json!({"items": [item]})).unwrap();
    let exempted = |report: &mut Report| report.exempt(&exemptions, NOW.parse().unwrap());
    let today = "2027-01-15".parse().unwrap();
    let mut first = report("1.34");
    let whole = Baseline::of(&first, "known", Some(today));
    exempted(&mut first);
    let baseline = Baseline::of(&first, "known", Some(today));
    assert_eq!(baseline.accepted.len() + 1, first.findings.len());
    // Revoked, it counts again.
    let mut later = report("1.34");
    later.accept(&baseline, today);
    assert_eq!(later.open().count(), 1);
    // An entry that is over says nothing of what is accepted otherwise.
    let mut over = report("1.34");
    exempted(&mut over);
    over.accept(&whole, "2027-01-16".parse().unwrap());
    assert_eq!(over.warnings.len() + 1, over.findings.len());
    assert_eq!(over.counts.suppressed, 1);
}
