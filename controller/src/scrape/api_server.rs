//! A kube-apiserver's `/metrics`, line by line: in a large cluster it is tens of megabytes.

use futures_util::{AsyncBufReadExt, TryStreamExt};
use http::Request;
use kube::Client;
use streamway_audit::CREATE_CHECK;
use streamway_crds::names;

use super::counts::Counts;
use super::text::samples;

/// What one API server told of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiServer {
    /// When its process started: no two of a cluster's start in the same hundredth of a second.
    pub(crate) started: String,
    pub(crate) counts: Counts,
    /// Whether it sends WebSockets to nodes that declare the feature; none before 1.36.
    pub(crate) gate: Option<bool>,
    /// Whether it asks for `create` before it opens a WebSocket; none before 1.35.
    pub(crate) create_check: Option<bool>,
}

/// Metrics that are kept.
const KEPT: [&str; 4] = [
    "apiserver_stream_translator_requests_total",
    "apiserver_stream_tunnel_requests_total",
    "kubernetes_feature_enabled",
    "process_start_time_seconds",
];

/// Asks the API server that the client is connected to.
///
/// # Errors
///
/// It does not answer, or the controller may not `get` `/metrics`.
pub(crate) async fn api_server(client: &Client) -> Result<ApiServer, kube::Error> {
    let request = Request::get("/metrics").body(Vec::new());
    let request = request.map_err(kube::Error::HttpError)?;
    let mut lines = client.request_stream(request).await?.lines();
    let mut kept = String::new();
    while let Some(line) = lines.try_next().await.map_err(kube::Error::ReadEvents)? {
        if KEPT.iter().any(|name| line.starts_with(name)) {
            kept.push_str(&line);
            kept.push('\n');
        }
    }
    Ok(told(&kept))
}

fn told(text: &str) -> ApiServer {
    let mut told = ApiServer {
        started: String::new(),
        counts: Counts::of_api_server(text),
        gate: None,
        create_check: None,
    };
    for sample in samples(text) {
        match sample.name {
            "process_start_time_seconds" => told.started = sample.value.to_string(),
            "kubernetes_feature_enabled" => match sample.label("name") {
                Some(names::FEATURE) => told.gate = Some(sample.value > 0.0),
                Some(CREATE_CHECK) => told.create_check = Some(sample.value > 0.0),
                _ => {}
            },
            _ => {}
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gate_and_start() {
        let text = "process_start_time_seconds 1.76e+09\n\
            kubernetes_feature_enabled{name=\"ExtendWebSocketsToKubelet\",stage=\"BETA\"} 0\n\
            kubernetes_feature_enabled{name=\"AuthorizePodWebsocketUpgradeCreatePermission\"} 1\n\
            kubernetes_feature_enabled{name=\"Other\",stage=\"BETA\"} 1\n";
        let one = told(text);
        assert_eq!(one.started, "1760000000");
        assert_eq!(one.gate, Some(false));
        assert_eq!(one.create_check, Some(true));
        assert_eq!(told("").gate, None);
    }
}
