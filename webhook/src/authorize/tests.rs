#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::{Value, json};

use super::*;

const ALL: Guarded = Guarded {
    pods: true,
    nodes_proxy: true,
};

fn review(attributes: Value) -> Value {
    json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": "reader", "uid": "7", "groups": ["a", "b"], "extra": {"scopes.example": ["x"]},
            "resourceAttributes": attributes,
        },
    })
}

fn get(resource: &str, subresource: &str) -> Value {
    json!({
        "verb": "get", "version": "v1", "namespace": "team", "name": "box",
        "resource": resource, "subresource": subresource,
    })
}

fn asked(review: &Value, guarded: Guarded) -> Result<Option<Question>, Refusal> {
    question(review.to_string().as_bytes(), guarded)
}

#[test]
fn get_on_what_opens_sessions_is_asked_about() {
    for (resource, subresource, target) in [
        ("pods", "exec", Target::Exec),
        ("pods", "attach", Target::Attach),
        ("pods", "portforward", Target::Portforward),
        ("nodes", "proxy", Target::NodesProxy),
    ] {
        let question = asked(&review(get(resource, subresource)), ALL)
            .unwrap()
            .unwrap();
        assert_eq!(question.target, target);
        assert_eq!((&*question.namespace, &*question.name), ("team", "box"));
        let user = question.user;
        assert_eq!((&*user.name, &*user.uid), ("reader", "7"));
        assert_eq!(user.groups, ["a", "b"]);
        assert_eq!(user.extra["scopes.example"], ["x"]);
    }
}

#[test]
fn nothing_else_is() {
    let with = |key: &str, value: &str| {
        let mut attributes = get("pods", "exec");
        attributes[key] = value.into();
        review(attributes)
    };
    let url = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"user": "reader", "nonResourceAttributes": {"verb": "get", "path": "/healthz"}},
    });
    for review in [
        with("verb", "create"),
        with("verb", "*"),
        with("verb", "list"),
        with("group", "apps"),
        with("resource", "*"),
        with("subresource", ""),
        with("subresource", "log"),
        with("subresource", "*"),
        review(get("nodes", "exec")),
        review(get("pods", "proxy")),
        url,
    ] {
        assert_eq!(asked(&review, ALL), Ok(None), "{review}");
    }
}

#[test]
fn what_is_not_guarded_is_not_asked_about() {
    let pods = Guarded {
        nodes_proxy: false,
        ..ALL
    };
    let nodes = Guarded { pods: false, ..ALL };
    let (exec, proxy) = (review(get("pods", "exec")), review(get("nodes", "proxy")));
    assert!(asked(&exec, pods).unwrap().is_some());
    assert!(asked(&proxy, pods).unwrap().is_none());
    assert!(asked(&exec, nodes).unwrap().is_none());
    assert!(asked(&proxy, nodes).unwrap().is_some());
}

#[test]
fn bodies_that_cannot_be_read_are_refused_with_what_would_be_right() {
    let right = review(get("pods", "exec"));
    let with = |pointer: &str, value: Value| {
        let mut review = right.clone();
        *review.pointer_mut(pointer).unwrap() = value;
        review.to_string()
    };
    for (body, words) in [
        (String::new(), "the body is no SubjectAccessReview"),
        (
            "{}".to_owned(),
            "not SubjectAccessReview of authorization.k8s.io/v1",
        ),
        (
            with("/kind", "AdmissionReview".into()),
            "\"AdmissionReview\"",
        ),
        (
            with("/apiVersion", "authorization.k8s.io/v1beta1".into()),
            "--authorization-webhook-version, must be v1",
        ),
        (with("/spec", Value::Null), "has no spec"),
        (with("/spec", 7.into()), "spec cannot be read"),
        (
            with("/spec/resourceAttributes", 7.into()),
            "spec cannot be read",
        ),
        (with("/spec/user", json!(["a"])), "spec cannot be read"),
        (with("/spec/groups", "a".into()), "spec cannot be read"),
    ] {
        let refusal = question(body.as_bytes(), ALL).unwrap_err();
        assert_eq!(refusal.status, 400, "{body}");
        assert!(
            refusal.message.contains(words),
            "{body}: {}",
            refusal.message
        );
    }
}

#[test]
fn nothing_is_ever_allowed() {
    let read = |opinion: Opinion| -> Value { serde_json::from_slice(&opinion.review()).unwrap() };
    let none = read(Opinion::None);
    assert_eq!(none["status"], json!({"allowed": false, "denied": false}));
    let denied = read(Opinion::Denied("add a rule".to_owned()));
    let status = json!({"allowed": false, "denied": true, "reason": "add a rule"});
    assert_eq!(denied["status"], status);
    for review in [none, denied] {
        assert_eq!(review["apiVersion"], "authorization.k8s.io/v1");
        assert_eq!(review["kind"], "SubjectAccessReview");
    }
}
