//! A fake API server, for what a real one cannot be made to do: to count and to hang.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Bytes;
use axum::http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::access::{Target, User};

/// An API server that answers each review with `answer`, and how often it was asked.
fn server(answer: impl Fn(Value) -> Answer + Send + Sync + 'static) -> (Reviews, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let (asked, answer) = (Arc::clone(&count), Arc::new(answer));
    let service = service_fn(move |request: Request<Body>| {
        let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
        async move {
            asked.fetch_add(1, Ordering::Relaxed);
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let (status, body) = match answer(serde_json::from_slice(&body).unwrap()) {
                Answer::Status(mut review, status) => {
                    review["status"] = status;
                    (StatusCode::CREATED, review.to_string())
                }
                Answer::Error(status) => (status, String::new()),
                Answer::Never => std::future::pending().await,
            };
            // So that others ask meanwhile.
            tokio::time::sleep(Duration::from_millis(10)).await;
            let response = Response::builder().status(status);
            Ok::<_, Infallible>(response.body(Full::new(Bytes::from(body))).unwrap())
        }
    });
    let client = Client::new(service, "default");
    (
        Reviews::new(Api::all(client), AccessMetrics::default()),
        count,
    )
}

enum Answer {
    Status(Value, Value),
    Error(StatusCode),
    Never,
}

fn exec(user: &str) -> Question {
    Question {
        user: User {
            name: user.to_owned(),
            groups: vec!["developers".to_owned()],
            ..User::default()
        },
        target: Target::Exec,
        namespace: "team".to_owned(),
        name: "box".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn the_question_is_create_on_the_same() {
    let (reviews, _) = server(|review| {
        let wanted = json!({
            "user": "dev", "groups": ["developers"],
            "resourceAttributes": {
                "verb": "create", "version": "v1", "resource": "pods", "subresource": "exec",
                "namespace": "team", "name": "box",
            },
        });
        let allowed = review["spec"] == wanted;
        Answer::Status(review, json!({"allowed": allowed}))
    });
    assert_eq!(reviews.may_create(&exec("dev")).await, Ok(true));
    assert_eq!(reviews.may_create(&exec("reader")).await, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn answers_count_for_a_while() {
    let (reviews, count) = server(|review| {
        let allowed = review["spec"]["user"] == "dev";
        Answer::Status(review, json!({"allowed": allowed}))
    });
    for user in ["dev", "reader"] {
        for _ in 0..3 {
            assert_eq!(reviews.may_create(&exec(user)).await, Ok(user == "dev"));
        }
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn of_the_same_at_the_same_time_one_is_asked() {
    let (reviews, count) = server(|review| Answer::Status(review, json!({"allowed": true})));
    let question = exec("dev");
    let both = tokio::join!(reviews.may_create(&question), reviews.may_create(&question));
    assert_eq!(both, (Ok(true), Ok(true)));
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_denial_is_no_yes() {
    let both = json!({"allowed": true, "denied": true});
    let (reviews, _) = server(move |review| Answer::Status(review, both.clone()));
    assert_eq!(reviews.may_create(&exec("dev")).await, Ok(false));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_no_answer_and_is_not_remembered() {
    let (reviews, count) = server(|_| Answer::Error(StatusCode::FORBIDDEN));
    for _ in 0..2 {
        let error = reviews.may_create(&exec("dev")).await.unwrap_err();
        assert!(matches!(error, Unavailable::Failed(_)), "{error}");
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_hangs_is_not_waited_for() {
    let (reviews, _) = server(|_| Answer::Never);
    let begun = tokio::time::Instant::now();
    let error = reviews.may_create(&exec("dev")).await.unwrap_err();
    assert_eq!(error, Unavailable::Late);
    assert_eq!(begun.elapsed(), DEADLINE);
}

#[test]
fn large_questions_take_their_room() {
    let small = exec("dev").weight();
    let mut large = exec("dev");
    large.user.groups = vec!["g".repeat(1000); 1000];
    assert!(small < 1000, "{small}");
    assert!(large.weight() > 1_000_000);
}
