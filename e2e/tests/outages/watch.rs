//! One watch on one connection, as it arrives.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use streamway_e2e::cluster::Cluster;
use streamway_e2e::httpclient::{HttpClient, Speaks};
use streamway_e2e::wait;
use tokio::runtime::Runtime;

/// A watch of the namespace's ConfigMaps.
pub(crate) struct Watch(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    text: String,
    ended: Option<Result<(), String>>,
}

/// A request of the administrator's.
pub(crate) fn request(method: &str, path: &str, body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(body.as_bytes())));
    *request.method_mut() = method.parse().unwrap();
    *request.uri_mut() = path.parse().unwrap();
    let token = format!("Bearer {}", Cluster::token("admin"));
    let headers = request.headers_mut();
    headers.insert("authorization", token.parse().unwrap());
    headers.insert("content-type", "application/json".parse().unwrap());
    request
}

impl Watch {
    /// Opens one, over a connection of its own.
    pub(crate) fn open(runtime: &Runtime, address: &str) -> Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let told = Arc::clone(&state);
        let mut body = runtime.block_on(async {
            let mut client = HttpClient::connect(address, Speaks::Http1, None).await?;
            let path = "/api/v1/namespaces/default/configmaps?watch=true";
            let answer = client.send(request("GET", path, "")).await?;
            ensure!(answer.status() == 200, "the watch: {}", answer.status());
            Ok(answer.into_body())
        })?;
        runtime.spawn(async move {
            let ended = loop {
                match body.frame().await {
                    None => break Ok(()),
                    Some(Err(error)) => break Err(error.to_string()),
                    Some(Ok(frame)) => {
                        let data = frame.into_data().unwrap_or_default();
                        told.lock()
                            .unwrap()
                            .text
                            .push_str(&String::from_utf8_lossy(&data));
                    }
                }
            };
            told.lock().unwrap().ended = Some(ended);
        });
        Ok(Self(state))
    }

    /// Several.
    pub(crate) fn several(runtime: &Runtime, address: &str, count: usize) -> Result<Vec<Self>> {
        (0..count).map(|_| Self::open(runtime, address)).collect()
    }

    /// Waits until it tells of an object.
    pub(crate) fn tells(&self, name: &str) -> Result<()> {
        wait::until("the watch tells", Duration::from_secs(10), || {
            let state = self.0.lock().unwrap();
            Ok(state.text.contains(&format!("\"{name}\"")).then_some(()))
        })
        .with_context(|| format!("of {name}; its end: {:?}", self.end()))
    }

    /// How it ended: `Ok` at a message's end, as a server ends it, else why not.
    pub(crate) fn end(&self) -> Option<Result<(), String>> {
        self.0.lock().unwrap().ended.clone()
    }
}
