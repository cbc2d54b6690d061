//! SARIF logs against OASIS' schema, which crate serde-sarif carries.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::path::PathBuf;

use serde_json::Value;
use streamway_audit::log::AuditLog;
use streamway_audit::manifests::Manifests;
use streamway_audit::{Baseline, Nowhere, Report, Server, Version, sarif};
use streamway_rbac::{Index, Policy};

const MANIFEST: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
- {verbs: [get], apiGroups: [''], resources: [pods/exec, nodes/proxy]}
- {verbs: [impersonate], apiGroups: [''], resources: [users]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers, namespace: web}
roleRef: {kind: ClusterRole, name: reader}
subjects:
- {kind: User, name: '[link](https://example.com) ü\\'}
- {kind: ServiceAccount, name: bot}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: readers}
roleRef: {kind: ClusterRole, name: reader}
subjects: [{kind: Group, name: devs}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
rules: 7
";

fn report(file: &str) -> Report {
    let mut manifests = Manifests::default();
    manifests.read(file, MANIFEST.as_bytes()).unwrap();
    let warnings: Vec<_> = manifests.problems().cloned().collect();
    let (policy, places) = manifests.into_parts();
    let index = Index::new(policy);
    let mut report = Report::of(&index, Server::of(Version::parse("1.34").ok()), &places);
    for problem in warnings {
        report.warn(streamway_audit::Warning {
            text: problem.cause.to_string(),
            location: Some(problem.place.into()),
            incomplete: true,
        });
    }
    let event = r#"{"kind": "Event", "apiVersion": "audit.k8s.io/v1", "stage": "ResponseComplete", "verb": "get",
        "user": {"username": "jane", "groups": ["devs"]}, "responseStatus": {"code": 101},
        "objectRef": {"resource": "pods", "subresource": "exec", "namespace": "web", "name": "box"},
        "requestReceivedTimestamp": "2026-11-01T10:00:00.000000Z"}"#;
    let mut log = AuditLog::default();
    log.read("audit.log", event.replace('\n', "").as_bytes())
        .unwrap();
    log.join(&mut report, &index);
    report
}

#[allow(
    clippy::disallowed_methods,
    reason = "the crate is pure, its tests read files"
)]
fn schema() -> Value {
    let metadata = cargo_metadata::MetadataCommand::new().exec().unwrap();
    let mut packages = metadata.packages.iter();
    let carrier = packages
        .find(|package| package.name == "serde-sarif")
        .unwrap();
    let path: PathBuf = carrier
        .manifest_path
        .with_file_name("src")
        .join("schema.json")
        .into();
    let mut schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    // Not an expression that every engine takes: it has a bracket too many. Nothing here has a language.
    for of in ["run", "toolComponent"] {
        let language = &mut schema["definitions"][of]["properties"]["language"];
        language.as_object_mut().unwrap().remove("pattern").unwrap();
    }
    schema
}

#[test]
fn logs_are_valid() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut accepted = report("deploy/roles.yaml");
    let mut baseline = Baseline::of(&accepted, "known", Some(jiff::civil::date(2027, 1, 1)));
    baseline.accepted.truncate(1);
    accepted.accept(&baseline, jiff::civil::date(2026, 11, 1));
    let empty = Report::of(
        &Index::new(Policy::of_cluster()),
        Server::of(None),
        &Nowhere,
    );
    let reports = [
        accepted,
        report("-"),
        report("/a b/%#[ü].yaml"),
        report(r"C:\a.yaml"),
        empty,
    ];
    for report in &reports {
        let log = sarif(report);
        let errors: Vec<_> = validator
            .iter_errors(&log)
            .map(|error| error.to_string())
            .collect();
        assert_eq!(errors, [""; 0]);
    }
    // The schema is one that refuses things.
    let mut broken = sarif(&reports[0]);
    broken["runs"][0]["results"][0]["level"] = Value::from("bad");
    assert!(!validator.is_valid(&broken));
}

#[test]
fn results_are_where_rules_are_written() {
    let log = sarif(&report("deploy/roles.yaml"));
    let run = &log["runs"][0];
    let results = run["results"].as_array().unwrap();
    let of = |rule: &str| results.iter().find(|own| own["ruleId"] == rule).unwrap();
    let exec = of("SW001");
    let place = &exec["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "deploy/roles.yaml");
    assert_eq!(place["region"]["startLine"], 5);
    assert_eq!(exec["level"], "error");
    let index = usize::try_from(exec["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][index]["id"], "SW001");
    assert_eq!(
        of("SW031")["locations"][0]["physicalLocation"]["region"]["startLine"],
        6
    );
    // Binding before rule.
    let lines: Vec<_> = exec["relatedLocations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| {
            own["physicalLocation"]["region"]["startLine"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(lines, [20, 5]);
    let told = &run["invocations"][0];
    assert_eq!(told["executionSuccessful"], false);
    let told = &told["toolExecutionNotifications"][0];
    assert_eq!(
        told["locations"][0]["physicalLocation"]["region"]["startLine"],
        22
    );
    // A name is no link.
    let texts: Vec<_> = results
        .iter()
        .filter_map(|own| own["message"]["text"].as_str())
        .collect();
    assert!(
        texts
            .iter()
            .any(|text| text.contains(r"\[link\](https://example.com) ü\\")),
        "{texts:?}"
    );
}

#[test]
fn fingerprints_stay_when_lines_do_not() {
    let fingerprints = |report: &Report| {
        let log = sarif(report);
        let results = log["runs"][0]["results"].as_array().unwrap().clone();
        let all = results
            .iter()
            .map(|own| own["partialFingerprints"].to_string());
        all.collect::<std::collections::BTreeSet<_>>()
    };
    let here = report("a.yaml");
    assert_eq!(fingerprints(&here), fingerprints(&report("b.yaml")));
    assert_eq!(fingerprints(&here).len(), here.findings.len());
}

#[test]
fn live_results_are_in_objects() {
    let mut policy = Policy::of_cluster();
    let mut manifests = Manifests::default();
    manifests.read("m", MANIFEST.as_bytes()).unwrap();
    policy.clone_from(&manifests.into_parts().0);
    let log = sarif(&Report::of(&Index::new(policy), Server::of(None), &Nowhere));
    let location = &log["runs"][0]["results"][0]["locations"][0];
    assert!(location.get("physicalLocation").is_none());
    assert_eq!(
        location["logicalLocations"][0]["fullyQualifiedName"],
        "ClusterRole/reader"
    );
}
