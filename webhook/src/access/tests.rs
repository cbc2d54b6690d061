//! A fake API server, for what the guard's real ones are never asked to be: one whose authorizers deny what RBAC gives.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;

use axum::body::Bytes;
use axum::http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use kube::client::Body;
use serde_json::{Value, json};
use streamway_daemon::admin::Readiness;
use tokio::time::{advance, sleep, timeout};
use tower::service_fn;

use super::*;

/// RBAC gives dev everything; whatever is reviewed is denied.
fn server() -> Client {
    let service = service_fn(|request: Request<Body>| async move {
        let (status, body) = if request.method() == Method::POST {
            (
                StatusCode::CREATED,
                json!({"spec": {}, "status": {"allowed": false}}),
            )
        } else if request
            .uri()
            .query()
            .is_some_and(|query| query.contains("watch=true"))
        {
            std::future::pending().await
        } else {
            let items = stored(request.uri().path());
            (
                StatusCode::OK,
                json!({"metadata": {"resourceVersion": "1"}, "items": items}),
            )
        };
        let response = Response::builder().status(status);
        Ok::<_, Infallible>(
            response
                .body(Full::new(Bytes::from(body.to_string())))
                .unwrap(),
        )
    });
    Client::new(service, "default")
}

fn stored(path: &str) -> Value {
    let rbac = "rbac.authorization.k8s.io";
    match path.rsplit('/').next() {
        Some("clusterroles") => json!([{
            "metadata": {"name": "all"},
            "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
        }]),
        Some("clusterrolebindings") => json!([{
            "metadata": {"name": "dev"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "all"},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": "dev"}],
        }]),
        _ => json!([]),
    }
}

fn exec() -> Question {
    Question {
        user: User {
            name: "dev".to_owned(),
            ..User::default()
        },
        target: Target::Exec,
        namespace: "team".to_owned(),
        name: "box".to_owned(),
    }
}

/// Paused time goes on by itself where all wait.
const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn an_index_that_was_wrong_is_not_asked_for_a_while() {
    let readiness = Readiness::new();
    let metrics = AccessMetrics::default();
    let filled = readiness.condition("exemptions");
    let guard = Guard::new(server(), true, filled, metrics.clone());
    readiness.ready().await;
    let question = exec();

    // Until the index is made, the API server alone is asked.
    let told = timeout(LONG, async {
        while guard.judge(&question).await == Ok(Verdict::LacksCreate) {
            assert_eq!(metrics.disagreements(), 0);
            sleep(Duration::from_millis(10)).await;
        }
        while metrics.disagreements() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    });
    told.await.unwrap();

    assert_eq!(guard.judge(&question).await, Ok(Verdict::LacksCreate));
    advance(DISTRUST - Duration::from_secs(1)).await;
    assert_eq!(guard.judge(&question).await, Ok(Verdict::LacksCreate));
    advance(Duration::from_secs(1)).await;
    assert_eq!(guard.judge(&question).await, Ok(Verdict::HasCreate));
}
