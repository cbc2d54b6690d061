//! Connections to one server that wait for the next request.
//!
//! A connection has no task of its own. Whoever uses it drives it: the request's task until the
//! answer's head is there, then the answer's body ([`Leased`]) whenever it is asked for bytes. So a
//! byte wakes one task on its way through, and an idle watch costs no second one. Only where the answer
//! comes before the request was sent to its end, the connection is a task from there on, and serves no other.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{ThreadId, current};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::Outgoing;
use crate::stream::Upstream;

/// How long a connection may idle; kubelets and API servers close theirs after 90 s.
const IDLE: Duration = Duration::from_secs(60);

/// How old a connection may get: servers check a client's certificate with each request, and ours may
/// have been replaced meanwhile.
const AGE: Duration = Duration::from_secs(300);

/// Idle connections that are kept.
const KEPT: usize = 128;

/// Idle connections to one server, the last used first; of each thread its own, since a connection wakes
/// the thread that made it.
#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<HashMap<ThreadId, Idle>>);

#[allow(clippy::vec_box, reason = "they come and go in their boxes")]
type Idle = Vec<Box<Pooled>>;

/// A connection, in a box wherever it goes: it is some 700 bytes, and a request moves it a dozen times.
#[derive(Debug)]
pub(super) struct Pooled {
    sender: SendRequest<Outgoing>,
    /// None where it is over. It is let go of then, since a request that it never took comes back only so.
    connection: Option<Connection<TokioIo<Upstream>, Outgoing>>,
    born: Instant,
    idle_since: Instant,
}

/// A request that a connection was lost with, given back where nothing of it was sent.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) error: hyper::Error,
    pub(super) request: Option<Request<Outgoing>>,
}

impl Pool {
    /// A connection that was open when it was last looked at. [`Pooled::exchange`] looks before a byte is
    /// sent, and gives the request back where the connection is over by then.
    pub(super) fn take(&self) -> Option<Box<Pooled>> {
        loop {
            let pooled = self.idle().get_mut(&current().id())?.pop()?;
            if pooled.is_ready() {
                return Some(pooled);
            }
        }
    }

    fn give(&self, mut pooled: Box<Pooled>) {
        pooled.idle_since = Instant::now();
        let mut all = self.idle();
        let idle = all.entry(current().id()).or_default();
        if idle.len() < KEPT {
            idle.push(pooled);
        }
    }

    pub(super) fn reap(&self) {
        for idle in self.idle().values_mut() {
            idle.retain_mut(|pooled| pooled.is_usable());
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, HashMap<ThreadId, Idle>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pooled {
    pub(super) async fn new(stream: Upstream) -> Result<Box<Self>, hyper::Error> {
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let now = Instant::now();
        Ok(Box::new(Self {
            sender,
            connection: Some(connection),
            born: now,
            idle_since: now,
        }))
    }

    /// Reads and writes what can be, and tells whether the connection is still there.
    fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        self.connection
            .take_if(|connection| Pin::new(connection).poll(cx).is_ready());
        self.connection.is_some()
    }

    /// Reads what the server may have sent, the end of the connection most likely.
    fn is_usable(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop())) && self.is_ready()
    }

    /// Whether it may take a request, as far as was seen.
    fn is_ready(&self) -> bool {
        let now = Instant::now();
        self.sender.is_ready() && now - self.idle_since < IDLE && now - self.born < AGE
    }

    /// Sends a request. The connection goes with the answer's body, and from there to `pool`.
    pub(super) async fn exchange(
        mut self: Box<Self>,
        mut request: Request<Outgoing>,
        pool: Arc<Pool>,
    ) -> Result<Response<Leased>, Lost> {
        let upload = request.body_mut().upload();
        let mut answer = pin!(self.sender.try_send_request(request));
        let answer = poll_fn(|cx| {
            self.drive(cx);
            answer.as_mut().poll(cx)
        });
        match answer.await {
            Ok(response) => {
                let uploads = upload.is_some_and(|upload| Arc::strong_count(&upload) > 1);
                if uploads && let Some(connection) = self.connection.take() {
                    // The rest of the request goes on whether or not its client reads the answer meanwhile.
                    tokio::spawn(connection);
                }
                let held = self.connection.is_some();
                let held = held.then_some(Held::Own { pooled: self, pool });
                Ok(response.map(|body| Leased {
                    body,
                    held,
                    ahead: None,
                }))
            }
            Err(mut error) => Err(Lost {
                request: error.take_message(),
                error: error.into_error(),
            }),
        }
    }
}

/// An answer's body, which drives the connection that it comes by, and gives it back at its end.
/// Dropped before its end, it closes the connection, so the server learns of it.
#[derive(Debug)]
pub(crate) struct Leased {
    body: Incoming,
    held: Option<Held>,
    /// What comes next, where it is known.
    ahead: Option<Option<Result<Frame<Bytes>, hyper::Error>>>,
}

/// What a body has of its connection.
#[derive(Debug)]
enum Held {
    /// All of it.
    Own {
        pooled: Box<Pooled>,
        pool: Arc<Pool>,
    },
    /// A part, which is counted by being held.
    Shared { _part: Arc<()> },
}

impl Leased {
    /// A body that comes by a connection which others drive, and use too.
    pub(super) fn shared(body: Incoming, part: Arc<()>) -> Self {
        Self {
            body,
            held: Some(Held::Shared { _part: part }),
            ahead: None,
        }
    }

    /// The body has ended: its connection may take the next request, unless this one is still being
    /// sent.
    fn end(&mut self) {
        if let Some(Held::Own { mut pooled, pool }) = self.held.take()
            && pooled.is_usable()
        {
            pool.give(pooled);
        }
    }
}

impl Leased {
    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(ahead) = self.ahead.take() {
            return Poll::Ready(ahead);
        }
        let mut polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_pending()
            && let Some(Held::Own { pooled, .. }) = &mut self.held
        {
            if !pooled.drive(cx) {
                self.held = None;
            }
            polled = Pin::new(&mut self.body).poll_frame(cx);
        }
        if let Poll::Ready(None) = polled {
            self.end();
        }
        polled
    }
}

impl Body for Leased {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let polled = this.poll_next(cx);
        // The end of a body of no said length mostly comes with its last bytes. Who knows it then can
        // send both at once: in HTTP/2 that saves a frame, a TLS record and a system call. Watches have
        // no end to look for.
        if let (Poll::Ready(Some(Ok(_))), Some(Held::Own { .. })) = (&polled, &this.held)
            && !this.body.is_end_stream()
            && let Poll::Ready(next) = this.poll_next(cx)
        {
            this.ahead = Some(next);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.ahead {
            Some(ahead) => ahead.is_none(),
            None => self.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.ahead {
            // hyper's counts what is left in it, without what was taken out.
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        // A server that knows a body's length does not ask for the end behind the last byte.
        if self.body.is_end_stream() {
            self.end();
        }
    }
}
