use serde_json::{Value, json};

use super::*;
use crate::version::Version;

/// A binding of the policy, for namespaces whose label is, or is not, any of some.
fn binding(actions: &[&str], operator: &str, values: &[&str]) -> Value {
    json!({"metadata": {"name": actions[0]}, "spec": {
        "policyName": POLICY,
        "validationActions": actions,
        "matchResources": {"namespaceSelector": {"matchExpressions": [
            {"key": "streamway.dev/create-check", "operator": operator, "values": values},
        ]}},
    }})
}

/// As `config/base/policy` has them.
fn installed() -> Facts {
    let bindings = [
        binding(&["Audit"], "NotIn", &["Warn", "Deny", "Off"]),
        binding(&["Warn", "Audit"], "In", &["Warn"]),
        binding(&["Deny", "Audit"], "In", &["Deny"]),
    ];
    Facts {
        policy: true,
        bindings: bindings
            .map(|own| serde_json::from_value(own).unwrap())
            .into(),
        ..namespaces()
    }
}

fn namespaces() -> Facts {
    let labels = |value: &str| {
        let label = (!value.is_empty())
            .then(|| ("streamway.dev/create-check".to_owned(), value.to_owned()));
        label.into_iter().collect()
    };
    let all = [
        ("plain", ""),
        ("warned", "Warn"),
        ("closed", "Deny"),
        ("off", "Off"),
    ];
    Facts {
        namespaces: all
            .map(|(name, value)| (name.to_owned(), labels(value)))
            .into(),
        ..Facts::default()
    }
}

fn diagnosis(version: &str, facts: Facts) -> Diagnosis {
    let now = "2026-11-28T00:00:00Z".parse().unwrap();
    Diagnosis::of(Server::of(Version::parse(version).ok()), facts, now)
}

fn active(diagnosis: &Diagnosis) -> Vec<&str> {
    let active = diagnosis.enforcers.iter().filter(|own| own.active);
    active.map(|own| own.name.as_str()).collect()
}

#[test]
fn labels_say_what_becomes_of_sessions() {
    let found = diagnosis("1.34", installed());
    let of = |action| found.namespaces.get(&action).cloned().unwrap_or_default();
    assert_eq!(of(Action::Audit), ["plain"]);
    assert_eq!(of(Action::Warn), ["warned"]);
    assert_eq!(of(Action::Deny), ["closed"]);
    assert_eq!(of(Action::Unchecked), ["off"]);
    assert_eq!(active(&found), ["admission policy"]);
    assert!(!found.enforced);
    let told = found.next.join("\n");
    assert!(
        told.contains("2 namespaces let sessions")
            && told.contains("1 namespaces are not looked at")
    );

    let mut closed = installed();
    closed.namespaces.retain(|name, _| name == "closed");
    assert!(diagnosis("1.34", closed).enforced);
}

#[test]
fn a_policy_without_bindings_does_nothing() {
    let facts = Facts {
        bindings: Vec::new(),
        ..installed()
    };
    let found = diagnosis("1.34", facts);
    assert!(active(&found).is_empty());
    assert_eq!(
        found.namespaces.keys().collect::<Vec<_>>(),
        [&Action::Unchecked]
    );
}

#[test]
fn the_webhook_counts_as_its_path_says() {
    let webhook = json!({"webhooks": [
        {"name": "deny", "clientConfig": {"service": {"name": "w", "namespace": "s", "path": "/admit/connect/deny"}},
         "namespaceSelector": {"matchLabels": {"streamway.dev/create-check": "Deny"}},
         "admissionReviewVersions": ["v1"], "sideEffects": "None"},
        {"name": "audit", "clientConfig": {"service": {"name": "w", "namespace": "s", "path": "/admit/connect/audit"}},
         "admissionReviewVersions": ["v1"], "sideEffects": "None"},
    ]});
    let facts = Facts {
        webhook: Some(serde_json::from_value(webhook).unwrap()),
        ..namespaces()
    };
    let found = diagnosis("1.34", facts);
    assert_eq!(found.namespaces[&Action::Deny], ["closed"]);
    assert_eq!(found.namespaces[&Action::Audit], ["off", "plain", "warned"]);
    assert_eq!(active(&found), ["admission webhook"]);
}

#[test]
fn advice_follows_the_version() {
    let first = |version, facts| diagnosis(version, facts).next[0].clone();
    assert!(first("1.34", namespaces()).contains("policy-only"));
    assert!(first("1.28", namespaces()).contains("authorization webhook"));
    assert!(first("1.36", installed()).contains("can go"));
    assert!(first("1.36", namespaces()).contains("kubectl streamway audit"));
    let found = diagnosis("1.36", namespaces());
    assert!(found.enforced && found.namespaces[&Action::Deny].len() == 4);

    let exempt = Facts {
        exemptions: vec![
            ("old".to_owned(), "2026-11-27T00:00:00Z".parse().unwrap()),
            ("new".to_owned(), "2026-11-29T00:00:00Z".parse().unwrap()),
        ],
        ..installed()
    };
    let told = diagnosis("1.34", exempt).next.join("\n");
    assert!(told.contains("delete accessexemption old") && !told.contains("exemption new"));
}
