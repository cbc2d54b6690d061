//! Kubelets that write their status all the time, and never what is wished.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use serde_json::{Value, json};
use streamway_crds::names::{CONTROLLER, FEATURE, SYSTEM_NAMESPACE};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::httpclient::{HttpClient, Speaks};
use streamway_e2e::wait;

/// Writes that go on until it is [ended](Self::end): of one node whose feature is wished to be withdrawn,
/// each of them says that it is declared.
pub(crate) struct Load {
    counts: Arc<Counts>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Default)]
struct Counts {
    over: AtomicBool,
    writes: AtomicUsize,
    unpatched: AtomicUsize,
}

impl Load {
    /// Begins, as the node's kubelet. What passes unpatched is put right, as the controller would.
    pub(crate) fn begin(cluster: &Cluster, node: &str) -> Result<Self> {
        let counts = Arc::new(Counts::default());
        let address = cluster.url().trim_start_matches("https://").to_owned();
        let user = format!("system:node:{node}");
        let kubelet =
            cluster
                .authority()
                .client(&format!("{node}-load"), &user, &["system:nodes"])?;
        let user = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{CONTROLLER}");
        let controller = cluster.authority().client("controller-load", &user, &[])?;
        let writer = Writer {
            counts: Arc::clone(&counts),
            address,
            path: format!("/api/v1/nodes/{node}/status"),
            kubelet: (kubelet.certificate, kubelet.key),
            controller: (controller.certificate, controller.key),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::spawn(move || runtime.block_on(writer.run()));
        Ok(Self {
            counts,
            thread: Some(thread),
        })
    }

    /// Writes so far.
    pub(crate) fn writes(&self) -> usize {
        self.counts.writes.load(Ordering::Relaxed)
    }

    /// Writes so far that nobody patched.
    pub(crate) fn unpatched(&self) -> usize {
        self.counts.unpatched.load(Ordering::Relaxed)
    }

    /// Waits until `more` writes were made from now on.
    pub(crate) fn wait(&self, more: usize) -> Result<()> {
        let wanted = self.writes() + more;
        wait::until("writes go on", Duration::from_secs(60), || {
            let goes_on = self
                .thread
                .as_ref()
                .is_some_and(|thread| !thread.is_finished());
            ensure!(goes_on, "a write failed");
            Ok((self.writes() >= wanted).then_some(()))
        })
    }

    /// Ends, and tells how many writes there were, and how many of them nobody patched. A write that
    /// failed is an error.
    pub(crate) fn end(mut self) -> Result<(usize, usize)> {
        self.counts.over.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result.context("a kubelet's write failed")?,
            Some(Err(_)) | None => bail!("the load panicked"),
        }
        Ok((self.writes(), self.unpatched()))
    }
}

impl Drop for Load {
    /// A check that failed has no writes after it.
    fn drop(&mut self) {
        self.counts.over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Writer {
    counts: Arc<Counts>,
    address: String,
    path: String,
    kubelet: (PathBuf, PathBuf),
    controller: (PathBuf, PathBuf),
}

impl Writer {
    async fn run(self) -> Result<()> {
        let connect = |(certificate, key): &(PathBuf, PathBuf)| {
            let (address, certificate, key) =
                (self.address.clone(), certificate.clone(), key.clone());
            async move { HttpClient::connect(&address, Speaks::Http2, Some((&certificate, &key))).await }
        };
        let (mut kubelet, mut controller) = (
            connect(&self.kubelet).await?,
            connect(&self.controller).await?,
        );
        while !self.counts.over.load(Ordering::Relaxed) {
            if self.write(&mut kubelet, json!([FEATURE])).await? {
                self.counts.unpatched.fetch_add(1, Ordering::Relaxed);
                let still = self.write(&mut controller, Value::Null).await?;
                ensure!(!still, "the controller's write changed nothing");
            }
            self.counts.writes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether the Node declares the feature after the write.
    async fn write(&self, client: &mut HttpClient, features: Value) -> Result<bool> {
        let patch = json!({"status": {"declaredFeatures": features}}).to_string();
        let request = Request::patch(&self.path)
            .header("content-type", "application/merge-patch+json")
            .body(Full::new(Bytes::from(patch)))?;
        let answer = client.whole(request).await?;
        let body = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 200, "{}: {body}", answer.status);
        let node: Value = serde_json::from_str(&body)?;
        let features = node
            .pointer("/status/declaredFeatures")
            .and_then(Value::as_array);
        Ok(features.is_some_and(|list| list.iter().any(|feature| feature == FEATURE)))
    }
}
