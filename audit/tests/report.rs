//! What a report says of a finding on servers of several versions, and what becomes of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::{Value, json};
use streamway_audit::{
    API_VERSION, Baseline, CREATE_CHECK, Nowhere, Origin, Report, Server, Severity, State, Version,
};
use streamway_rbac::{Index, Policy};

fn rule(verbs: &[&str], resources: &[&str]) -> Value {
    json!([{"verbs": verbs, "apiGroups": [""], "resources": resources}])
}

/// A role's name, its rules, whom it is bound to.
type Bound<'a> = (&'a str, Value, &'a [(&'a str, &'a str)]);

/// A ClusterRole of each name, bound to the subjects everywhere by a binding of the same name.
fn index(bound: &[Bound<'_>]) -> Index {
    let mut policy = Policy::of_cluster();
    for (name, rules, subjects) in bound {
        let subjects = subjects.iter().map(|(kind, name)| {
            let namespace = (*kind == "ServiceAccount").then_some("kube-system");
            json!({"kind": kind, "name": name, "namespace": namespace})
        });
        let role = json!({"metadata": {"name": name}, "rules": rules});
        policy.add_cluster_role(&serde_json::from_value(role).unwrap());
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": subjects.collect::<Vec<_>>(),
        });
        policy.add_cluster_role_binding(&serde_json::from_value(binding).unwrap());
    }
    Index::new(policy)
}

fn server(version: &str) -> Server {
    Server::of(Version::parse(version).ok())
}

#[test]
fn severity_follows_version_and_gate() {
    let table: [(&str, &[&str], &[&str]); 6] = [
        ("exec", &["get"], &["pods/exec"]),
        ("attach", &["get"], &["pods/attach"]),
        ("forward", &["get"], &["pods/portforward"]),
        ("spdy", &["create"], &["pods/exec"]),
        ("node", &["get"], &["nodes/proxy"]),
        ("nodes", &["get", "create"], &["nodes/proxy"]),
    ];
    let bound = table.map(|(name, verbs, resources)| {
        let subjects: &[(&str, &str)] = &[("User", "u")];
        (name, rule(verbs, resources), subjects)
    });
    use Severity::{High, Low, Medium};
    use State::{Blocked, Exploitable, OpenAtKubelet, OutOfSight, WillBreak};
    let open = [
        (High, Exploitable),
        (High, Exploitable),
        (Medium, Exploitable),
        (Low, WillBreak),
        (High, OpenAtKubelet),
        (Low, OutOfSight),
    ];
    let mut closed = open;
    closed[..3].fill((Low, Blocked));
    let mut off = server("v1.36.3");
    off.tell(CREATE_CHECK, false, Origin::Server);
    let servers = [
        (server("v1.28.15"), open),
        (server("v1.34.4"), open),
        (server("v1.36.3"), closed),
        (off, open),
        // Nothing is known: the worst is told.
        (Server::of(None), open),
    ];
    for (server, expected) in servers {
        for (bound, expected) in bound.iter().zip(expected) {
            let index = index(std::slice::from_ref(bound));
            let report = Report::of(&index, server.clone(), &Nowhere);
            let [finding] = report.findings.as_slice() else {
                panic!("{:?}", report.findings);
            };
            let told = (finding.severity, finding.exposure.state);
            assert_eq!(told, expected, "{} on {server:?}", bound.0);
        }
    }
}

#[test]
fn what_everybody_can_is_critical() {
    let get = || rule(&["get"], &["pods/exec"]);
    for group in [
        "system:authenticated",
        "system:unauthenticated",
        "system:serviceaccounts",
    ] {
        let index = index(&[("reader", get(), &[("Group", group)])]);
        let old = Report::of(&index, server("1.34"), &Nowhere);
        assert_eq!(old.worst(), Some(Severity::Critical), "{group}");
        // It opens nothing where it is refused.
        let new = Report::of(&index, server("1.36"), &Nowhere);
        assert_eq!(new.worst(), Some(Severity::Low), "{group}");
    }
}

#[test]
fn kubernetes_own_controllers_are_notes() {
    let get = || rule(&["get"], &["*"]);
    let severity = |role: &str, subject: (&str, &str)| {
        let index = index(&[(role, get(), &[subject])]);
        let report = Report::of(&index, server("1.34"), &Nowhere);
        let exec = report
            .findings
            .iter()
            .find(|finding| finding.rule.as_str() == "SW001");
        exec.unwrap().severity
    };
    let controller = ("ServiceAccount", "generic-garbage-collector");
    let own = "system:controller:generic-garbage-collector";
    assert_eq!(severity(own, controller), Severity::Note);
    assert_eq!(severity("reader", controller), Severity::High);
    assert_eq!(severity(own, ("User", "jane")), Severity::High);
    let everybody = ("Group", "system:authenticated");
    assert_eq!(severity(own, everybody), Severity::Critical);
}

#[test]
fn a_report_survives_json() {
    let index = index(&[
        (
            "reader",
            rule(&["get", "list"], &["*"]),
            &[("User", "u"), ("Group", "g")],
        ),
        (
            "tokens",
            rule(&["create"], &["serviceaccounts/token"]),
            &[("User", "u")],
        ),
    ]);
    let report = Report::of(&index, server("v1.34.4"), &Nowhere);
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);

    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["apiVersion"], API_VERSION);
    assert_eq!(value["counts"]["bySeverity"]["high"], 6);
    let first = &value["findings"][0];
    assert_eq!(first["rule"], "SW001");
    assert_eq!(first["severity"], "high");
    assert_eq!(first["subject"], json!({"kind": "Group", "name": "g"}));
    assert_eq!(first["reach"], json!({"everywhere": {"allBut": []}}));
    assert_eq!(
        first["paths"][0]["writtenIn"],
        json!({"kind": "ClusterRole", "name": "reader"})
    );
    assert_eq!(first["fixes"][0]["kind"], "add-create");
}

#[test]
fn fingerprints_are_of_rule_and_subject() {
    let one = index(&[("a", rule(&["get"], &["pods/exec"]), &[("User", "u")])]);
    let other = index(&[("b", rule(&["get"], &["*"]), &[("User", "u"), ("User", "v")])]);
    let prints = |index: &Index, server: Server| -> Vec<String> {
        let report = Report::of(index, server, &Nowhere);
        let findings = report.findings.iter();
        findings
            .map(|finding| finding.fingerprint.clone())
            .collect()
    };
    let one = prints(&one, server("1.34"));
    // Known to baselines and to code scanning: it never changes.
    assert_eq!(one, ["606335ae1ef6519c"]);
    let mut other = prints(&other, server("1.36"));
    assert!(other.contains(&one[0]));
    let all = other.len();
    other.sort();
    other.dedup();
    assert_eq!(other.len(), all);
}

#[test]
fn filters_and_counts() {
    let index = index(&[
        (
            "reader",
            rule(&["get"], &["pods/exec"]),
            &[("User", "u"), ("User", "v")],
        ),
        (
            "tokens",
            rule(&["create"], &["serviceaccounts/token"]),
            &[("User", "u")],
        ),
    ]);
    let mut report = Report::of(&index, server("1.34"), &Nowhere);
    assert_eq!(report.counts.by_severity[&Severity::High], 2);
    report.keep(|finding| finding.subject.name == "v");
    assert_eq!(report.counts.by_severity[&Severity::High], 1);
    assert_eq!(report.counts.by_severity[&Severity::Note], 0);
    assert_eq!(report.counts.hidden, 2);
    assert!(report.complete);
}

#[test]
fn a_baseline_holds_for_what_was_accepted_and_no_more() {
    let get = || rule(&["get"], &["pods/exec"]);
    let named = |name: &str| {
        let mut rules = get();
        rules[0]["resourceNames"] = json!([name]);
        rules
    };
    let of = |rules: Value| {
        let index = index(&[("reader", rules, &[("User", "u")])]);
        Report::of(&index, server("1.34"), &Nowhere)
    };
    let accepted = of(named("web"));
    let until: jiff::civil::Date = "2027-01-31".parse().unwrap();
    let baseline = Baseline::of(&accepted, "debugging the web", Some(until));
    let open = |rules: Value, today: &str| {
        let mut report = of(rules);
        report.accept(&baseline, today.parse().unwrap());
        let warnings: Vec<_> = report.warnings.iter().map(|own| own.text.clone()).collect();
        assert!(report.complete);
        (
            report.worst(),
            report.counts.suppressed,
            warnings.join("\n"),
        )
    };
    assert_eq!(open(named("web"), "2027-01-31"), (None, 1, String::new()));

    let (worst, suppressed, warning) = open(named("web"), "2027-02-01");
    assert_eq!((worst, suppressed), (Some(Severity::High), 0));
    let said = warning.contains("until 2027-01-31") && warning.contains("debugging the web");
    assert!(said, "{warning}");

    let (worst, _, warning) = open(get(), "2027-01-31");
    assert_eq!(worst, Some(Severity::High));
    assert!(
        warning.contains("everywhere (only web), reaches everywhere now"),
        "{warning}"
    );

    let (_, _, warning) = open(rule(&["get"], &["pods"]), "2027-01-31");
    assert_eq!(warning, "1 entry of the baseline matches nothing any more");
}

#[test]
fn a_baseline_is_checked() {
    let index = index(&[("reader", rule(&["get"], &["pods/exec"]), &[("User", "u")])]);
    let report = Report::of(&index, server("1.34"), &Nowhere);
    let baseline = |change: &dyn Fn(&mut Value)| {
        let mut value = serde_json::to_value(Baseline::of(&report, "why", None)).unwrap();
        change(&mut value);
        let baseline = serde_json::from_value::<Baseline>(value).map_err(|error| error.to_string());
        baseline.and_then(|baseline| baseline.check().map_err(|error| error.to_string()))
    };
    assert_eq!(baseline(&|_| {}), Ok(()));
    let wrong = |change: &dyn Fn(&mut Value), word: &str| {
        let error = baseline(change).unwrap_err();
        assert!(error.contains(word), "{error}");
    };
    wrong(
        &|value| value["kind"] = json!("AuditReport"),
        "no AuditBaseline",
    );
    wrong(
        &|value| value["accepted"][0]["reason"] = json!(" "),
        "no reason",
    );
    wrong(
        &|value| value["accepted"][0]["untill"] = json!("2027-01-01"),
        "untill",
    );
    wrong(
        &|value| value["accepted"][0]["until"] = json!("soon"),
        "as year",
    );
    wrong(
        &|value| {
            let entry = value["accepted"][0].clone();
            value["accepted"].as_array_mut().unwrap().push(entry);
        },
        "two entries",
    );
}
