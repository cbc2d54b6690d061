//! An API server of three rights that are marked for deletion in the middle of a call, which a real one
//! does by chance only.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;

use super::*;

const ROLE: &str = "clusterroles";
const ROLE_BINDING: &str = "clusterrolebindings";
const ACCOUNT: &str = "serviceaccounts";

/// All three by their resource, held.
#[derive(Clone)]
struct Server(Arc<Mutex<State>>);

struct State {
    rights: BTreeMap<String, Value>,
    /// Of the binding, when its next patch comes: somebody deletes it just then.
    marked: bool,
    /// Resources whose finalizer went, in order.
    released: Vec<String>,
}

impl Server {
    fn new() -> Self {
        let rights = [ROLE, ROLE_BINDING, ACCOUNT].map(|resource| {
            let metadata = json!({
                "name": "own", "resourceVersion": "1", "finalizers": [names::WITHDRAW_FINALIZER],
            });
            (resource.to_owned(), json!({"metadata": metadata}))
        });
        Self(Arc::new(Mutex::new(State {
            rights: rights.into(),
            marked: false,
            released: Vec::new(),
        })))
    }

    fn rights(&self) -> OwnRights {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        OwnRights::new(&Client::new(service, "default"), "ns", "own")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let resource = head.uri.path().rsplit('/').nth(1).unwrap();
        let mut state = self.0.lock().unwrap();
        let (status, answer) = if head.method == Method::GET {
            match state.rights.get(resource) {
                Some(right) => (StatusCode::OK, right.clone()),
                None => refused(StatusCode::NOT_FOUND, resource),
            }
        } else {
            state.patch(resource, &serde_json::from_slice(&body).unwrap())
        };
        Response::builder()
            .status(status)
            .body(Body::from(serde_json::to_vec(&answer).unwrap()))
            .unwrap()
    }

    fn left(&self) -> Vec<String> {
        self.0.lock().unwrap().rights.keys().cloned().collect()
    }

    fn released(&self) -> Vec<String> {
        self.0.lock().unwrap().released.clone()
    }
}

impl State {
    /// As pkg/registry/rbac/clusterrolebinding/policybased/storage.go of 1.36 does it for a binding:
    /// what changes more than finalizers, and a version is more, looks for the role.
    fn patch(&mut self, resource: &str, patch: &Value) -> (StatusCode, Value) {
        if resource == ROLE_BINDING && self.marked {
            self.marked = false;
            let right = self.rights.get_mut(resource).unwrap();
            right["metadata"]["resourceVersion"] = json!("2");
            right["metadata"]["deletionTimestamp"] = json!("2026-11-28T14:07:27Z");
        }
        let Some(right) = self.rights.get(resource) else {
            return refused(StatusCode::NOT_FOUND, resource);
        };
        let version = |of: &Value| of["metadata"]["resourceVersion"].clone();
        if version(right) != version(patch) {
            return match self.rights.contains_key(ROLE) {
                true => refused(StatusCode::CONFLICT, resource),
                false => refused(StatusCode::NOT_FOUND, ROLE),
            };
        }
        self.released.push(resource.to_owned());
        let released = self.rights.remove(resource).unwrap();
        (StatusCode::OK, released)
    }
}

fn refused(status: StatusCode, resource: &str) -> (StatusCode, Value) {
    let answer = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
        "reason": status.canonical_reason().unwrap().replace(' ', ""), "code": status.as_u16(),
        "message": format!("{resource} \"own\""),
    });
    (status, answer)
}

#[tokio::test(start_paused = true)]
async fn they_are_let_go_of_in_order() {
    let server = Server::new();
    let mut account = Account::default();
    server.rights().release(false, &mut account).await;
    assert_eq!(server.released(), [ROLE, ROLE_BINDING, ACCOUNT]);
    assert_eq!((account.done.len(), account.failed.len()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_binding_whose_role_is_not_found_is_still_there() {
    let server = Server::new();
    server.0.lock().unwrap().marked = true;
    let mut account = Account::default();
    server.rights().release(false, &mut account).await;
    assert_eq!(server.left(), Vec::<String>::new());
    assert_eq!(server.released(), [ROLE, ROLE_BINDING, ACCOUNT]);
    assert_eq!(account.failed, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_gone_already_needs_nothing() {
    let server = Server::new();
    server.0.lock().unwrap().rights.remove(ROLE);
    let mut account = Account::default();
    server.rights().release(false, &mut account).await;
    assert_eq!(server.released(), [ROLE_BINDING, ACCOUNT]);
    assert_eq!(account.failed, Vec::<String>::new());
}
