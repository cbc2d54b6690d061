//! Feature gates, from the API server's metrics.

use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;

use super::{Cluster, Failure};

const METRIC: &str = "kubernetes_feature_enabled{";
/// No line of metrics is longer; what is, is no gate's.
const LONGEST_LINE: usize = 64 * 1024;

impl Cluster {
    /// The gates that the API server tells, by name. Metrics may be many MiB: they are read as they
    /// come, and no further than the gates.
    pub(crate) async fn gates(&self) -> Result<Vec<(String, bool)>, Failure> {
        let request = Request::get("/metrics").body(Body::empty());
        let response = self
            .client
            .send(request.map_err(kube::Error::HttpError)?)
            .await?;
        let code = response.status();
        let mut body = response.into_body();
        if !code.is_success() {
            return Err(Failure::Refused {
                code,
                message: "/metrics is not shown".to_owned(),
                resume: None,
            });
        }
        let mut lines = Lines::default();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            if lines.take(&data) {
                break;
            }
        }
        Ok(lines.gates)
    }
}

#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
    gates: Vec<(String, bool)>,
}

impl Lines {
    /// Whether all gates have been seen.
    fn take(&mut self, data: &[u8]) -> bool {
        for piece in data.split_inclusive(|&byte| byte == b'\n') {
            if self.rest.len() < LONGEST_LINE {
                self.rest.extend_from_slice(piece);
            }
            if !piece.ends_with(b"\n") {
                continue;
            }
            let line = std::mem::take(&mut self.rest);
            match std::str::from_utf8(&line).ok().and_then(gate) {
                Some(gate) => self.gates.push(gate),
                None if !self.gates.is_empty() => return true,
                None => {}
            }
        }
        false
    }
}

/// `kubernetes_feature_enabled{name="AnyGate",stage="BETA"} 1`.
fn gate(line: &str) -> Option<(String, bool)> {
    let (labels, value) = line.strip_prefix(METRIC)?.rsplit_once("} ")?;
    let mut labels = labels.split(',');
    let name = labels.find_map(|label| label.strip_prefix("name=\"")?.strip_suffix('"'))?;
    Some((name.to_owned(), value.trim() == "1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_at_any_split() {
        let text = "# HELP a b\na{c=\"d\"} 1\n# TYPE kubernetes_feature_enabled gauge\n\
            kubernetes_feature_enabled{name=\"One\",stage=\"BETA\"} 1\n\
            kubernetes_feature_enabled{name=\"Two\",stage=\"\"} 0\nlater 3\n";
        for size in 1..text.len() {
            let mut lines = Lines::default();
            let mut over = false;
            for piece in text.as_bytes().chunks(size) {
                over |= lines.take(piece);
            }
            assert!(over);
            let expected = [("One".to_owned(), true), ("Two".to_owned(), false)];
            assert_eq!(lines.gates, expected, "{size}");
        }
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            lines.take(&[b'x'; 4096]);
        }
        assert!(lines.rest.len() <= LONGEST_LINE + 4096);
    }
}
