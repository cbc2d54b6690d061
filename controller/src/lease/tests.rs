//! Two candidates and an API server of one Lease, which a real one cannot be made to be: silent on
//! demand, in a time that does not pass.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

const TIMES: Times = Times {
    lease: Duration::from_secs(15),
    deadline: Duration::from_secs(10),
    retry: Duration::from_secs(2),
};

/// The one Lease, with optimistic locking.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lease: Option<Value>,
    version: u64,
    silent: bool,
    /// Every holder that was written, in order.
    holders: VecDeque<String>,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        if self.0.lock().unwrap().silent {
            std::future::pending::<()>().await;
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut state = self.0.lock().unwrap();
        let (status, answer) = match (head.method, &state.lease) {
            (Method::GET, Some(lease)) => (StatusCode::OK, lease.clone()),
            (Method::GET, None) => refused(StatusCode::NOT_FOUND, "NotFound"),
            (Method::POST, Some(_)) => refused(StatusCode::CONFLICT, "AlreadyExists"),
            (_, old) => {
                let mut lease: Value = serde_json::from_slice(&body).unwrap();
                let version = &lease["metadata"]["resourceVersion"];
                if old
                    .as_ref()
                    .is_some_and(|old| old["metadata"]["resourceVersion"] != *version)
                {
                    refused(StatusCode::CONFLICT, "Conflict")
                } else {
                    state.version += 1;
                    lease["metadata"]["resourceVersion"] = json!(state.version.to_string());
                    let holder = lease["spec"]["holderIdentity"].as_str().unwrap().to_owned();
                    if state.holders.back() != Some(&holder) {
                        state.holders.push_back(holder);
                    }
                    state.lease = Some(lease.clone());
                    (StatusCode::OK, lease)
                }
            }
        };
        Response::builder()
            .status(status)
            .body(Body::from(serde_json::to_vec(&answer).unwrap()))
            .unwrap()
    }

    fn silent(&self, silent: bool) {
        self.0.lock().unwrap().silent = silent;
    }

    fn holders(&self) -> Vec<String> {
        self.0.lock().unwrap().holders.iter().cloned().collect()
    }
}

fn refused(status: StatusCode, reason: &str) -> (StatusCode, Value) {
    let answer = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {},
        "reason": reason, "code": status.as_u16(), "message": reason,
    });
    (status, answer)
}

struct Runs {
    leading: watch::Receiver<bool>,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<Result<(), Lost>>,
}

impl Runs {
    fn start(server: &Server, identity: &str) -> Self {
        let client = server.client();
        let election = Election::new(&client, ("ns", "it"), identity.to_owned(), TIMES);
        let (leading, stop) = (election.leading(), CancellationToken::new());
        let ended = tokio::spawn(election.run(stop.clone()));
        Self {
            leading,
            stop,
            ended,
        }
    }

    async fn leads(&mut self) {
        self.leading.wait_for(|leading| *leading).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_what_it_releases_the_other_gets_at_once() {
    let server = Server::default();
    let mut a = Runs::start(&server, "a");
    a.leads().await;
    let mut b = Runs::start(&server, "b");
    sleep(Duration::from_secs(120)).await;
    assert!(*a.leading.borrow() && !*b.leading.borrow());
    assert_eq!(server.holders(), ["a"]);

    let start = Instant::now();
    a.stop.cancel();
    assert_eq!(a.ended.await.unwrap(), Ok(()));
    b.leads().await;
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(server.holders(), ["a", "", "b"]);
}

#[tokio::test(start_paused = true)]
async fn one_that_hears_nothing_stops_before_another_begins() {
    let server = Server::default();
    let mut a = Runs::start(&server, "a");
    a.leads().await;
    server.silent(true);
    let start = Instant::now();
    let lost = a.ended.await.unwrap().unwrap_err();
    assert!(matches!(lost, Lost::Silence(..)), "{lost}");
    assert!(start.elapsed() <= TIMES.deadline, "{:?}", start.elapsed());
    assert!(!*a.leading.borrow());

    server.silent(false);
    let mut b = Runs::start(&server, "b");
    b.leads().await;
    // b saw it change never, so it waits for the whole duration of what a wrote.
    assert!(start.elapsed() >= TIMES.lease, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_whose_lease_was_taken_stops() {
    let server = Server::default();
    let mut a = Runs::start(&server, "a");
    a.leads().await;
    {
        let mut state = server.0.lock().unwrap();
        let lease = state.lease.as_mut().unwrap();
        lease["spec"]["holderIdentity"] = json!("thief");
        lease["metadata"]["resourceVersion"] = json!("77");
    }
    assert_eq!(a.ended.await.unwrap(), Err(Lost::Taken("thief".into())));
    assert!(!*a.leading.borrow());
}

#[tokio::test(start_paused = true)]
async fn a_short_silence_costs_nothing() {
    let server = Server::default();
    let mut a = Runs::start(&server, "a");
    a.leads().await;
    for _ in 0..10 {
        server.silent(true);
        sleep(Duration::from_secs(4)).await;
        server.silent(false);
        sleep(Duration::from_secs(4)).await;
    }
    assert!(*a.leading.borrow() && !a.ended.is_finished());
}

#[tokio::test(start_paused = true)]
async fn of_two_who_see_it_free_one_gets_it() {
    let server = Server::default();
    let mut runs = [Runs::start(&server, "a"), Runs::start(&server, "b")];
    sleep(Duration::from_secs(60)).await;
    let leaders = runs
        .iter_mut()
        .filter(|runs| *runs.leading.borrow())
        .count();
    assert_eq!((leaders, server.holders().len()), (1, 1));
}
