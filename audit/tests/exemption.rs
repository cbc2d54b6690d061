//! What AccessExemptions accept, and what they do not.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use streamway_audit::{Exemptions, Nowhere, Report, Server, Version};
use streamway_rbac::{Index, Policy};

/// When it is asked.
const NOW: &str = "2027-01-15T12:00:00Z";

/// `ci` may `get` exec and attach in the namespaces `a` and `b`, and `get` nodes/proxy.
fn report(version: &str) -> Report {
    let role = |name: &str, resources: &[&str]| {
        json!({"metadata": {"name": name}, "rules": [
            {"verbs": ["get"], "apiGroups": [""], "resources": resources},
        ]})
    };
    let binding = |role: &str, namespace: Option<&str>| {
        json!({
            "metadata": {"name": role, "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "namespace": "build", "name": "ci"}],
        })
    };
    let mut policy = Policy::of_cluster();
    for role in [
        role("pods", &["pods/exec", "pods/attach"]),
        role("nodes", &["nodes/proxy"]),
    ] {
        policy.add_cluster_role(&serde_json::from_value(role).unwrap());
    }
    for namespace in ["a", "b"] {
        let binding = binding("pods", Some(namespace));
        policy.add_role_binding(&serde_json::from_value(binding).unwrap());
    }
    let nodes = serde_json::from_value(binding("nodes", None)).unwrap();
    policy.add_cluster_role_binding(&nodes);
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
    let one = |items: &[Value]| accepted("1.34", items);

    // Midnight is the first moment at which it does not hold.
    let all = ["SW001 AccessExemption all: until it is rewritten (2027-02-28)"];
    assert_eq!(one(std::slice::from_ref(&everywhere)), all);
    let in_both = ["SW001 AccessExemption both: until it is rewritten (2027-02-28)"];
    assert_eq!(one(std::slice::from_ref(&both)), in_both);
    // The one that ends first ends it.
    let by_two = [
        "SW001 AccessExemption a: until it is rewritten; AccessExemption b: until it is rewritten \
         (2027-02-01)",
    ];
    assert_eq!(one(&[a.clone(), b.clone()]), by_two);
    // Where one holds everywhere, the others add nothing.
    assert_eq!(one(&[a.clone(), b, everywhere]), all);

    assert!(one(&[]).is_empty());
    // b is left out.
    assert!(one(&[a]).is_empty());
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
    assert!(with("resources", json!(["pods/portforward"])).is_empty());
    // To the second.
    assert!(with("expires", json!(NOW)).is_empty());
    assert_eq!(with("expires", json!("2027-01-15T12:00:01Z")).len(), 1);
    // What goes to a kubelet directly is asked by no webhook.
    assert!(with("resources", json!(["nodes/proxy"])).is_empty());
    // The API server's own check knows no exemptions: it is refused, and told so.
    assert!(accepted("1.36", &[exec]).is_empty());
}
