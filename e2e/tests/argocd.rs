//! Argo CD's health of our kinds: its own script, run by the Lua that Argo CD speaks (5.1).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};
use streamway_crds::conditions::{PAUSED, READY, RECONCILING, STALLED};
use streamway_e2e::product::repository;
use streamway_e2e::{install, run};

/// Status and message that the script tells of an object.
fn health(object: &Value) -> (String, String) {
    let script = repository().join("config/argocd/health.lua");
    let script = fs::read_to_string(script).unwrap();
    let told = "local told = (function()\n";
    let print = "\nend)()\nprint(told.status)\nprint(told.message)";
    let program = format!("obj = {}\n{told}{script}{print}", lua(object));
    let told = run::output(&mut run::command("lua5.1", ["-e", &program])).unwrap();
    let (status, message) = told.trim_end().split_once('\n').unwrap();
    (status.to_owned(), message.to_owned())
}

/// A value as Lua writes it.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        // Of the words that are used here, escapes are the same.
        Value::String(_) => value.to_string(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(lua).collect();
            format!("{{{}}}", items.join(", "))
        }
        Value::Object(fields) => {
            let mut text = String::new();
            for (name, field) in fields {
                let _ = write!(text, "[{name:?}] = {}, ", lua(field));
            }
            format!("{{{text}}}")
        }
    }
}

/// An object in a phase, with the conditions that are true; the others of the three are false.
fn object(phase: &str, conditions: &[&str]) -> Value {
    let all = [READY, RECONCILING, STALLED, PAUSED];
    let condition = |kind: &str| {
        let status = if conditions.contains(&kind) {
            "True"
        } else {
            "False"
        };
        json!({"type": kind, "status": status, "message": format!("about {kind}")})
    };
    json!({
        "metadata": {"name": "all", "generation": 2},
        "status": {
            "observedGeneration": 2,
            "phase": phase,
            "message": "where it is",
            "conditions": all.map(condition),
        },
    })
}

#[test]
fn health_is_what_the_conditions_say() {
    install::lua().unwrap();
    for (phase, conditions, status, message) in [
        ("Complete", &[READY][..], "Healthy", "where it is"),
        ("Progressing", &[RECONCILING], "Progressing", "where it is"),
        ("Baking", &[RECONCILING], "Progressing", "where it is"),
        ("Paused", &[RECONCILING, PAUSED], "Suspended", "where it is"),
        (
            "WaitingForApproval",
            &[RECONCILING],
            "Suspended",
            "where it is",
        ),
        (
            "WaitingForWindow",
            &[RECONCILING],
            "Suspended",
            "where it is",
        ),
        ("RolledBack", &[STALLED], "Degraded", "about Stalled"),
        // Whoever has to do something comes first.
        ("Paused", &[STALLED, PAUSED], "Degraded", "about Stalled"),
    ] {
        let told = health(&object(phase, conditions));
        assert_eq!(told, (status.to_owned(), message.to_owned()), "{phase}");
    }
    let waits = (
        "Progressing".to_owned(),
        "waiting for the controller".to_owned(),
    );
    let mut stale = object("Complete", &[READY]);
    stale["status"]["observedGeneration"] = json!(1);
    assert_eq!(health(&stale), waits);
    assert_eq!(health(&json!({"metadata": {"generation": 1}})), waits);
}
