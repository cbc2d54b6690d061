//! Connections to the kubelet.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Tls;
use crate::conn::Conn;
use crate::stream::Upstream;

/// How long a connection may take, and then its TLS handshake: the kubelet is on the same node.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection to the kubelet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum DialError {
    /// TCP.
    #[error("error dialing the kubelet at {address}: {source}")]
    Connect {
        /// Host and port.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// TLS.
    #[error("the kubelet at {address} refused TLS: {source}")]
    Tls {
        /// Host and port.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Nothing in time.
    #[error("error dialing the kubelet at {address}: no answer within 10 s")]
    Late {
        /// Host and port.
        address: String,
    },
}

/// Makes connections to one kubelet.
#[derive(Debug, Clone)]
pub(crate) struct Dialer(Arc<Target>);

#[derive(Debug)]
struct Target {
    address: String,
    tls: Option<(Tls, ServerName<'static>)>,
}

impl Dialer {
    pub(crate) fn new(
        host: &str,
        port: u16,
        tls: Option<Tls>,
    ) -> Result<Self, InvalidDnsNameError> {
        // An IPv6 host stands in brackets in a URL.
        let bare = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let tls = match tls {
            Some(tls) => {
                let name = tls.server_name().map_or(bare, str::to_owned);
                Some((tls, ServerName::try_from(name)?))
            }
            None => None,
        };
        Ok(Self(Arc::new(Target {
            address: format!("{host}:{port}"),
            tls,
        })))
    }

    pub(crate) async fn dial(&self) -> Result<Upstream, DialError> {
        let address = || self.0.address.clone();
        let late = |_| DialError::Late { address: address() };
        let tcp = timeout(CONNECT_TIMEOUT, TcpStream::connect(&self.0.address))
            .await
            .map_err(late)?
            .map_err(|source| DialError::Connect {
                address: address(),
                source,
            })?;
        crate::listen::keep_alive(&tcp);
        let conn = Conn::new(tcp);
        let Some((tls, name)) = &self.0.tls else {
            return Ok(Upstream::Plain(conn));
        };
        let handshake = TlsConnector::from(tls.config()).connect(name.clone(), conn);
        let stream = timeout(CONNECT_TIMEOUT, handshake)
            .await
            .map_err(late)?
            .map_err(|source| DialError::Tls {
                address: address(),
                source,
            })?;
        Ok(Upstream::Tls(Box::new(stream)))
    }
}

impl tower::Service<Uri> for Dialer {
    type Response = Pooled;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Pooled, DialError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move { Ok(Pooled(TokioIo::new(dialer.dial().await?))) })
    }
}

/// A connection in the pool.
#[derive(Debug)]
pub(crate) struct Pooled(TokioIo<Upstream>);

impl Connection for Pooled {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Pooled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Pooled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}
