//! A client that shows what arrives, and when: HTTP/1.1 or HTTP/2 over one TLS connection.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::https;

/// Which version a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A connection.
#[derive(Debug)]
pub enum HttpClient {
    /// HTTP/1.1.
    Http1(http1::SendRequest<Full<Bytes>>),
    /// HTTP/2.
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What stood behind the body.
    pub trailers: Option<HeaderMap>,
}

impl HttpClient {
    /// Connects to `address`, showing a client certificate or none. The server's certificate is not
    /// checked.
    pub async fn connect(
        address: &str,
        speaks: Speaks,
        certificate: Option<(&Path, &Path)>,
    ) -> Result<Self> {
        let alpn: &[u8] = match speaks {
            Speaks::Http1 => b"http/1.1",
            Speaks::Http2 => b"h2",
        };
        let mut config = https::config(certificate)?;
        config.alpn_protocols = vec![alpn.to_vec()];
        let tcp = TcpStream::connect(address)
            .await
            .with_context(|| format!("connecting to {address}"))?;
        // Head and body are two writes: without it the second waits for the peer's late acknowledgement.
        tcp.set_nodelay(true)?;
        let tls = TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from("localhost")?, tcp)
            .await?;
        let io = TokioIo::new(tls);
        Ok(match speaks {
            Speaks::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                tokio::spawn(connection.with_upgrades());
                Self::Http1(sender)
            }
            Speaks::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                tokio::spawn(connection);
                Self::Http2(sender)
            }
        })
    }

    /// Sends a request whose URI is a path; the answer's body is to be read by the caller.
    pub async fn send(&mut self, mut request: Request<Full<Bytes>>) -> Result<Response<Incoming>> {
        Ok(match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                request
                    .headers_mut()
                    .insert("host", "cluster.test".parse()?);
                sender.send_request(request).await?
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                *request.uri_mut() = format!("https://cluster.test{}", request.uri()).parse()?;
                sender.send_request(request).await?
            }
        })
    }

    /// Sends a request, and reads the answer to its end.
    pub async fn whole(&mut self, request: Request<Full<Bytes>>) -> Result<Whole> {
        let (head, body) = self.send(request).await?.into_parts();
        let read = body.collect().await?;
        let trailers = read.trailers().cloned();
        Ok(Whole {
            status: head.status,
            headers: head.headers,
            body: read.to_bytes(),
            trailers,
        })
    }
}
