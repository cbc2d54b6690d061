#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::{Value, json};

use super::*;
use crate::access::{Exempt, User};

fn review() -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "operation": "CONNECT", "name": "box", "namespace": "team",
            "resource": {"group": "", "version": "v1", "resource": "pods"}, "subResource": "exec",
            "userInfo": {"username": "reader", "groups": ["a"], "extra": {"k": ["v"]}},
            "object": {"kind": "PodExecOptions", "apiVersion": "v1", "command": ["id"]},
        },
    })
}

fn asked(review: &Value) -> Result<Question, Refusal> {
    let body = review.to_string();
    Request::read(body.as_bytes()).and_then(|request| question(&request))
}

#[test]
fn sessions_in_pods_are_asked_about() {
    for (subresource, target) in [
        ("exec", Target::Exec),
        ("attach", Target::Attach),
        ("portforward", Target::Portforward),
    ] {
        let mut review = review();
        review["request"]["subResource"] = subresource.into();
        let wanted = Question {
            user: User {
                name: "reader".to_owned(),
                groups: vec!["a".to_owned()],
                extra: [("k".to_owned(), vec!["v".to_owned()])].into(),
                ..User::default()
            },
            target,
            namespace: "team".to_owned(),
            name: "box".to_owned(),
        };
        assert_eq!(asked(&review).unwrap(), wanted);
    }
}

#[test]
fn what_the_path_is_not_for_is_refused() {
    for (pointer, value, words) in [
        (
            "/request/operation",
            json!("CREATE"),
            "this path is for CONNECT of pods/exec",
        ),
        (
            "/request/subResource",
            json!("log"),
            "this path is for CONNECT",
        ),
        (
            "/request/subResource",
            json!("proxy"),
            "this path is for CONNECT",
        ),
        (
            "/request/resource/resource",
            json!("nodes"),
            "was asked about",
        ),
        ("/request/resource/group", json!("apps"), "was asked about"),
        ("/request/userInfo", Value::Null, "has no userInfo"),
        (
            "/request/userInfo",
            json!("reader"),
            "userInfo cannot be read",
        ),
        (
            "/request/userInfo/groups",
            json!(7),
            "userInfo cannot be read",
        ),
    ] {
        let mut review = review();
        *review.pointer_mut(pointer).unwrap() = value;
        let refusal = asked(&review).unwrap_err();
        assert_eq!(refusal.status, 400);
        assert!(refusal.message.contains(words), "{}", refusal.message);
    }
}

#[test]
fn the_ladder() {
    let question = asked(&review()).unwrap();
    let exempt = Verdict::Exempt(Exempt {
        name: "ci".to_owned(),
        why: "until the runner is new".to_owned(),
    });
    let rule = "add to a Role that they have: {apiGroups: [\"\"], resources: [pods/exec], verbs: [create]}";
    for mode in [Mode::Audit, Mode::Warn, Mode::Deny] {
        for verdict in [Verdict::HasCreate, exempt.clone(), Verdict::LacksCreate] {
            let answer = answer("1", mode, &question, &verdict);
            let review: Value = serde_json::from_slice(&answer.review).unwrap();
            let response = &review["response"];
            let lacks = verdict == Verdict::LacksCreate;
            assert_eq!(response["uid"], "1");
            assert_eq!(
                response["allowed"],
                !(lacks && mode == Mode::Deny),
                "{response}"
            );
            let warned = response["warnings"][0].as_str().unwrap_or_default();
            assert_eq!(
                warned.contains(rule),
                lacks && mode == Mode::Warn,
                "{response}"
            );
            let message = response["status"]["message"].as_str().unwrap_or_default();
            assert_eq!(
                message.contains(rule),
                lacks && mode == Mode::Deny,
                "{response}"
            );
            let noted = response["auditAnnotations"][ANNOTATION].as_str();
            match verdict {
                Verdict::HasCreate => assert_eq!(noted, None),
                Verdict::Exempt(_) => {
                    assert_eq!(noted, Some("exempt by ci: until the runner is new"));
                }
                Verdict::LacksCreate => assert!(noted.unwrap().contains(rule)),
            }
        }
    }
}

#[test]
fn paths_are_where_the_manifests_say() {
    for (path, _) in PATHS {
        assert!(path.starts_with(streamway_crds::names::CONNECT_PATH));
    }
}
