use serde_json::{Value, json};

use super::super::fake::Fake;
use super::*;

#[test]
fn paths_are_a_kubelets() {
    for (path, expected) in [
        ("/pods", "pods proxy"),
        ("/pods/", "pods proxy"),
        ("/podsx", "proxy"),
        ("/runningpods/", "pods proxy"),
        ("/healthz", "healthz proxy"),
        ("/healthz/syncloop", "healthz proxy"),
        ("/configz", "configz proxy"),
        ("/stats/summary", "stats"),
        ("/stats", "stats"),
        ("/metrics", "metrics"),
        ("/metrics/cadvisor", "metrics"),
        ("/metricsx", "proxy"),
        ("/logs/", "log"),
        ("/checkpoint/ns/pod/c", "checkpoint"),
        ("/statusz", "statusz"),
        ("/flagz", "configz"),
        ("/exec/ns/pod/c", "proxy"),
        ("/attach/ns/pod/c", "proxy"),
        ("/portForward/ns/pod", "proxy"),
        ("/containerLogs/ns/pod/c", "proxy"),
        ("/run/ns/pod/c", "proxy"),
        ("/debug/pprof/", "proxy"),
        ("/", "proxy"),
    ] {
        assert_eq!(subresources(path).join(" "), expected, "{path}");
    }
}

#[test]
fn verbs_are_by_method() {
    for (method, expected) in [
        (Method::GET, "get"),
        (Method::POST, "create"),
        (Method::PUT, "update"),
        (Method::PATCH, "patch"),
        (Method::DELETE, "delete"),
        (Method::HEAD, ""),
        (Method::OPTIONS, ""),
    ] {
        assert_eq!(verb(&method), expected);
    }
}

#[test]
fn what_runs_commands() {
    for path in [
        "/exec/a/b/c",
        "/attach/a/b/c",
        "/portForward/a/b",
        "/run/a/b/c",
    ] {
        assert!(runs_commands(path), "{path}");
    }
    for path in ["/execute", "/logs/exec", "/pods", "/runningpods/"] {
        assert!(!runs_commands(path), "{path}");
    }
}

#[tokio::test]
async fn unclean_paths_are_refused_for_everyone() {
    let everyone = Authorizer::new(None, "node", true);
    let user = UserInfo::default();
    let uri = Uri::from_static("/metrics/../exec/a/b/c");
    let answer = everyone.authorize(&user, &Method::GET, &uri).await;
    assert!(matches!(answer, Err(AuthError::UncleanPath)));
    let uri = Uri::from_static("/exec/a/b/c");
    assert!(everyone.authorize(&user, &Method::GET, &uri).await.is_ok());
}

/// Allows what `rules` holds, as (verb, subresource).
fn api(rules: &'static [(&'static str, &'static str)]) -> Fake {
    Fake::new(move |_, review| {
        let asked = &review["spec"]["resourceAttributes"];
        let is = |text: &str, value: &Value| value.as_str().unwrap_or_default() == text;
        let allowed = rules
            .iter()
            .any(|(verb, sub)| is(verb, &asked["verb"]) && is(sub, &asked["subresource"]));
        let mut answer = review.clone();
        answer["status"] = json!({ "allowed": allowed });
        (201, answer)
    })
}

fn ann() -> UserInfo {
    UserInfo {
        name: "ann".to_owned(),
        groups: vec!["system:authenticated".to_owned()],
        ..UserInfo::default()
    }
}

async fn ask(api: &Fake, gate: bool, method: Method, path: &'static str) -> Result<(), AuthError> {
    let authorizer = Authorizer::new(Some(api.client()), "node-1", gate);
    authorizer
        .authorize(&ann(), &method, &Uri::from_static(path))
        .await
}

#[tokio::test]
async fn the_api_server_is_asked_as_a_kubelet_asks() {
    let api = api(&[("get", "metrics")]);
    ask(&api, true, Method::GET, "/metrics/cadvisor?x=y")
        .await
        .unwrap();
    let [(path, review)] = api.asked().try_into().unwrap();
    assert_eq!(path, "/apis/authorization.k8s.io/v1/subjectaccessreviews");
    assert_eq!(
        review["spec"],
        json!({
            "user": "ann",
            "groups": ["system:authenticated"],
            "resourceAttributes": {
                "verb": "get", "version": "v1", "resource": "nodes", "subresource": "metrics",
                "name": "node-1",
            },
        })
    );
}

#[tokio::test]
async fn fine_grained_rules_come_first_and_proxy_after() {
    let fine = api(&[("get", "pods")]);
    ask(&fine, true, Method::GET, "/pods").await.unwrap();
    assert_eq!(fine.asked().len(), 1);
    let coarse = api(&[("get", "proxy")]);
    ask(&coarse, true, Method::GET, "/pods").await.unwrap();
    assert_eq!(coarse.asked().len(), 2);
    let neither = api(&[("create", "proxy"), ("get", "metrics")]);
    assert_eq!(
        ask(&neither, true, Method::GET, "/pods")
            .await
            .unwrap_err()
            .to_string(),
        "Forbidden (user=ann, verb=get, resource=nodes, subresource(s)=[pods proxy])"
    );
}

#[tokio::test]
async fn get_alone_runs_no_command() {
    let get = api(&[("get", "proxy")]);
    for path in [
        "/exec/ns/pod/c",
        "/attach/ns/pod/c",
        "/portForward/ns/pod",
        "/run/ns/pod/c",
    ] {
        let error = ask(&get, true, Method::GET, path).await.unwrap_err();
        assert_eq!(error.status(), http::StatusCode::FORBIDDEN);
        let text = error.to_string();
        let start = "Forbidden (user=ann, verb=create, resource=nodes, subresource(s)=[proxy]): ";
        assert!(
            text.starts_with(start) && text.contains("verbs: [create]"),
            "{text}"
        );
        ask(&get, false, Method::GET, path).await.unwrap();
    }
    ask(&get, true, Method::GET, "/containerLogs/ns/pod/c")
        .await
        .unwrap();
    ask(&get, true, Method::POST, "/exec/ns/pod/c")
        .await
        .unwrap_err();

    let both = api(&[("get", "proxy"), ("create", "proxy")]);
    ask(&both, true, Method::GET, "/exec/ns/pod/c")
        .await
        .unwrap();
    let create = api(&[("create", "proxy")]);
    ask(&create, true, Method::POST, "/exec/ns/pod/c")
        .await
        .unwrap();
    ask(&create, true, Method::GET, "/exec/ns/pod/c")
        .await
        .unwrap_err();
}

#[tokio::test]
async fn answers_are_remembered_by_user_and_failures_are_not() {
    let api = api(&[("get", "metrics")]);
    let authorizer = Authorizer::new(Some(api.client()), "node-1", true);
    let uri = Uri::from_static("/metrics");
    for _ in 0..3 {
        authorizer
            .authorize(&ann(), &Method::GET, &uri)
            .await
            .unwrap();
        authorizer
            .authorize(&ann(), &Method::POST, &uri)
            .await
            .unwrap_err();
    }
    assert_eq!(api.asked().len(), 2);
    let mut other = ann();
    other.groups.push("admins".to_owned());
    authorizer
        .authorize(&other, &Method::GET, &uri)
        .await
        .unwrap();
    assert_eq!(api.asked().len(), 3);

    let broken = Fake::new(|_, _| (403, json!({ "kind": "Status", "code": 403 })));
    let authorizer = Authorizer::new(Some(broken.client()), "node-1", true);
    for nth in 1..=2 {
        let error = authorizer
            .authorize(&ann(), &Method::GET, &uri)
            .await
            .unwrap_err();
        assert_eq!(error.status(), http::StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(
            error.to_string(),
            "Authorization error (user=ann, verb=get, resource=nodes, subresource=metrics)"
        );
        assert_eq!(broken.asked().len(), nth);
    }
}

#[test]
fn a_yes_counts_longer_than_a_no() {
    let question = Question {
        user: ann(),
        verb: "get",
        subresource: "proxy",
    };
    let ttl = |allowed| {
        ByAnswer
            .expire_after_create(&question, &allowed, std::time::Instant::now())
            .unwrap()
    };
    assert_eq!((ttl(true).as_secs(), ttl(false).as_secs()), (300, 30));
}
