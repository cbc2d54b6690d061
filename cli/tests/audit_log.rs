//! `--audit-log`: who really used what is found.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[allow(dead_code, reason = "other tests use the rest")]
mod run;

use run::{Place, reader};
use serde_json::{Value, json};

/// An event as an API server logs it, shortened.
fn session(user: &str, code: u16, minute: u32) -> String {
    let event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
        "auditID": "6d1c58bb-6f06-4b32-9a1c-05b1b0b3f9c1", "stage": "ResponseStarted", "verb": "get",
        "user": {"username": user, "groups": ["system:authenticated"]},
        "objectRef": {"resource": "pods", "namespace": "web", "name": "box", "apiVersion": "v1", "subresource": "exec"},
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": format!("2026-11-01T10:{minute:02}:00.000000Z"),
        "stageTimestamp": format!("2026-11-01T10:{minute:02}:00.500000Z"),
    });
    format!("{event}\n")
}

fn exec_of(report: &Value, name: &str) -> Value {
    let findings = report["findings"].as_array().unwrap();
    let own = findings
        .iter()
        .find(|own| own["rule"] == "SW001" && own["subject"]["name"] == name);
    own.expect("a finding").clone()
}

#[test]
fn uses_are_told_with_findings() {
    let place = Place::new();
    place.write("roles.yaml", &reader(&["jane", "bob"]));
    let log = [
        session("jane", 101, 1),
        session("jane", 101, 7),
        session("jane", 403, 8),
    ]
    .concat();
    place.write("audit.log", &log);
    let words = "audit -f roles.yaml --server-version 1.34 --audit-log audit.log";
    let ended = place.run(&format!("{words} -o json"));
    assert_eq!(ended.code, 1, "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["log"]["events"], 3);
    let jane = &exec_of(&report, "jane")["evidence"];
    assert_eq!(jane["uses"], 2);
    assert_eq!(jane["last"], "2026-11-01T10:07:00Z");
    // Who would newly get 403.
    assert_eq!(jane["users"][0]["user"], "jane");
    assert_eq!(jane["users"][0]["willBeRefused"], true);
    // Never used: it can be taken away.
    assert_eq!(exec_of(&report, "bob")["evidence"]["uses"], 0);

    let wide = place.run(&format!("{words} -o wide"));
    let row = |name: &str| {
        let mut rows = wide.stdout.lines();
        rows.find(|row| row.contains("SW001") && row.contains(name))
            .expect("a row")
    };
    assert!(
        row("jane").contains("2, last 2026-11-01"),
        "{}",
        row("jane")
    );
    assert!(row("bob").contains("never"), "{}", row("bob"));
}

#[test]
fn logs_that_cannot_be_read() {
    let place = Place::new();
    place.write("roles.yaml", &reader(&["jane"]));
    let missing = place.run("audit -f roles.yaml --audit-log no.log");
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("no.log"), "{}", missing.stderr);
    // Half a line at the end: the API server is writing it.
    let text = format!("{}{{\"kind\": \"Ev", session("jane", 101, 1));
    place.write("audit.log", &text);
    let cut = place.run("audit -f roles.yaml --server-version 1.34 --audit-log audit.log -o json");
    assert_eq!(cut.code, 1, "{cut:?}");
    let report: Value = serde_json::from_str(&cut.stdout).unwrap();
    assert_eq!(report["log"]["events"], 1);
    assert_eq!(report["log"]["unreadable"], 1);
    assert_eq!(exec_of(&report, "jane")["evidence"]["uses"], 1);
}
