//! An HTTP server behind a Service, for what API servers pass through and never do themselves: trailers,
//! bodies that stop in the middle, WebSockets of somebody else's, 429.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use futures_util::{SinkExt, StreamExt};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// The running server; it ends with the runtime.
#[derive(Debug)]
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
}

impl Backend {
    /// Listens on a port of `host`'s.
    pub async fn start(host: &str) -> Result<Self> {
        let listener = TcpListener::bind((host, 0)).await?;
        let address = listener.local_addr()?;
        let more = Arc::new(Notify::new());
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let more = Arc::clone(&more);
                let service = service_fn(move |request| answer(request, Arc::clone(&more)));
                let connection = http1::Builder::new()
                    .serve_connection(TokioIo::new(tcp), service)
                    .with_upgrades();
                tokio::spawn(connection);
            }
        });
        Ok(Self { address })
    }
}

async fn answer(
    request: Request<Incoming>,
    more: Arc<Notify>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    if let Some(code) = path.strip_prefix("/status/") {
        return Ok(status(code));
    }
    Ok(match path.as_str() {
        "/echo" => echo(request).await,
        "/drip" => drip(more),
        "/more" => {
            more.notify_one();
            whole("on its way")
        }
        "/trailers" => trailers(),
        "/half" => half(),
        "/ws" => websocket(request),
        _ => status("404"),
    })
}

fn whole(text: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(text.into()).map_err(|never| match never {});
    Response::new(body.boxed_unsync())
}

/// A body of what is sent to the channel.
fn streamed() -> (
    mpsc::Sender<Result<Frame<Bytes>, std::io::Error>>,
    Response<Body>,
) {
    let (sender, receiver) = mpsc::channel(4);
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|frame| (frame, receiver))
    });
    (
        sender,
        Response::new(StreamBody::new(frames).boxed_unsync()),
    )
}

fn data(text: &'static str) -> Result<Frame<Bytes>, std::io::Error> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

/// What came: how much of what body, and every header.
async fn echo(request: Request<Incoming>) -> Response<Body> {
    let mut headers = serde_json::Map::new();
    for (name, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.insert(name.as_str().to_owned(), value.into());
    }
    let (mut hash, mut len, mut body) = (Sha256::new(), 0, request.into_body());
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(bytes) = frame.data_ref() {
            hash.update(bytes);
            len += bytes.len();
        }
    }
    let sum: String = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    whole(json!({"len": len, "sha256": sum, "headers": headers}).to_string())
}

/// One piece now, and one when somebody asks for more elsewhere.
fn drip(more: Arc<Notify>) -> Response<Body> {
    let (sender, response) = streamed();
    tokio::spawn(async move {
        let _ = sender.send(data("one\n")).await;
        more.notified().await;
        let _ = sender.send(data("two\n")).await;
    });
    response
}

fn trailers() -> Response<Body> {
    let (sender, mut response) = streamed();
    tokio::spawn(async move {
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", HeaderValue::from_static("abc"));
        let _ = sender.send(data("body")).await;
        let _ = sender.send(Ok(Frame::trailers(trailers))).await;
    });
    let name = HeaderValue::from_static("checksum");
    response.headers_mut().insert(header::TRAILER, name);
    response
}

/// A body that breaks off.
fn half() -> Response<Body> {
    let (sender, response) = streamed();
    tokio::spawn(async move {
        let _ = sender.send(data("half")).await;
        let _ = sender.send(Err(std::io::Error::other("broken off"))).await;
    });
    response
}

fn status(code: &str) -> Response<Body> {
    let mut response = whole(format!("this is {code}\n"));
    let code = code
        .parse()
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok());
    *response.status_mut() = code.unwrap_or(StatusCode::NOT_FOUND);
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
    headers.insert("x-own", HeaderValue::from_static("kept"));
    response
}

/// Echoes messages.
fn websocket(mut request: Request<Incoming>) -> Response<Body> {
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        return status("400");
    };
    let accept = derive_accept_key(key.as_bytes());
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() || socket.send(message).await.is_err() {
                return;
            }
        }
    });
    let mut response = whole("");
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}
