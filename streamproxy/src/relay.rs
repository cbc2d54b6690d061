//! Drives one translation: reads, lets the machine of crate `translate` decide, writes.
//!
//! One task owns both connections and the machine; there are no locks and no channels. Buffers
//! belong to the worker thread while they are empty ([`pool`]), so an idle session holds none.
//!
//! ```text
//!  client.buffer ──ranges──▶ upstream's chunks ──▶ upstream.io
//!  upstream.buffer ─ranges─▶ client's chunks ────▶ client.io
//! ```
//!
//! A leg's buffer is read into again once the other leg took what it held; the client's also while
//! it did not, slowly and up to a budget (`translate::flow`).

mod leg;
pub(crate) mod pool;
mod tcp_info;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use streamway_translate::flow::{self, Permit, Trickle};
use streamway_translate::{End, Outputs, Refusal, Translate};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

pub(crate) use leg::Leg;
use tcp_info::TcpInfo;

/// How long a client that has everything may take to close its side.
const LINGER: Duration = Duration::from_secs(10);

/// How long the upstream may take to accept the frames that end its session.
const FAREWELL: Duration = Duration::from_secs(1);

/// How often the kernel is asked whether a client that is not being read has left.
const GLANCE: Duration = Duration::from_millis(500);

/// How often the kernel is asked whether the peers still acknowledge.
const CHECK: Duration = Duration::from_secs(15);

/// Rounds of one poll before other tasks get their turn.
const ROUNDS: usize = 16;

/// A byte stream with a TCP connection under it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// The connection at the bottom.
    fn tcp(&self) -> &TcpStream;
}

/// Has the upstream open the machine's streams: until it has, or the session has ended.
pub(crate) async fn open<U: Stream, T: Translate>(
    upstream: &mut Leg<U>,
    machine: &mut T,
    out: &mut Outputs,
) {
    let mut alarm = Alarm::new(Instant::now());
    poll_fn(|cx| {
        let now = Instant::now();
        while !machine.is_open() && machine.end().is_none() {
            if machine.poll_timeout().is_some_and(|due| now >= due) {
                machine.handle_timeout(now, true, out);
                continue;
            }
            if let Err(error) = upstream.write(cx, &mut out.upstream, &[]) {
                machine.handle_upstream_gone(&error.to_string(), out);
                continue;
            }
            match upstream.read(cx, flow::READ) {
                Poll::Pending => {
                    if let Some(due) = machine.poll_timeout()
                        && alarm.poll(cx, due)
                    {
                        continue;
                    }
                    return Poll::Pending;
                }
                Poll::Ready(result) => hear_upstream(result, upstream, machine, now, out),
            }
        }
        Poll::Ready(())
    })
    .await;
}

/// Runs a session to its end: until the client has everything and has closed, or is gone.
/// `refused` is told of each forwarded connection that was refused.
///
/// Dropping the future drops both connections.
pub(crate) async fn run<C: Stream, U: Stream, T: Translate>(
    client: Leg<C>,
    upstream: Leg<U>,
    machine: &mut T,
    out: Outputs,
    shutdown: WaitForCancellationFutureOwned,
    refused: impl FnMut(&Refusal) + Unpin,
) -> End {
    let now = Instant::now();
    Relay {
        client,
        upstream: Some(upstream),
        machine,
        out,
        refused,
        trickle: Trickle::new(),
        last_check: now,
        last_glance: now,
        ending: None,
        alarm: Alarm::new(now),
        shutdown: Some(Box::pin(shutdown)),
    }
    .await
}

/// Hands the machine what a read of the upstream brought.
fn hear_upstream<U: Stream, T: Translate>(
    result: io::Result<usize>,
    upstream: &mut Leg<U>,
    machine: &mut T,
    now: Instant,
    out: &mut Outputs,
) {
    match result {
        Ok(from) if from < upstream.buffer.len() => {
            let input = upstream.buffer.get(from..).unwrap_or_default();
            machine.handle_upstream(input, from, now, out);
        }
        Ok(_) => machine.handle_upstream_gone("it closed the connection", out),
        // Without TLS's goodbye, as processes that are killed do.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            machine.handle_upstream_gone("it closed the connection", out);
        }
        Err(error) => machine.handle_upstream_gone(&error.to_string(), out),
    }
}

struct Relay<'a, C, U, T, R> {
    client: Leg<C>,
    /// `None` once the session has ended and the upstream was told.
    upstream: Option<Leg<U>>,
    machine: &'a mut T,
    out: Outputs,
    refused: R,
    trickle: Trickle,
    last_check: Instant,
    last_glance: Instant,
    ending: Option<Ending>,
    alarm: Alarm,
    shutdown: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

struct Ending {
    farewell_by: Instant,
    /// Set once everything is written and our side is closed.
    linger_by: Option<Instant>,
}

impl<C: Stream, U: Stream, T: Translate, R: FnMut(&Refusal) + Unpin> Future
    for Relay<'_, C, U, T, R>
{
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        let now = Instant::now();
        if let Some(shutdown) = &mut this.shutdown
            && shutdown.as_mut().poll(cx).is_ready()
        {
            this.shutdown = None;
            this.machine.handle_shutdown(&mut this.out);
        }
        this.tick(now);
        for _ in 0..ROUNDS {
            let progress = if this.machine.end().is_some() {
                match this.finish(cx, now) {
                    Poll::Ready(end) => return Poll::Ready(end),
                    Poll::Pending => false,
                }
            } else {
                this.relay(cx, now)
            };
            if !progress {
                if this.machine.end().is_some() && this.ending.is_none() {
                    continue;
                }
                return this.sleep(cx, now);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<C: Stream, U: Stream, T: Translate, R: FnMut(&Refusal) + Unpin> Relay<'_, C, U, T, R> {
    /// One round of writes and reads. Whether anything moved.
    fn relay(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(upstream) = &mut self.upstream else {
            return false;
        };
        let mut progress = false;
        match self
            .client
            .write(cx, &mut self.out.client, &upstream.buffer)
        {
            Ok(wrote) => progress |= wrote,
            Err(error) => {
                let detail = format!("the client's connection failed: {error}");
                self.machine.handle_client_gone(&detail, &mut self.out);
                return true;
            }
        }
        // Nothing is lost where the upstream takes no more bytes but still has some for us: reading
        // goes on, and tells how it ended.
        match upstream.write(cx, &mut self.out.upstream, &self.client.buffer) {
            Ok(wrote) => progress |= wrote,
            Err(_) => upstream.stop_writing(&mut self.out.upstream),
        }
        let client_took_all = self.client.took_all(&self.out.client);
        let upstream_took_all = upstream.took_all(&self.out.upstream);
        if client_took_all {
            upstream.release();
        }
        if upstream_took_all {
            self.client.release();
        }
        if client_took_all && let Poll::Ready(result) = upstream.read(cx, flow::READ) {
            hear_upstream(result, upstream, self.machine, now, &mut self.out);
            while let Some(refusal) = self.machine.poll_refusal() {
                (self.refused)(&refusal);
            }
            progress = true;
        }
        if let Permit::Read(most) = self.trickle.permit(self.client.buffer.len(), now) {
            match self.client.read(cx, most) {
                Poll::Pending => {}
                Poll::Ready(Ok(from)) if from < self.client.buffer.len() => {
                    self.trickle.note_read(now);
                    let input = self.client.buffer.get_mut(from..).unwrap_or_default();
                    self.machine.handle_client(input, from, now, &mut self.out);
                    progress = true;
                }
                Poll::Ready(Ok(_)) => {
                    self.machine
                        .handle_client_gone("the client hung up", &mut self.out);
                    return true;
                }
                Poll::Ready(Err(error)) => {
                    let detail = format!("the client's connection failed: {error}");
                    self.machine.handle_client_gone(&detail, &mut self.out);
                    return true;
                }
            }
        }
        progress
    }

    /// The session has ended: writes what is left, closes, lingers.
    fn finish(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<End> {
        let ending = self.ending.get_or_insert(Ending {
            farewell_by: now + FAREWELL,
            linger_by: None,
        });
        let tells_client = self.machine.end().is_some_and(End::tells_client);
        let empty = Vec::new();
        let mut client_done = false;
        let from_upstream = self.upstream.as_ref().map_or(&empty, |leg| &leg.buffer);
        match self.client.write(cx, &mut self.out.client, from_upstream) {
            Ok(_) if self.client.took_all(&self.out.client) && !self.client.flushing => {
                if !tells_client {
                    client_done = true;
                } else if self.client.close(cx) {
                    let linger_by = *ending.linger_by.get_or_insert(now + LINGER);
                    client_done = now >= linger_by;
                }
            }
            Ok(_) => client_done = !tells_client,
            Err(_) => client_done = true,
        }
        // What a leaving client still sends is read and dropped: unread bytes would turn our close
        // into a reset, and the reset could overtake the tail of the output.
        if !client_done && self.client.drain(cx, &self.out.upstream) {
            client_done = true;
        }
        let mut upstream_done = true;
        if let Some(upstream) = &mut self.upstream {
            let wrote = upstream.write(cx, &mut self.out.upstream, &self.client.buffer);
            let all = upstream.took_all(&self.out.upstream) && !upstream.flushing;
            upstream_done = wrote.is_err() || all || now >= ending.farewell_by;
        }
        // The upstream's buffer holds the output's tail until the client has it.
        if upstream_done && self.client.took_all(&self.out.client) {
            self.upstream = None;
        }
        if client_done && upstream_done {
            let end = self.machine.end().cloned();
            return end.map_or(Poll::Pending, Poll::Ready);
        }
        match self.sleep(cx, now) {
            Poll::Ready(end) => Poll::Ready(end),
            Poll::Pending => Poll::Pending,
        }
    }

    /// What is due by now.
    fn tick(&mut self, now: Instant) {
        if self.machine.end().is_some() {
            if now >= self.last_check + CHECK {
                self.last_check = now;
                // A client that vanished while its tail was being written.
                if self.client.info().is_some_and(TcpInfo::peer_is_silent) {
                    self.out.client.clear();
                    self.client.stop_writing(&mut self.out.client);
                }
            }
            return;
        }
        if self.machine.poll_timeout().is_some_and(|due| now >= due) {
            let reading = self.client.took_all(&self.out.client);
            self.machine.handle_timeout(now, reading, &mut self.out);
        }
        if now >= self.last_glance + GLANCE && self.client_waits(now) {
            self.last_glance = now;
            if self.client.info().is_some_and(TcpInfo::peer_closed) {
                self.machine
                    .handle_client_gone("the client hung up", &mut self.out);
            }
        }
        if now >= self.last_check + CHECK {
            self.last_check = now;
            if self.client.info().is_some_and(TcpInfo::peer_is_silent) {
                let detail = "the client's machine answers nothing any more";
                self.machine.handle_client_gone(detail, &mut self.out);
                self.out.client.clear();
            }
            let upstream = self.upstream.as_ref().and_then(Leg::info);
            if upstream.is_some_and(TcpInfo::peer_is_silent) {
                let detail = "the node's machine answers nothing any more";
                self.machine.handle_upstream_gone(detail, &mut self.out);
            }
        }
    }

    fn client_waits(&self, now: Instant) -> bool {
        !matches!(
            self.trickle.permit(self.client.buffer.len(), now),
            Permit::Read(_)
        )
    }

    /// Waits for readiness (registered by the polls before) or for the next time that something is
    /// due.
    fn sleep(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<End> {
        let mut due = self.last_check + CHECK;
        if let Some(ending) = &self.ending {
            due = due.min(ending.linger_by.unwrap_or(due));
            if self.upstream.is_some() && now < ending.farewell_by {
                due = due.min(ending.farewell_by);
            }
        } else {
            due = due.min(self.machine.poll_timeout().unwrap_or(due));
            match self.trickle.permit(self.client.buffer.len(), now) {
                Permit::Wait(at) => due = due.min(at).min(now + GLANCE),
                Permit::Full => due = due.min(now + GLANCE),
                _ => {}
            }
        }
        if self.alarm.poll(cx, due) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// A timer that is moved only to ring earlier: times that recede with every byte are looked at when
/// the old one rings.
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    rings: Instant,
}

impl Alarm {
    fn new(now: Instant) -> Self {
        let rings = now + CHECK;
        Self {
            sleep: Box::pin(tokio::time::sleep_until(rings.into())),
            rings,
        }
    }

    /// Whether `due` has come; if not, the task is woken then or earlier.
    fn poll(&mut self, cx: &mut Context<'_>, due: Instant) -> bool {
        if due < self.rings || self.sleep.is_elapsed() {
            self.rings = due;
            self.sleep.as_mut().reset(due.into());
        }
        self.sleep.as_mut().poll(cx).is_ready()
    }
}
