//! A fake API server for unit tests: it answers reviews by a function and notes what it was asked.
//! The real one is asked in `e2e`.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use kube::Client;
use kube::client::Body;
use serde_json::Value;
use tokio::sync::Semaphore;
use tower::Service;

/// Status code and body for the n-th request, counted from 1.
type Answer = dyn Fn(usize, &Value) -> (u16, Value) + Send + Sync;

/// What the fake was asked, and when it may answer.
#[derive(Clone)]
pub(super) struct Fake {
    answer: Arc<Answer>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    /// One permit for each answer.
    pub(super) answers: Arc<Semaphore>,
}

impl Fake {
    pub(super) fn new(
        answer: impl Fn(usize, &Value) -> (u16, Value) + Send + Sync + 'static,
    ) -> Self {
        let answers = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self {
            answer: Arc::new(answer),
            asked: Arc::default(),
            answers,
        }
    }

    /// A client that reaches the fake. To be called in a runtime.
    pub(super) fn client(&self) -> Client {
        Client::new(self.clone(), "default")
    }

    /// Paths and bodies of every request so far.
    pub(super) fn asked(&self) -> Vec<(String, Value)> {
        self.asked.lock().unwrap().clone()
    }
}

impl Service<Request<Body>> for Fake {
    type Response = Response<Full<bytes::Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let fake = self.clone();
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let nth = {
                let mut asked = fake.asked.lock().unwrap();
                asked.push((path, body.clone()));
                asked.len()
            };
            fake.answers.acquire().await.unwrap().forget();
            let (status, answer) = (fake.answer)(nth, &body);
            let mut response = Response::new(Full::from(answer.to_string()));
            *response.status_mut() = status.try_into().unwrap();
            Ok(response)
        })
    }
}
