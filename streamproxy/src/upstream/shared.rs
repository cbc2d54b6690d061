//! Connections to one server that many watches share: HTTP/2.
//!
//! A watch costs a connection's memory otherwise, and hardly ever has something to say. No watch can
//! hold up another on its connection by not being read: the connection's window has room for all of
//! its streams' windows.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{ThreadId, current};
use std::time::{Duration, Instant};

use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{sleep, timeout};

use super::dial::{ANSWER_TIMEOUT, DialError, Dialer};
use super::pool::{Leased, Lost};
use super::{Outgoing, UpstreamError};
use crate::stream::Upstream;

/// Watches on one connection at most; the server's own limit may be lower.
const WATCHES: usize = 100;

/// Bytes that a watch's client may leave unread: an object is smaller than 1.5 MiB, most are far.
const WINDOW: u32 = 64 << 10;

/// How often a connection is asked whether its server is there, and how long that may take: else a
/// machine that vanished is missed by nobody.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(15);

/// The open connections, of each thread its own, and how to make them.
#[derive(Debug)]
pub(super) struct Shared {
    noun: &'static str,
    dialer: Dialer,
    lines: Mutex<HashMap<ThreadId, Vec<Line>>>,
    /// Held by whoever makes one.
    opening: tokio::sync::Mutex<Option<Failure>>,
    /// The server spoke HTTP/1.1 when it was last dialed: there is nothing to share, and so nothing to
    /// wait for.
    alone: AtomicBool,
}

/// The last try to make a connection did not.
#[derive(Debug)]
struct Failure {
    at: Instant,
    error: DialError,
}

/// A connection for a watch.
#[derive(Debug)]
pub(super) enum Taken {
    /// That others use too.
    Shared(Line),
    /// Of its own: the server speaks HTTP/1.1 only.
    Own(Upstream),
}

/// A connection. Each of its watches holds a part of `watches`.
#[derive(Debug, Clone)]
pub(super) struct Line {
    sender: SendRequest<Outgoing>,
    watches: Arc<()>,
    /// How many the server takes.
    limit: Arc<AtomicUsize>,
}

impl Shared {
    /// None yet; `dialer` lets the server choose HTTP/2.
    pub(super) fn new(noun: &'static str, dialer: Dialer) -> Self {
        Self {
            noun,
            dialer,
            lines: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            alone: AtomicBool::new(false),
        }
    }

    /// A connection that has room, or a new one. Many that want one at once, as after a restart, share
    /// what the first makes, and its failure too: a server that does not answer must not keep the last
    /// of them waiting for as many timeouts as there are others before it.
    pub(super) async fn take(&self) -> Result<Taken, UpstreamError> {
        if let Some(line) = self.with_room() {
            return Ok(Taken::Shared(line));
        }
        if self.alone.load(Ordering::Relaxed) {
            return self.dial().await;
        }
        let asked = Instant::now();
        let mut opening = self.opening.lock().await;
        if let Some(line) = self.with_room() {
            return Ok(Taken::Shared(line));
        }
        match &*opening {
            Some(failure) if failure.at >= asked => return Err(failure.error.clone().into()),
            _ => {}
        }
        let dialed = self.dial().await;
        if let Err(UpstreamError::Dial(error)) = &dialed {
            *opening = Some(Failure {
                at: Instant::now(),
                error: error.clone(),
            });
        }
        dialed
    }

    /// A connection of this thread's that has room.
    fn with_room(&self) -> Option<Line> {
        let mut all = self.lines();
        let lines = all.get_mut(&current().id())?;
        lines.retain(|line| !line.sender.is_closed());
        lines.iter().find(|line| line.has_room()).cloned()
    }

    async fn dial(&self) -> Result<Taken, UpstreamError> {
        let stream = self.dialer.dial().await?;
        self.alone.store(!stream.is_http2(), Ordering::Relaxed);
        if !stream.is_http2() {
            return Ok(Taken::Own(stream));
        }
        match timeout(ANSWER_TIMEOUT, self.open(stream)).await {
            Ok(opened) => opened.map(Taken::Shared),
            Err(_) => Err(self.dialer.late().into()),
        }
    }

    /// Makes a connection of a stream on which both sides agreed on HTTP/2.
    async fn open(&self, stream: Upstream) -> Result<Line, UpstreamError> {
        let failed = |source| UpstreamError::Http {
            noun: self.noun,
            source,
        };
        let (sender, mut connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW * u32::try_from(WATCHES).unwrap_or(1))
            .initial_max_send_streams(0)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        // A watch more than the server takes would wait for another's end: its settings come first.
        // hyper says what they are, but not when they come.
        while connection.current_max_send_streams() == 0 && !sender.is_closed() {
            sleep(Duration::from_millis(1)).await;
        }
        let limit = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
        let line = Line {
            sender,
            watches: Arc::new(()),
            limit: Arc::clone(&limit),
        };
        // Ends with its last watch, once it is not kept any more, and with the server. It is polled for
        // each new watch, so what the server changes its mind to is known for the next.
        tokio::spawn(poll_fn(move |cx| {
            let polled = Pin::new(&mut connection).poll(cx);
            limit.store(connection.current_max_send_streams(), Ordering::Relaxed);
            polled
        }));
        let mut all = self.lines();
        all.entry(current().id()).or_default().push(line.clone());
        Ok(line)
    }

    /// Lets go of connections without watches.
    pub(super) fn reap(&self) {
        for lines in self.lines().values_mut() {
            lines.retain(|line| Arc::strong_count(&line.watches) > 1 && !line.sender.is_closed());
        }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<ThreadId, Vec<Line>>> {
        // Nothing panics while it is held.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn has_room(&self) -> bool {
        let watches = Arc::strong_count(&self.watches) - 1;
        watches < self.limit.load(Ordering::Relaxed).min(WATCHES)
    }

    /// Sends a request that has `Host`, over HTTP/2's `:authority`.
    pub(super) async fn exchange(
        mut self,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Leased>, Lost> {
        let origin = request.uri().clone();
        let host = request.headers_mut().remove(HOST);
        let authority = host
            .as_ref()
            .and_then(|host| Authority::try_from(host.as_bytes()).ok())
            .unwrap_or_else(|| Authority::from_static("kubernetes"));
        let mut parts = origin.clone().into_parts();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(authority);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        match self.sender.try_send_request(request).await {
            Ok(response) => Ok(response.map(|body| Leased::shared(body, self.watches))),
            Err(mut error) => Err(Lost {
                // As it was, for another connection.
                request: error.take_message().map(|mut request| {
                    *request.uri_mut() = origin;
                    if let Some(host) = host {
                        request.headers_mut().insert(HOST, host);
                    }
                    request
                }),
                error: error.into_error(),
            }),
        }
    }
}
