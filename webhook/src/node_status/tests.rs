use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use streamway_crds::NodeStreaming;
use tower::ServiceExt;

use super::*;

const POLICY: Policy = Policy {
    agent_port: 10350,
    features: true,
};

fn withdrawn() -> Wish {
    let spec = NodeStreamingSpec {
        feature: Feature::Withdrawn,
        ..NodeStreamingSpec::default()
    };
    Wish::Known(Arc::new(NodeStreaming::new("worker", spec)))
}

fn review() -> Value {
    let node = |features: Value| json!({"metadata": {"name": "worker"}, "status": {"declaredFeatures": features}});
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Node"},
            "resource": {"group": "", "version": "v1", "resource": "nodes"},
            "subResource": "status",
            "requestResource": {"group": "", "version": "v1", "resource": "nodes"},
            "name": "worker",
            "operation": "UPDATE",
            "userInfo": {"username": "system:node:worker", "groups": ["system:nodes"]},
            "object": node(json!(["A", "ExtendWebSocketsToKubelet"])),
            "oldObject": node(json!(["A"])),
            "dryRun": false,
            "options": {"kind": "PatchOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
}

/// The review, changed by a merge patch (RFC 7396).
fn changed(patch: Value) -> Vec<u8> {
    let mut review = review();
    json_patch::merge(&mut review, &patch);
    review.to_string().into_bytes()
}

fn answered(body: &[u8], wish: Wish) -> (Decision, Value) {
    let answer = answer(
        body,
        |name| if name == "worker" { wish } else { Wish::None },
        POLICY,
    );
    let answer = answer.unwrap();
    (
        answer.decision,
        serde_json::from_slice(&answer.review).unwrap(),
    )
}

#[test]
fn an_update_that_undoes_the_wish_is_patched() {
    let (decision, answer) = answered(&changed(json!({})), withdrawn());
    assert_eq!(decision, Decision::Changed);
    let patch = answer["response"]["patch"].as_str().unwrap();
    let patch = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, patch).unwrap();
    let patch: Value = serde_json::from_slice(&patch).unwrap();
    assert_eq!(
        patch,
        json!([{"op": "add", "path": "/status/declaredFeatures", "value": ["A"]}])
    );
    let mut rest = answer;
    rest["response"].as_object_mut().unwrap().remove("patch");
    assert_eq!(
        rest,
        json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": {
                "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
                "allowed": true,
                "patchType": "JSONPatch",
            },
        })
    );
}

#[test]
fn everything_that_can_be_read_is_allowed() {
    let nothing = NodeStreaming::new("worker", NodeStreamingSpec::default());
    let broken = json!({"request": {"object": {"status": {"declaredFeatures": "all"}}}});
    let unchanged = json!({"request": {"object": {"status": {"declaredFeatures": ["A"]}}}});
    for (what, patch, wish, decision, warned) in [
        (
            "not filled",
            json!({}),
            Wish::NotKnownYet,
            Decision::NotKnownYet,
            false,
        ),
        ("no wish", json!({}), Wish::None, Decision::NotWanted, false),
        (
            "another node",
            json!({"request": {"name": "b"}}),
            withdrawn(),
            Decision::NotWanted,
            false,
        ),
        (
            "an empty wish",
            json!({}),
            Wish::Known(Arc::new(nothing)),
            Decision::NotWanted,
            false,
        ),
        (
            "nothing to do",
            unchanged,
            withdrawn(),
            Decision::Unchanged,
            false,
        ),
        (
            "a broken list",
            broken,
            withdrawn(),
            Decision::Unreadable,
            true,
        ),
        (
            "no old",
            json!({"request": {"oldObject": null}}),
            withdrawn(),
            Decision::Unreadable,
            true,
        ),
        (
            "no new",
            json!({"request": {"object": null}}),
            withdrawn(),
            Decision::Unreadable,
            true,
        ),
    ] {
        let (decided, answer) = answered(&changed(patch), wish);
        assert_eq!(decided, decision, "{what}");
        let response = &answer["response"];
        assert_eq!(
            response["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002",
            "{what}"
        );
        assert_eq!(response["allowed"], true, "{what}");
        assert!(
            response.get("patch").is_none() && response.get("patchType").is_none(),
            "{what}"
        );
        let warnings = response["warnings"].as_array().cloned().unwrap_or_default();
        assert_eq!(warnings.len(), usize::from(warned), "{what}: {warnings:?}");
        assert!(
            warnings
                .iter()
                .all(|text| text.as_str().unwrap().contains("worker")),
            "{what}"
        );
    }
}

#[test]
fn uids_and_names_are_any_strings() {
    let body = changed(json!({"request": {"uid": "a\"\u{e9}\n"}}));
    assert_eq!(
        answered(&body, withdrawn()).1["response"]["uid"],
        "a\"\u{e9}\n"
    );
}

#[test]
fn what_is_no_review_of_this_is_refused_with_what_is_wrong() {
    let request = |patch: Value| changed(json!({"request": patch}));
    let resource = |patch: Value| request(json!({"resource": patch}));
    for (body, told) in [
        (b"".to_vec(), "no AdmissionReview: EOF"),
        (b"[]".to_vec(), "no AdmissionReview"),
        (b"{}".to_vec(), "not AdmissionReview of admission.k8s.io/v1"),
        (
            b"{\"kind\":\"AdmissionReview\xff".to_vec(),
            "no AdmissionReview",
        ),
        (
            changed(json!({"apiVersion": "admission.k8s.io/v1beta1"})),
            "admissionReviewVersions must be [v1]",
        ),
        (
            changed(json!({"kind": "SubjectAccessReview"})),
            "\"SubjectAccessReview\"",
        ),
        (changed(json!({"request": null})), "no request"),
        (changed(json!({"request": 1})), "request cannot be read"),
        (request(json!({"uid": ""})), "no uid"),
        (request(json!({"uid": null})), "uid"),
        (
            request(json!({"subResource": null})),
            "asked about UPDATE of nodes/ /v1",
        ),
        (
            request(json!({"operation": "CREATE"})),
            "asked about CREATE of nodes/status",
        ),
        (
            resource(json!({"resource": "pods"})),
            "asked about UPDATE of pods/status",
        ),
        (
            resource(json!({"group": "apps"})),
            "apps/v1; correct the webhook configuration's rules",
        ),
        (resource(json!({"version": "v2"})), "/v2"),
    ] {
        let text = String::from_utf8_lossy(&body).into_owned();
        let refusal = answer(&body, |_| panic!("{text}: asked for"), POLICY).unwrap_err();
        assert_eq!(refusal.status, StatusCode::BAD_REQUEST, "{text}");
        assert!(
            refusal.message.contains(told),
            "{text}: {}",
            refusal.message
        );
        assert!(
            !refusal.message.contains('\n'),
            "{text}: {}",
            refusal.message
        );
    }
}

/// What is served, and the metrics of it.
fn served() -> (Router, Registry) {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let this = NodeStatus::new(Wishes::default(), POLICY, metrics);
    let router = routes(Arc::new(this))
        .fallback(body::not_found)
        .method_not_allowed_fallback(body::not_allowed);
    (router, registry)
}

async fn asked(router: &Router, request: HttpRequest) -> (StatusCode, Bytes) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    (
        status,
        response.into_body().collect().await.unwrap().to_bytes(),
    )
}

fn post_of(path: &str, content_type: &str, body: impl Into<Body>) -> HttpRequest {
    let request = HttpRequest::post(path).header("content-type", content_type);
    request.body(body.into()).unwrap()
}

#[tokio::test]
async fn requests_that_are_none_get_a_4xx() {
    let (router, registry) = served();
    let json = "application/json; charset=utf-8";
    let huge = vec![b' '; body::LARGEST + 1];
    for (request, status, told) in [
        (post_of("/", json, "{}"), 404, "path is wrong"),
        (post_of("/mutate/nodes", json, "{}"), 404, "path is wrong"),
        (
            HttpRequest::get(NODE_STATUS_PATH)
                .body(Body::empty())
                .unwrap(),
            405,
            "only POST",
        ),
        (
            post_of(NODE_STATUS_PATH, "text/plain", "{}"),
            415,
            "application/json",
        ),
        (
            post_of(NODE_STATUS_PATH, json, huge),
            413,
            "larger than 4194304 bytes",
        ),
        (
            post_of(NODE_STATUS_PATH, json, "{"),
            400,
            "no AdmissionReview",
        ),
    ] {
        let what = format!("{request:?}");
        let (got, text) = asked(&router, request).await;
        let text = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(got.as_u16(), status, "{what}: {text}");
        assert!(
            text.contains(told) && text.ends_with('\n'),
            "{what}: {text}"
        );
    }
    let counted = streamway_daemon::metrics::encode(&registry).unwrap();
    let refused = r#"requests_total{path="/mutate/node-status",decision="refused"} 3"#;
    assert!(counted.contains(refused), "{counted}");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let (router, _) = served();
    let never = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
    let request = post_of(NODE_STATUS_PATH, "application/json", never);
    let begun = tokio::time::Instant::now();
    assert_eq!(asked(&router, request).await.0, StatusCode::REQUEST_TIMEOUT);
    assert!(begun.elapsed() >= Duration::from_secs(30));
}

#[tokio::test]
async fn before_the_cache_is_filled_updates_pass_as_they_are() {
    let (router, registry) = served();
    let review = post_of(NODE_STATUS_PATH, "application/json", changed(json!({})));
    let (status, answer) = asked(&router, review).await;
    assert_eq!(status, StatusCode::OK);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["response"]["allowed"], true);
    assert!(answer["response"].get("patch").is_none());
    let counted = streamway_daemon::metrics::encode(&registry).unwrap();
    let known = r#"requests_total{path="/mutate/node-status",decision="not_known_yet"} 1"#;
    assert!(counted.contains(known), "{counted}");
}
