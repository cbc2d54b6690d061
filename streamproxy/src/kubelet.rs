//! The kubelet behind the proxy: plain requests over pooled connections, upgrades over one of their
//! own.

mod declared;
mod dial;
mod tls;

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::timeout;

pub(crate) use declared::Declared;
pub(crate) use dial::DialError;
use dial::Dialer;
pub(crate) use tls::{Tls, TlsOptions};

use crate::stream::{Opened, Upstream};

/// How long the kubelet may take to answer an upgrade: it asks the runtime first.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a pooled connection may idle; the kubelet closes its own after 90 s.
const POOL_IDLE: Duration = Duration::from_secs(60);

/// Pooled connections that are kept.
const POOL_SIZE: usize = 16;

/// A kubelet.
#[derive(Debug)]
pub(crate) struct Kubelet {
    scheme: Scheme,
    authority: Authority,
    dialer: Dialer,
    pool: Client<Dialer, Incoming>,
    declared: Declared,
}

/// How a kubelet answered an upgrade.
#[derive(Debug)]
pub(crate) enum Answer {
    /// 101: these headers, and the connection.
    Switched(HeaderMap, Opened<Upstream>),
    /// Anything else.
    Refused(Response<Incoming>),
}

/// Why a kubelet could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum KubeletError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection failed during the request.
    #[error("the kubelet's connection failed during the request: {0}")]
    Http(#[source] hyper::Error),
    /// The pool's connection failed.
    #[error("asking the kubelet failed: {}", root(.0))]
    Pool(#[source] hyper_util::client::legacy::Error),
    /// No answer in time.
    #[error("the kubelet did not answer the upgrade within 30 s")]
    Late,
    /// The request cannot be put on the wire.
    #[error("the request cannot be passed on: {0}")]
    Request(#[from] http::Error),
}

impl KubeletError {
    /// The status for the client.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

/// A wrong `--kubelet`.
#[derive(Debug, thiserror::Error)]
#[error("--kubelet {url:?} is not a base URL: write it like https://127.0.0.1:10250")]
pub(crate) struct UrlError {
    url: String,
}

impl Kubelet {
    /// A kubelet at `url`: a scheme, a host and a port (10250 if absent), nothing else.
    ///
    /// # Errors
    ///
    /// Where `url` is something else.
    pub(crate) fn new(url: &str, tls: Tls) -> Result<Self, UrlError> {
        let wrong = || UrlError {
            url: url.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        let (scheme, authority) = match (uri.scheme(), uri.authority()) {
            (Some(scheme), Some(authority)) if uri.path() == "/" && uri.query().is_none() => {
                (scheme.clone(), authority.clone())
            }
            _ => return Err(wrong()),
        };
        if scheme != Scheme::HTTPS && scheme != Scheme::HTTP || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let port = authority.port_u16().unwrap_or(10250);
        let dialer = Dialer::new(
            authority.host(),
            port,
            (scheme == Scheme::HTTPS).then_some(tls),
        )
        .map_err(|_| wrong())?;
        let pool = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(POOL_SIZE)
            .set_host(false)
            .build(dialer.clone());
        Ok(Self {
            scheme,
            authority,
            dialer,
            pool,
            declared: Declared::default(),
        })
    }

    /// Whether the kubelet takes WebSockets itself.
    pub(crate) fn declared(&self) -> &Declared {
        &self.declared
    }

    /// Passes a request on whose hop-by-hop headers are already gone.
    pub(crate) async fn forward(
        &self,
        mut request: Request<Incoming>,
    ) -> Result<Response<Incoming>, KubeletError> {
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = self.uri(target)?;
        *request.version_mut() = Version::HTTP_11;
        request.headers_mut().insert(header::HOST, self.host()?);
        self.pool.request(request).await.map_err(KubeletError::Pool)
    }

    /// Asks for an upgrade, on a connection of its own.
    pub(crate) async fn upgrade(
        &self,
        method: Method,
        target: Option<PathAndQuery>,
        mut headers: HeaderMap,
    ) -> Result<Answer, KubeletError> {
        let stream = self.dialer.dial().await?;
        headers.insert(header::HOST, self.host()?);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = method;
        *request.uri_mut() = target.into();
        *request.headers_mut() = headers;
        let exchange = async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            // Ends with the upgrade, with the refusal's body, or with the connection.
            tokio::spawn(connection.with_upgrades());
            let mut response = sender.send_request(request).await?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Ok(Answer::Refused(response));
            }
            let upgraded = hyper::upgrade::on(&mut response).await?;
            let headers = std::mem::take(response.headers_mut());
            Ok(match upgraded.downcast::<TokioIo<Upstream>>() {
                Ok(parts) => {
                    let opened = Opened {
                        stream: parts.io.into_inner(),
                        early: parts.read_buf.to_vec(),
                    };
                    Answer::Switched(headers, opened)
                }
                // Not reachable: the connection is the one that was given above.
                Err(_) => Answer::Refused(response),
            })
        };
        match timeout(UPGRADE_TIMEOUT, exchange).await {
            Ok(result) => result.map_err(KubeletError::Http),
            Err(_) => Err(KubeletError::Late),
        }
    }

    fn uri(&self, target: Option<PathAndQuery>) -> Result<Uri, http::Error> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(target.unwrap_or_else(|| PathAndQuery::from_static("/")))
            .build()
    }

    fn host(&self) -> Result<HeaderValue, http::Error> {
        Ok(HeaderValue::from_str(self.authority.as_str())?)
    }
}

/// The innermost error's words: hyper's own say "client error (Connect)" and nothing more.
fn root(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
