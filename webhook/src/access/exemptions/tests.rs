#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn exemption(instead: Value) -> AccessExemptionSpec {
    let mut spec = json!({
        "subjects": [{"kind": "User", "name": "reader"}],
        "reason": "until the runner is new", "expires": "2027-01-31T00:00:00Z",
    });
    let fields = spec.as_object_mut().unwrap();
    fields.extend(instead.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

fn wants(user: &str, target: Target) -> Question {
    Question {
        user: User {
            name: user.to_owned(),
            groups: vec!["developers".to_owned()],
            ..User::default()
        },
        target,
        namespace: "team".to_owned(),
        name: "box".to_owned(),
    }
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

const BEFORE: &str = "2027-01-30T23:59:59.999Z";

#[test]
fn it_ends_to_the_second() {
    let (exemption, question) = (exemption(json!({})), wants("reader", Target::Exec));
    assert!(holds(&exemption, &question, at(BEFORE)));
    for late in [
        "2027-01-31T00:00:00Z",
        "2027-01-31T00:00:00.001Z",
        "2030-01-01T00:00:00Z",
    ] {
        assert!(!holds(&exemption, &question, at(late)), "{late}");
    }
}

#[test]
fn subjects_are_those_of_rbac() {
    let account =
        |namespace: &str| json!({"kind": "ServiceAccount", "name": "ci", "namespace": namespace});
    for (subject, user, wanted) in [
        (json!({"kind": "User", "name": "reader"}), "reader", true),
        (json!({"kind": "User", "name": "reader"}), "reader2", false),
        (
            json!({"kind": "User", "name": "developers"}),
            "reader",
            false,
        ),
        (
            json!({"kind": "Group", "name": "developers"}),
            "anybody",
            true,
        ),
        (
            json!({"kind": "Group", "name": "anybody"}),
            "anybody",
            false,
        ),
        (account("team"), "system:serviceaccount:team:ci", true),
        (account("team"), "system:serviceaccount:other:ci", false),
        (account("team"), "system:serviceaccount:team:ci2", false),
        (account("team"), "ci", false),
        (
            json!({"kind": "User", "name": "system:serviceaccount:team:ci"}),
            "system:serviceaccount:team:ci",
            true,
        ),
    ] {
        let text = subject.to_string();
        let exemption = exemption(json!({"subjects": [{"kind": "User", "name": "else"}, subject]}));
        let question = wants(user, Target::Exec);
        assert_eq!(
            holds(&exemption, &question, at(BEFORE)),
            wanted,
            "{text} {user}"
        );
    }
}

#[test]
fn it_is_for_what_it_names() {
    for (instead, target, wanted) in [
        (json!({}), Target::Exec, true),
        (json!({}), Target::Portforward, true),
        (json!({}), Target::NodesProxy, false),
        (json!({"resources": ["pods/attach"]}), Target::Attach, true),
        (json!({"resources": ["pods/attach"]}), Target::Exec, false),
        (json!({"namespaces": ["team"]}), Target::Exec, true),
        (json!({"namespaces": ["other", "team"]}), Target::Exec, true),
        (json!({"namespaces": ["other"]}), Target::Exec, false),
        (
            json!({"namespaces": ["other"], "resources": ["nodes/proxy"]}),
            Target::NodesProxy,
            true,
        ),
    ] {
        let text = instead.to_string();
        let exemption = exemption(instead);
        let question = wants("reader", target);
        assert_eq!(
            holds(&exemption, &question, at(BEFORE)),
            wanted,
            "{text} {target:?}"
        );
    }
}
