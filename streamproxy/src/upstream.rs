//! A server behind the proxy, the kubelet or an API server: plain requests over pooled connections,
//! upgrades over one of their own.

mod dial;
mod outgoing;
mod pool;
mod shared;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

pub(crate) use dial::DialError;
use dial::Dialer;
pub(crate) use outgoing::Outgoing;
pub(crate) use pool::Leased;
use pool::{Lost, Pool, Pooled};
use shared::{Shared, Taken};
pub(crate) use tls::{Tls, verifier};

use crate::stream::{Opened, Upstream};

/// How long a server may take to answer an upgrade: it asks others first.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a request is sent that may be: over so many connections, of which the last is a new one.
const TRIES: u32 = 3;

/// What a server is, for messages and defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// "the kubelet"
    pub(crate) noun: &'static str,
    /// The flag that names it.
    pub(crate) flag: &'static str,
    /// Its port where the URL has none.
    pub(crate) port: u16,
    /// A URL that is right.
    pub(crate) example: &'static str,
}

/// A server, and one way to show oneself to it.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    noun: &'static str,
    host: HeaderValue,
    dialer: Dialer,
    pool: Arc<Pool>,
    shared: Arc<Shared>,
    /// Connections that were made for [`send`](Self::send).
    dialed: Arc<AtomicUsize>,
}

/// How a server answered an upgrade.
#[derive(Debug)]
pub(crate) enum Answer {
    /// 101: these headers, and the connection.
    Switched(HeaderMap, Opened<Upstream>),
    /// Anything else.
    Refused(Response<Incoming>),
}

/// Why a server could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum UpstreamError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection failed during the request.
    #[error("the connection to {noun} failed during the request: {}", root(.source))]
    Http {
        /// Whose.
        noun: &'static str,
        /// Why.
        source: hyper::Error,
    },
    /// No answer in time.
    #[error("{noun} did not answer the upgrade within 30 s")]
    Late {
        /// Who.
        noun: &'static str,
    },
}

impl UpstreamError {
    /// The status for the client.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Late { .. } => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

/// A request that was not answered. Where nothing of it was sent, it is given back.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) error: UpstreamError,
    pub(crate) request: Option<Box<Request<Outgoing>>>,
}

/// A wrong URL.
#[derive(Debug, thiserror::Error)]
#[error("{flag} {url:?} is not a base URL: write it like {example}")]
pub(crate) struct UrlError {
    flag: &'static str,
    url: String,
    example: &'static str,
}

impl Server {
    /// A server at `url`: a scheme, a host and a port, nothing else.
    ///
    /// # Errors
    ///
    /// Where `url` is something else.
    pub(crate) fn new(kind: Kind, url: &str, tls: &Tls) -> Result<Self, UrlError> {
        let wrong = || UrlError {
            flag: kind.flag,
            url: url.to_owned(),
            example: kind.example,
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
        let port = authority.port_u16().unwrap_or(kind.port);
        let tls = (scheme == Scheme::HTTPS).then(|| tls.clone());
        let dialer = |tls| Dialer::new(kind.noun, authority.host(), port, tls).map_err(|_| wrong());
        Ok(Self {
            noun: kind.noun,
            host: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?,
            shared: Arc::new(Shared::new(
                kind.noun,
                dialer(tls.as_ref().map(Tls::with_http2))?,
            )),
            dialer: dialer(tls)?,
            pool: Arc::new(Pool::default()),
            dialed: Arc::default(),
        })
    }

    /// Its `Host`, as the URL has it.
    pub(crate) fn host(&self) -> HeaderValue {
        self.host.clone()
    }

    /// A connection of one's own.
    pub(crate) async fn dial(&self) -> Result<Upstream, DialError> {
        self.dialer.dial().await
    }

    /// Closes pooled connections that the server closed, or that idled for long.
    pub(crate) fn reap(&self) {
        self.pool.reap();
        self.shared.reap();
    }

    /// How many connections were made for requests. Where one asks all the time and this grows, the
    /// server closed one's connection: it may be another process by now.
    pub(crate) fn dialed(&self) -> usize {
        self.dialed.load(Ordering::Relaxed)
    }

    /// Sends a request whose hop-by-hop headers are gone and whose `Host` is set, over a pooled
    /// connection or a new one.
    ///
    /// A pooled connection may be closed by its server at any time: a request of which nothing was
    /// sent goes over another, and so does one without a body that changes nothing.
    pub(crate) async fn send(
        &self,
        request: Request<Outgoing>,
    ) -> Result<Response<Leased>, Unanswered> {
        let mut request = request;
        *request.version_mut() = http::Version::HTTP_11;
        let mut left = TRIES;
        while left > 1
            && let Some(pooled) = self.pool.take()
        {
            let again = repeatable(&request);
            let lost = match self.exchange(pooled, request).await {
                Ok(response) => return Ok(response),
                Err(lost) => lost,
            };
            request = match (lost.request, again) {
                (Some(unsent), _) => unsent,
                (None, Some(again)) => {
                    left -= 1;
                    again
                }
                (None, None) => return Err(self.unanswered(lost.error, None)),
            };
        }
        self.dialed.fetch_add(1, Ordering::Relaxed);
        match self.dialer.dial().await {
            Ok(stream) => self.over(stream, request).await,
            Err(error) => Err(Unanswered {
                error: error.into(),
                request: Some(Box::new(request)),
            }),
        }
    }

    /// Sends a watch, over a connection that it shares with others where the server speaks HTTP/2;
    /// otherwise as [`send`](Self::send).
    pub(crate) async fn watch(
        &self,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Leased>, Unanswered> {
        let mut left = TRIES;
        loop {
            let line = match self.shared.take().await {
                Ok(Taken::Shared(line)) => line,
                Ok(Taken::Own(stream)) => return self.over(stream, request).await,
                Err(error) => {
                    return Err(Unanswered {
                        error,
                        request: Some(Box::new(request)),
                    });
                }
            };
            let again = repeatable(&request);
            let lost = match line.exchange(request).await {
                Ok(response) => return Ok(response),
                Err(lost) => lost,
            };
            left -= 1;
            // A connection that its server ended meanwhile: it is closed by now, and not taken again.
            let ended = lost.error.is_canceled() || lost.error.is_closed();
            match lost.request.or(again) {
                Some(unsent) if ended && left > 0 => request = unsent,
                unsent => return Err(self.unanswered(lost.error, unsent)),
            }
        }
    }

    /// Sends a request over a new connection.
    async fn over(
        &self,
        stream: Upstream,
        request: Request<Outgoing>,
    ) -> Result<Response<Leased>, Unanswered> {
        let pooled = match Pooled::new(stream).await {
            Ok(pooled) => pooled,
            Err(error) => return Err(self.unanswered(error, Some(request))),
        };
        self.exchange(pooled, request)
            .await
            .map_err(|lost| self.unanswered(lost.error, lost.request))
    }

    async fn exchange(
        &self,
        pooled: Box<Pooled>,
        request: Request<Outgoing>,
    ) -> Result<Response<Leased>, Lost> {
        let pool = Arc::clone(&self.pool);
        pooled.exchange(request, pool).await
    }

    fn unanswered(&self, source: hyper::Error, request: Option<Request<Outgoing>>) -> Unanswered {
        let noun = self.noun;
        Unanswered {
            error: UpstreamError::Http { noun, source },
            request: request.map(Box::new),
        }
    }

    /// Asks for an upgrade, on a connection of its own. `headers` hold no hop-by-hop ones but
    /// `Upgrade`, and `Host`.
    pub(crate) async fn upgrade(
        &self,
        method: Method,
        target: Option<PathAndQuery>,
        mut headers: HeaderMap,
    ) -> Result<Answer, UpstreamError> {
        let noun = self.noun;
        let stream = self.dialer.dial().await?;
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
            Ok(result) => result.map_err(|source| UpstreamError::Http { noun, source }),
            Err(_) => Err(UpstreamError::Late { noun }),
        }
    }
}

/// A copy of a request that may be sent twice: it has no body and changes nothing.
fn repeatable(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    let safe = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    );
    if !safe || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(Outgoing::default());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// The innermost error's words: hyper's own say "client error (Connect)" and nothing more.
fn root(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

#[cfg(test)]
mod tests;
