//! Accepts connections: TCP, TLS, HTTP/1.1 and HTTP/2, and lets them end when the process does.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, Version, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, Socket, Type};
use streamway_daemon::shutdown::{Phase, Shutdown};
use streamway_daemon::tcp::keep_alive;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::callers::Caller;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a connection may wait for a request's head. Go's clients close idle connections after 90 s:
/// what is closed from here could be closed under a request.
const HEADERS: Duration = Duration::from_secs(120);

/// Connections at the same time. API servers keep a few each, over HTTP/1.1, so that they reach every
/// replica (`k8s.io/apiserver@v0.36.3/pkg/util/webhook/client.go`); others have nothing to seek here, and
/// must not take all the memory.
const CONNECTIONS: usize = 1024;

/// Requests at the same time on one connection of HTTP/2: Go's servers allow as many.
const STREAMS: u32 = 250;

/// Binds `address`.
///
/// # Errors
/// What the kernel says.
pub(crate) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}

/// Accepts until [`Phase::Closing`]; then connections take no further request (HTTP/2's GOAWAY), and
/// shutdown waits until those that they took are answered.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    routes: Router,
    shutdown: Shutdown,
) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let routes = routes.layer(from_fn_with_state(shutdown.clone(), farewell));
    loop {
        let permit = Arc::clone(&connections).acquire_owned();
        let accepted = async { (permit.await, listener.accept().await) };
        let (permit, accepted) = tokio::select! {
            () = shutdown.reached(Phase::Closing) => return,
            accepted = accepted => accepted,
        };
        let (tcp, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: others have to close first.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (tls, routes, ending) = (tls.clone(), routes.clone(), shutdown.clone());
        shutdown.tracker().spawn(async move {
            let _permit = permit;
            if let Err(error) = connection(tcp, tls, routes, ending).await {
                tracing::debug!(%address, %error, "a connection ended");
            }
        });
    }
}

async fn connection(
    tcp: TcpStream,
    tls: TlsAcceptor,
    routes: Router,
    shutdown: Shutdown,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    keep_alive(&tcp);
    tcp.set_nodelay(true)?;
    let stream = timeout(HANDSHAKE, tls.accept(tcp)).await??;
    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let shown = shown
        .iter()
        .map(|certificate| certificate.clone().into_owned());
    let routes = routes.layer(Extension(Caller(shown.collect())));
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS);
    let connection =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.reached(Phase::Closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// While draining, the last answer on a connection is the next one: a connection that is closed later
/// could be closed under a request that is on its way, and Go's client does not send that again.
async fn farewell(State(shutdown): State<Shutdown>, request: Request, next: Next) -> Response {
    let named = request.version() < Version::HTTP_2;
    let mut response = next.run(request).await;
    if named && !shutdown.is_ready() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}
