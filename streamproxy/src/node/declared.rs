//! Whether the kubelet takes WebSockets itself, as it says in its own metrics.
//!
//! The Node's `status.declaredFeatures` cannot tell: the controller writes there that the *node* can
//! be sent WebSockets, which a proxy before an old kubelet makes true. The kubelet's own word is
//! `kubernetes_feature_enabled{name="ExtendWebSocketsToKubelet",…} 1` in `/metrics` (1.36 and later).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::kubelet::Kubelet;
use crate::upstream::DialError;

/// How often the kubelet is asked. An upgraded kubelet is translated for until then, which works.
const EVERY: Duration = Duration::from_secs(300);

/// How often while it could not be asked.
const RETRY: Duration = Duration::from_secs(5);

/// How long one answer may take.
const LATE: Duration = Duration::from_secs(20);

/// The most that is read of its metrics. Busy kubelets' are a few megabytes.
const MOST: usize = 64 << 20;

const NAME: &[u8] = b"kubernetes_feature_enabled{name=\"ExtendWebSocketsToKubelet\"";

/// What the kubelet said last.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    websockets: AtomicBool,
    ask_again: Notify,
}

/// Why it could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AskError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection failed, or the answer is not HTTP.
    #[error("asking the kubelet for its metrics failed: {0}")]
    Http(#[from] hyper::Error),
    /// No answer in time.
    #[error("the kubelet did not send its metrics within 20 s")]
    Late,
}

impl Declared {
    /// Whether the kubelet takes `v5.channel.k8s.io` and tunnels. False until it has been asked.
    pub(crate) fn websockets(&self) -> bool {
        self.websockets.load(Ordering::Relaxed)
    }

    /// The kubelet behaved otherwise than it had said: it is asked again at once.
    pub(crate) fn doubt(&self) {
        self.websockets.store(false, Ordering::Relaxed);
        self.ask_again.notify_one();
    }
}

impl Kubelet {
    /// Keeps what the kubelet declares true, for ever. `reachable` is told after every try.
    pub(crate) async fn watch_declared(&self, mut reachable: impl FnMut(Result<(), &AskError>)) {
        let mut before = None;
        loop {
            let asked = timeout(LATE, self.ask())
                .await
                .unwrap_or(Err(AskError::Late));
            let pause = match &asked {
                Ok(websockets) => {
                    self.declared
                        .websockets
                        .store(*websockets, Ordering::Relaxed);
                    if before != Some(*websockets) {
                        tracing::info!(websockets, "the kubelet declares");
                        before = Some(*websockets);
                    }
                    EVERY
                }
                Err(_) => RETRY,
            };
            reachable(asked.as_ref().map(|_| ()));
            // Asked again early, but not in a tight loop.
            let doubted = async {
                self.declared.ask_again.notified().await;
                tokio::time::sleep(RETRY).await;
            };
            let _ = timeout(pause, doubted).await;
        }
    }

    async fn ask(&self) -> Result<bool, AskError> {
        let stream = self.server.dial().await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = Uri::from_static("/metrics");
        let host = self.server.host();
        request.headers_mut().insert(http::header::HOST, host);
        let mut response = sender.send_request(request).await?;
        let mut lines = Lines::default();
        let mut left = MOST;
        let mut found = false;
        // A kubelet that refuses to tell is one that has nothing to tell: older, or not a kubelet.
        while response.status() == StatusCode::OK && !found && left > 0 {
            let Some(frame) = response.frame().await else {
                break;
            };
            if let Some(data) = frame?.data_ref() {
                left = left.saturating_sub(data.len());
                found = lines.feed(data);
            }
        }
        connection.abort();
        Ok(found)
    }
}

/// Finds the metric's line in a body that arrives in pieces.
#[derive(Debug, Default)]
struct Lines {
    /// The start of the line that the last piece ended in, as much as can matter.
    line: Vec<u8>,
}

impl Lines {
    /// The longest line that is looked at; the metric's is about 90 bytes.
    const LONGEST: usize = 512;

    fn feed(&mut self, data: &[u8]) -> bool {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let room = Self::LONGEST - self.line.len();
            self.line
                .extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                if line.starts_with(NAME) && line.trim_ascii_end().ends_with(b"} 1") {
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ON: &str = "# HELP kubernetes_feature_enabled x\n\
        kubernetes_feature_enabled{name=\"Other\",stage=\"\"} 1\n\
        kubernetes_feature_enabled{name=\"ExtendWebSocketsToKubelet\",stage=\"BETA\"} 1\n";

    #[test]
    fn the_metric_is_found_however_the_body_is_cut() {
        for size in 1..ON.len() {
            let mut lines = Lines::default();
            let found = ON
                .as_bytes()
                .chunks(size)
                .filter(|chunk| lines.feed(chunk))
                .count();
            assert_eq!(found, 1, "in pieces of {size}");
        }
    }

    #[test]
    fn a_feature_that_is_off_is_off() {
        assert!(!Lines::default().feed(ON.replace("} 1", "} 0").as_bytes()));
    }

    #[test]
    fn a_line_without_end_costs_little() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            assert!(!lines.feed(&[b'x'; 4096]));
        }
        assert!(lines.line.len() <= Lines::LONGEST);
    }
}
