//! A WebSocket through the API server, with a subprotocol of our choice: kube's own client offers
//! `v5.channel.k8s.io` together with v4, and no tunnel.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::header;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use streamway_kstream::subprotocol::Subprotocol;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::{client, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{self, Message};

use super::Target;

/// Why a step did not pass.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    /// The API server could not be asked at all, so nothing is known of the node.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// The request was answered, but not with 101.
    #[error("answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The API server's words.
        message: String,
    },
    /// The upgrade was not what RFC 6455 asks for.
    #[error("no WebSocket: {0}")]
    Handshake(&'static str),
    /// It broke off.
    #[error("the connection broke off: {0}")]
    Broken(String),
    /// It came to another end than it should.
    #[error("{0}")]
    Wrong(String),
    /// It came to no end.
    #[error("not done after {0:?}")]
    TooLong(Duration),
}

impl ProbeError {
    /// Whether it says something of the node, and not only of the way to the API server or of the
    /// controller's own rights.
    pub(crate) fn is_about_the_node(&self) -> bool {
        match self {
            Self::Unreachable(_) => false,
            Self::Refused { status, .. } => !matches!(
                *status,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
            ),
            _ => true,
        }
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: WebSocketStream<TokioIo<Upgraded>>,
}

impl Socket {
    /// Opens `subresource` of the target's pod, with a query, and takes `subprotocol` or nothing.
    pub(super) async fn open(
        client: &Client,
        target: &Target,
        subresource: &str,
        query: &str,
        subprotocol: Subprotocol,
    ) -> Result<Self, ProbeError> {
        let Target { namespace, pod } = target;
        let key = client::generate_key();
        let request = Request::get(format!(
            "/api/v1/namespaces/{namespace}/pods/{pod}/{subresource}?{query}"
        ))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, subprotocol.as_str())
        .body(Body::empty())
        .map_err(|_| ProbeError::Wrong(format!("{namespace}/{pod} is no pod's name")))?;
        let sent = client.send(request).await;
        let response = sent.map_err(|error| ProbeError::Unreachable(error.to_string()))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refused(response).await);
        }
        let headers = response.headers();
        let is = |name, wanted: &str| headers.get(name).is_some_and(|value| value == wanted);
        if !is(
            header::SEC_WEBSOCKET_ACCEPT,
            &derive_accept_key(key.as_bytes()),
        ) {
            return Err(ProbeError::Handshake(
                "the answer is to another request's key",
            ));
        }
        if !is(header::SEC_WEBSOCKET_PROTOCOL, subprotocol.as_str()) {
            return Err(ProbeError::Handshake("another subprotocol was chosen"));
        }
        let upgraded = hyper::upgrade::on(response).await;
        let upgraded = upgraded.map_err(|error| ProbeError::Broken(error.to_string()))?;
        // Small buffers: a probe's messages are a few KiB.
        let config = WebSocketConfig::default()
            .read_buffer_size(16 << 10)
            .write_buffer_size(16 << 10)
            .max_message_size(Some(MAX_MESSAGE));
        let upgraded = TokioIo::new(upgraded);
        let stream = WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await;
        Ok(Self { stream })
    }

    /// Sends one binary message.
    pub(super) async fn send(&mut self, message: Vec<u8>) -> Result<(), ProbeError> {
        let sent = self.stream.send(Message::Binary(message.into())).await;
        sent.map_err(broken)
    }

    /// The next message with content. `None` once the server closed, with the code of a normal end
    /// or none.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, ProbeError> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Binary(message))) => {
                    if !message.is_empty() {
                        return Ok(Some(message.into()));
                    }
                }
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.map_or(1005, |frame| frame.code.into());
                    return match code {
                        1000 | 1005 => Ok(None),
                        _ => Err(ProbeError::Wrong(format!("closed with {code}"))),
                    };
                }
                Some(Ok(Message::Text(text))) => {
                    return Err(ProbeError::Wrong(format!("a text message: {text:.100}")));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(broken(error)),
                None => return Err(ProbeError::Broken("without a close frame".to_owned())),
            }
        }
    }

    /// Says goodbye, and waits for the other's. What else arrives is not of interest any more.
    pub(super) async fn close(mut self) {
        if self.stream.close(None).await.is_ok() {
            while let Some(Ok(_)) = self.stream.next().await {}
        }
    }
}

/// What the API server said instead of 101: the message of its status, if it is one.
async fn refused(response: http::Response<Body>) -> ProbeError {
    let status = response.status();
    let body = http_body_util::Limited::new(response.into_body(), MAX_MESSAGE);
    let bytes = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let told: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
    let message = told
        .as_ref()
        .and_then(|told| told.get("message")?.as_str())
        .map_or_else(
            || String::from_utf8_lossy(&bytes).trim().to_owned(),
            str::to_owned,
        );
    ProbeError::Refused { status, message }
}

fn broken(error: tungstenite::Error) -> ProbeError {
    ProbeError::Broken(error.to_string())
}

/// Nothing that answers a probe is larger.
const MAX_MESSAGE: usize = 1 << 20;
