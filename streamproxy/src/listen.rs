//! Accepts connections: TCP, TLS, HTTP/1.1 and HTTP/2, as kubelets and API servers do.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use streamway_daemon::shutdown::{Phase, Shutdown};
use streamway_daemon::tcp::keep_alive;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::auth::PeerCertificates;
use crate::conn::Conn;
use crate::driven;
use crate::lane::Lane;
use crate::reply::Body;

/// How long a TLS handshake may take; kube-apiserver gives 10 s too.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a connection may wait for a request's head, the time before its first byte counted: Go's
/// servers in Kubernetes close idle connections after 90 s.
const HEADERS: Duration = Duration::from_secs(90);

/// Handshakes at the same time: what is not authenticated yet must not take all the memory.
const HANDSHAKES: usize = 512;

/// Largest request head in bytes, as kubelet's `MaxHeaderBytes` in effect for a hyper buffer.
const MAX_HEAD: usize = 1 << 20;

/// The same over HTTP/2: tokens with many groups are larger than hyper's 16 KiB.
const MAX_HEAD_H2: u32 = 1 << 20;

/// What is known of the connection that a request came by.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its address, as `X-Forwarded-For` has it.
    pub(crate) forwarded_for: HeaderValue,
    /// The certificates that it showed, unverified.
    pub(crate) certificates: Option<PeerCertificates>,
    /// The gateway's: which of its API servers the connection is served by.
    pub(crate) lane: Lane,
}

/// A role: what requests are answered by.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Arc<Peer>,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// Accepts until [`Phase::Closing`]; then connections take no further request, and what runs on them
/// runs on: shutdown waits until it is answered, to the last byte.
pub(crate) async fn serve<H: Handler>(
    listener: TcpListener,
    tls: TlsAcceptor,
    handler: Arc<H>,
    shutdown: Shutdown,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let accepted = tokio::select! {
            () = shutdown.reached(Phase::Closing) => return,
            accepted = listener.accept() => accepted,
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
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else {
            return;
        };
        let (tls, handler, shutdown) = (tls.clone(), Arc::clone(&handler), shutdown.clone());
        let waited_for = shutdown.tracker().clone();
        waited_for.spawn(async move {
            keep_alive(&tcp);
            let shaken = timeout(HANDSHAKE, tls.accept(Conn::new(tcp))).await;
            drop(permit);
            let stream = match shaken {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(%address, %error, "a TLS handshake failed");
                    return;
                }
                Err(_) => {
                    tracing::debug!(%address, "a TLS handshake took more than 10 s");
                    return;
                }
            };
            let session = stream.get_ref().1;
            let certificates = session.peer_certificates().map(|chain| {
                PeerCertificates(chain.iter().map(|der| der.clone().into_owned()).collect())
            });
            let http2 = session.alpn_protocol() == Some(b"h2");
            // A listener on `[::]` sees IPv4 as a part of IPv6.
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            let peer = Arc::new(Peer {
                // Digits, dots and colons, which a header may hold.
                forwarded_for: HeaderValue::try_from(address.ip().to_string())
                    .unwrap_or(HeaderValue::from_static("unknown")),
                certificates,
                lane: Lane::default(),
            });
            let service = service_fn(move |request| {
                let (handler, peer) = (Arc::clone(&handler), Arc::clone(&peer));
                async move { Ok::<_, std::convert::Infallible>(handler.handle(request, peer).await) }
            });
            // In boxes: the task would have room for both kinds, each of which is some kilobytes.
            let result = if http2 {
                let (requests, taken) = driven::requests();
                let connection = http2::Builder::new(requests)
                    .timer(TokioTimer::new())
                    .max_header_list_size(MAX_HEAD_H2)
                    .serve_connection(TokioIo::new(stream), service);
                let mut connection = Box::pin(connection);
                let connection = async move {
                    tokio::select! {
                        result = connection.as_mut() => result,
                        () = shutdown.reached(Phase::Closing) => {
                            connection.as_mut().graceful_shutdown();
                            connection.await
                        }
                    }
                };
                driven::drive(connection, taken).await
            } else {
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS)
                    .max_buf_size(MAX_HEAD)
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                let mut connection = Box::pin(connection);
                tokio::select! {
                    result = connection.as_mut() => result,
                    () = shutdown.reached(Phase::Closing) => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                }
            };
            if let Err(error) = result {
                tracing::debug!(%address, %error, "a connection ended");
            }
        });
    }
}
