//! Clients that ask all the time, over connections that they keep for some requests.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use streamway_e2e::httpclient::{HttpClient, Speaks};
use streamway_e2e::wait;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::watch::request;

/// What one client asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// The method.
    pub(crate) method: &'static str,
    /// The path.
    pub(crate) path: &'static str,
    /// The body.
    pub(crate) body: &'static str,
    /// The answer's status.
    pub(crate) status: u16,
}

/// Requests that are "several hundred".
pub(crate) const MANY: usize = 300;

/// Something small to ask for.
pub(crate) const GET: Question = Question {
    method: "GET",
    path: "/api/v1/namespaces/default/pods/box-node",
    body: "",
    status: 200,
};
/// Something that is no GET, and changes nothing.
pub(crate) const POST: Question = Question {
    method: "POST",
    path: "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    body: r#"{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}"#,
    status: 201,
};

/// Clients that run until they are stopped.
pub(crate) struct Asker {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicUsize,
    connections: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

/// Requests that a connection is kept for.
const KEPT: usize = 25;

/// The longest that a request may take before it counts as failed.
const LATE: Duration = Duration::from_secs(30);

impl Asker {
    /// Eight clients: half of them by HTTP/1.1, half by HTTP/2, asking in turn.
    pub(crate) fn start(runtime: &Runtime, address: &str, questions: &[Question]) -> Self {
        let shared = Arc::new(Shared::default());
        let versions = [Speaks::Http1, Speaks::Http2].into_iter().cycle();
        let tasks = versions
            .take(8)
            .map(|speaks| {
                let (shared, address) = (Arc::clone(&shared), address.to_owned());
                let questions = questions.to_vec();
                runtime.spawn(async move {
                    while !shared.stop.load(Ordering::Relaxed) {
                        if let Err(error) = shared.connection(&address, speaks, &questions).await {
                            let failure = format!("{speaks:?}: {error:#}");
                            shared.failures.lock().unwrap().push(failure);
                        }
                    }
                })
            })
            .collect();
        Self { shared, tasks }
    }

    /// Waits until `count` more requests were answered.
    pub(crate) fn more(&self, count: usize) -> Result<()> {
        let goal = self.shared.answered.load(Ordering::Relaxed) + count;
        wait::until("requests are answered", Duration::from_secs(60), || {
            let answered = self.shared.answered.load(Ordering::Relaxed);
            Ok((answered >= goal).then_some(()))
        })
        .with_context(|| format!("{:?}", self.shared.failures.lock().unwrap()))
    }

    /// Stops. Not one request may have failed. How many there were, over how many connections.
    pub(crate) fn none_failed(self, runtime: &Runtime) -> Result<(usize, usize)> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            runtime.block_on(task)?;
        }
        let answered = self.shared.answered.load(Ordering::Relaxed);
        let failures = self.shared.failures.lock().unwrap();
        let some: Vec<&String> = failures.iter().take(5).collect();
        ensure!(
            failures.is_empty(),
            "{} requests failed beside {answered} that did not: {some:#?}",
            failures.len()
        );
        Ok((answered, self.shared.connections.load(Ordering::Relaxed)))
    }
}

impl Shared {
    /// Asks over one connection, until it is old or its server closes it between two requests.
    async fn connection(
        &self,
        address: &str,
        speaks: Speaks,
        questions: &[Question],
    ) -> Result<()> {
        let client = timeout(LATE, HttpClient::connect(address, speaks, None));
        let mut client = client.await?.context("connecting")?;
        self.connections.fetch_add(1, Ordering::Relaxed);
        for question in questions.iter().cycle().take(KEPT) {
            let open = match &mut client {
                HttpClient::Http1(sender) => sender.ready().await.is_ok(),
                HttpClient::Http2(sender) => sender.ready().await.is_ok(),
            };
            if !open || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let asked = request(question.method, question.path, question.body);
            let what = || format!("{} {}", question.method, question.path);
            let answer = timeout(LATE, client.whole(asked))
                .await
                .with_context(what)?;
            let answer = answer.with_context(what)?;
            ensure!(
                answer.status == question.status,
                "{}: {} {:?}",
                what(),
                answer.status,
                answer.body
            );
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}
