//! Proves a node with real sessions: exec, attach and port-forward, through the API server, into the
//! agent's own pod on the node, as kubectl would.
//!
//! The pod's container `probe` (`streamproxy probe-target`) has no rights and does nothing but echo;
//! so what comes back, byte for byte, is what the whole way made of what was sent.

mod exec;
mod forward;
mod socket;

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::Client;
use tokio::sync::Semaphore;

pub(crate) use socket::ProbeError;

/// A session that is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A command with stdin, both outputs and an exit code.
    Exec,
    /// The container's main process.
    Attach,
    /// A TCP connection into the pod.
    PortForward,
}

impl Step {
    /// The subresource, for messages and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
        }
    }
}

/// Where the sessions go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The agent pod's namespace.
    pub(crate) namespace: String,
    /// The agent pod on the node.
    pub(crate) pod: String,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Report {
    /// The steps that passed, in order, and how long each took.
    pub(crate) passed: Vec<(Step, Duration)>,
    /// The step at which it ended before its time, and why.
    pub(crate) failed: Option<(Step, ProbeError)>,
}

/// Probes nodes, a bounded number at once. Clones share the bound.
#[derive(Clone)]
pub(crate) struct Prober {
    client: Client,
    permits: Arc<Semaphore>,
    port: u16,
}

impl Prober {
    /// At most `concurrent` at once; the pod echoes on `port`.
    pub(crate) fn new(client: Client, concurrent: u16, port: u16) -> Self {
        Self {
            client,
            permits: Arc::new(Semaphore::new(concurrent.into())),
            port,
        }
    }

    /// Tries the steps in order, to the first that fails; each may take `timeout`. Waits for its turn
    /// first.
    pub(crate) async fn probe(&self, target: &Target, timeout: Duration) -> Report {
        // The semaphore is never closed: there is no other end to this wait.
        let _permit = self.permits.acquire().await;
        let mut report = Report {
            passed: Vec::new(),
            failed: None,
        };
        for step in [Step::Exec, Step::Attach, Step::PortForward] {
            let start = Instant::now();
            match self.step(step, target, timeout).await {
                Ok(()) => report.passed.push((step, start.elapsed())),
                Err(error) => {
                    report.failed = Some((step, error));
                    break;
                }
            }
        }
        report
    }

    async fn step(&self, step: Step, target: &Target, timeout: Duration) -> Result<(), ProbeError> {
        let tried = async {
            match step {
                Step::Exec => exec::exec(&self.client, target).await,
                Step::Attach => exec::attach(&self.client, target).await,
                Step::PortForward => forward::forward(&self.client, target, self.port).await,
            }
        };
        tokio::time::timeout(timeout, tried)
            .await
            .unwrap_or(Err(ProbeError::TooLong(timeout)))
    }
}
