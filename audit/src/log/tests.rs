//! Events as API servers write them, and as they do not.

use serde_json::{Value, json};

use super::*;
use crate::{Nowhere, Report, RuleId, Server};

/// An event as kube-apiserver 1.36 logs it, shortened.
fn event(user: &str, verb: &str, pod: &str, stage: &str, code: u16, minute: u32) -> Value {
    json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
        "auditID": "6d1c58bb-6f06-4b32-9a1c-05b1b0b3f9c1", "stage": stage,
        "requestURI": format!("/api/v1/namespaces/web/pods/{pod}/exec?command=sh"),
        "verb": verb,
        "user": {"username": user, "groups": ["developers", "system:authenticated"], "extra": {"a": ["b"]}},
        "sourceIPs": ["127.0.0.1"], "userAgent": "kubectl/v1.36.3 (linux/amd64)",
        "objectRef": {"resource": "pods", "namespace": "web", "name": pod, "apiVersion": "v1", "subresource": "exec"},
        "responseStatus": {"metadata": {}, "code": code},
        "requestReceivedTimestamp": format!("2026-11-01T10:{minute:02}:00.123456Z"),
        "stageTimestamp": format!("2026-11-01T10:{minute:02}:01.000000Z"),
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "RBAC: allowed by x"},
    })
}

fn log(lines: &[Value]) -> AuditLog {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let mut log = AuditLog::default();
    log.read("audit.log", text.as_bytes()).unwrap();
    log
}

fn only(log: &AuditLog) -> &Use {
    assert_eq!(log.uses().count(), 1);
    log.uses().next().unwrap()
}

#[test]
fn a_session_is_counted_once() {
    let stages = [
        ("RequestReceived", 0, 1),
        ("ResponseStarted", 101, 1),
        ("ResponseComplete", 101, 1),
        ("ResponseStarted", 101, 5),
    ];
    let lines =
        stages.map(|(stage, code, minute)| event("jane", "get", "box", stage, code, minute));
    let log = log(&lines);
    let own = only(&log);
    assert_eq!((own.passed(), own.refused()), (2, 0));
    assert_eq!(own.codes().collect::<Vec<_>>(), [(101, 2)]);
    assert_eq!(
        (own.user(), own.namespace(), own.verb()),
        ("jane", "web", Verb::Get)
    );
    assert_eq!(own.target(), Target::Stream(Stream::Exec));
    assert_eq!(own.names().collect::<Vec<_>>(), ["box"]);
    assert_eq!(own.first.to_string(), "2026-11-01T10:01:00.123456Z");
    assert_eq!(own.last.to_string(), "2026-11-01T10:05:00.123456Z");
    assert_eq!(own.user_agent, "kubectl/v1.36.3 (linux/amd64)");
    assert_eq!(own.reason.as_deref(), Some("RBAC: allowed by x"));
    assert_eq!(log.events(), 4);
}

#[test]
fn only_what_opens_streams_counts() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut event = event("jane", "get", "box", "ResponseComplete", 200, 1);
        change(&mut event);
        event
    };
    let log = log(&[
        with(&|event| event["objectRef"]["subresource"] = json!("log")),
        with(&|event| event["objectRef"]["apiGroup"] = json!("example.com")),
        with(&|event| event["verb"] = json!("delete")),
        with(&|event| event["objectRef"] = json!(null)),
        with(&|event| drop(event.as_object_mut().unwrap().remove("responseStatus"))),
        with(&|event| {
            event["objectRef"] = json!({"resource": "nodes", "name": "n", "subresource": "proxy"})
        }),
    ]);
    assert_eq!((log.events(), only(&log).target()), (6, Target::NodesProxy));
}

#[test]
fn whom_somebody_impersonates_is_who_asks() {
    let mut event = event("boss", "create", "box", "ResponseComplete", 403, 1);
    event["impersonatedUser"] = json!({"username": "jane", "groups": ["b", "a", "b"]});
    event["annotations"]["validation.policy.admission.k8s.io/validation_failure"] = json!(
        r#"[{"message":"no","policy":"streamway-create","binding":"b","expressionIndex":0,"validationActions":["Audit"]}]"#
    );
    let log = log(&[event]);
    let own = only(&log);
    assert_eq!(
        (own.user(), own.impersonator.as_deref()),
        ("jane", Some("boss"))
    );
    assert_eq!(own.groups(), ["a", "b"]);
    assert_eq!((own.passed(), own.refused()), (0, 1));
    assert!(own.policies.contains("streamway-create"));
}

#[test]
fn batches_and_what_is_no_event() {
    let events = [1, 2].map(|minute| event("jane", "get", "box", "ResponseComplete", 101, minute));
    let batch = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": events});
    let text = format!(
        "\n{{\"kind\": \"Event\"}}\n{batch}\r\n{{\"a\n7\n{}",
        events[0]
    );
    let mut log = AuditLog::default();
    log.read("audit.log", text.as_bytes()).unwrap();
    log.read("cut.log", format!("{batch}").get(..300).unwrap().as_bytes())
        .unwrap();
    log.read("binary.log", &b"\xff\xfe\n\0\n"[..]).unwrap();
    assert_eq!(only(&log).passed(), 3);
    assert_eq!((log.events(), log.other()), (3, 1));
    let first: Vec<_> = log
        .unreadable()
        .first
        .iter()
        .map(|(source, line)| (&**source, *line))
        .collect();
    let expected = [
        ("audit.log", 4),
        ("audit.log", 5),
        ("cut.log", 1),
        ("binary.log", 1),
        ("binary.log", 2),
    ];
    assert_eq!(first, expected);
    assert_eq!(log.unreadable().count, 5);
    let (first, last) = log.period().unwrap();
    assert!(first < last);
}

#[test]
fn a_line_that_is_too_long_is_passed_over() {
    let event = event("jane", "get", "box", "ResponseComplete", 101, 1);
    let text = format!("\n{event}\n");
    let input = io::Read::take(io::repeat(b'x'), 200 << 20);
    let input = io::Read::chain(input, text.as_bytes());
    let mut log = AuditLog::default();
    log.read("audit.log", io::BufReader::new(input)).unwrap();
    assert_eq!((log.unreadable().count, log.events()), (1, 1));
}

#[test]
fn memory_is_bounded() {
    let mut log = AuditLog {
        room: 20_000,
        ..AuditLog::default()
    };
    for number in 0..1000 {
        let user = format!("u{number}");
        let event = event(&user, "get", "box", "ResponseComplete", 101, 1);
        log.read("audit.log", event.to_string().as_bytes()).unwrap();
    }
    let kept = log.uses().count() as u64;
    assert!((1..10).contains(&kept), "{kept}");
    assert_eq!(log.left_out() + kept, 1000);

    let names: Vec<_> = (0..NAMES + 50)
        .map(|number| format!("pod-{number}"))
        .collect();
    let events = names
        .iter()
        .map(|name| event("jane", "get", name, "ResponseComplete", 101, 1));
    let log = self::log(&events.collect::<Vec<_>>());
    let own = only(&log);
    assert_eq!((own.names().count(), own.has_more_names()), (NAMES, true));
    assert_eq!(own.passed(), 150);
}

/// Developers may `get` exec, the user `writer` may `create` it.
fn policy() -> Policy {
    let object = |text: Value| serde_json::from_value(text).unwrap();
    let role = |name: &str, verbs: &[&str]| {
        serde_json::from_value(json!({"metadata": {"name": name},
            "rules": [{"verbs": verbs, "apiGroups": [""], "resources": ["pods/exec"]}]}))
        .unwrap()
    };
    let mut policy = Policy::of_cluster();
    policy.add_cluster_role(&role("reader", &["get"]));
    policy.add_cluster_role(&role("writer", &["create"]));
    for (name, kind, subject, role) in [
        ("readers", "Group", "developers", "reader"),
        ("writers", "User", "writer", "writer"),
    ] {
        policy.add_cluster_role_binding(&object(json!({"metadata": {"name": name},
            "roleRef": {"kind": "ClusterRole", "name": role, "apiGroup": ""},
            "subjects": [{"kind": kind, "name": subject}]})));
    }
    policy
}

#[test]
fn who_will_be_refused() {
    let mut policy = policy();
    let mut root = event("root", "get", "box", "ResponseComplete", 101, 1);
    root["user"]["groups"] = json!(["system:masters"]);
    let log = log(&[
        event("jane", "get", "box", "ResponseComplete", 101, 1),
        event("jane", "create", "box", "ResponseComplete", 101, 1),
        event("writer", "get", "box", "ResponseComplete", 101, 1),
        event("refused", "get", "box", "ResponseComplete", 403, 1),
        root,
    ]);
    log.add_groups(&mut policy);
    let index = Index::new(policy);
    let mut refused: Vec<_> = log
        .uses()
        .filter(|own| own.will_be_refused(&index))
        .map(Use::user)
        .collect();
    refused.sort_unstable();
    assert_eq!(refused, ["jane"]);
}

#[test]
fn evidence_of_findings() {
    let index = Index::new(policy());
    let mut report = Report::of(&index, Server::of(None), &Nowhere);
    let mut log = log(&[
        event("jane", "get", "box", "ResponseComplete", 101, 2),
        event("jane", "get", "box", "ResponseComplete", 101, 5),
        event("writer", "get", "box", "ResponseComplete", 101, 1),
        event("refused", "get", "box", "ResponseComplete", 403, 7),
        event("writer", "create", "box", "ResponseComplete", 101, 9),
    ]);
    log.read("audit.log", &b"{\n{}\n"[..]).unwrap();
    log.join(&mut report, &index);
    let evidence = |rule: &str| {
        let id: RuleId = rule.parse().unwrap();
        let finding = report
            .findings
            .iter()
            .find(|finding| finding.rule == id)
            .unwrap();
        finding.evidence.clone().unwrap()
    };
    let told = evidence("SW001");
    let users: Vec<_> = told
        .users
        .iter()
        .map(|own| (&*own.user, own.uses, own.will_be_refused))
        .collect();
    assert_eq!(users, [("jane", 2, true), ("writer", 1, false)]);
    assert_eq!((told.uses, told.more_users), (3, 0));
    assert_eq!(
        told.first.unwrap().to_string(),
        "2026-11-01T10:01:00.123456Z"
    );
    assert_eq!(
        told.last.unwrap().to_string(),
        "2026-11-01T10:05:00.123456Z"
    );
    assert_eq!(evidence("SW011").uses, 1);
    let read = report.log.unwrap();
    assert_eq!((read.events, read.unreadable), (5, 1));
    let warnings: Vec<_> = report.warnings.iter().map(|own| &*own.text).collect();
    assert_eq!(
        warnings[0],
        "1 lines of the audit log could not be read: audit.log:1"
    );
    assert!(
        warnings[1].starts_with("1 lines of the audit log are JSON and no events"),
        "{warnings:?}"
    );
}
