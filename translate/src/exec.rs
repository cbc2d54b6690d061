//! exec and attach: `v5.channel.k8s.io` on the client's side, SPDY `v4.channel.k8s.io` on the
//! upstream's.
//!
//! ```text
//!   Opening ── every stream replied ──▶ Running ── status, and both outputs ended ──▶ Ended
//!      │                                   │
//!      └── refused, late, gone ────────────┴── a leg gone, silent or out of protocol ──▶ Ended
//! ```
//!
//! | from | event | to the other side |
//! |---|---|---|
//! | client | binary or text message on stdin, resize | DATA on that stream |
//! | client | `ff 00`, `ff 04` | FIN on that stream |
//! | client | Ping | nothing; Pong back |
//! | client | Close, end of file | RST on every stream, GOAWAY |
//! | upstream | DATA on stdout, stderr | one message per run of bytes |
//! | upstream | DATA on error | kept until the stream ends |
//! | upstream | error, stdout and stderr ended | the status, then Close 1000 |
//! | upstream | GOAWAY, end of file without a status | a Failure status, then Close 1000 |

mod client;
mod heartbeat;
mod upstream;

use std::time::{Duration, Instant};

use streamway_kstream::channel::{Channel, StreamOptions};
use streamway_kstream::status::Status;
use streamway_kstream::ws;
use streamway_spdy::{Limits, RstStatus, Session, Side, StreamId};

use crate::{Bytes, End, Outcome, Outputs, Translate};
use heartbeat::Heartbeat;

/// How long the upstream may take to reply to every stream. Kubernetes' own peers wait as long on
/// both sides (`createStreamResponseTimeout`, `DefaultStreamCreationTimeout`).
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest status that is taken from the error stream. Kubernetes' are a few hundred bytes and
/// carry the runtime's message.
pub const MAX_STATUS: usize = 64 << 10;

/// Most that may wait for an upstream that makes us answer and does not read the answers.
const MAX_OWN_UPSTREAM: usize = 64 << 10;

/// One exec or attach session. See the [crate's contract](crate).
#[derive(Debug)]
pub struct Exec {
    ws: ws::Decoder,
    message: client::Message,
    spdy: Session,
    streams: Streams,
    heartbeat: Heartbeat,
    opens_by: Option<Instant>,
    /// What the error stream said so far; at most [`MAX_STATUS`].
    status: Vec<u8>,
    truncated: bool,
    bytes: Bytes,
    end: Option<End>,
}

/// The SPDY streams of a session, by channel.
#[derive(Debug, Default)]
struct Streams {
    slots: [Option<Slot>; 5],
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    id: StreamId,
    replied: bool,
    /// The upstream's direction has ended, by FIN, by RST or with the connection.
    ended: bool,
}

impl Streams {
    fn slot(&mut self, channel: Channel) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(channel as u8))?.as_mut()
    }

    fn id(&self, channel: Channel) -> Option<StreamId> {
        self.slots
            .get(usize::from(channel as u8))?
            .map(|slot| slot.id)
    }

    fn channel_of(&self, id: StreamId) -> Option<Channel> {
        let at = self
            .slots
            .iter()
            .position(|slot| slot.is_some_and(|slot| slot.id == id))?;
        Channel::try_from(u8::try_from(at).ok()?).ok()
    }

    fn put(&mut self, channel: Channel, id: StreamId) {
        if let Some(slot) = self.slots.get_mut(usize::from(channel as u8)) {
            *slot = Some(Slot {
                id,
                replied: false,
                ended: false,
            });
        }
    }

    fn ended(&self, channel: Channel) -> bool {
        let slot = self
            .slots
            .get(usize::from(channel as u8))
            .copied()
            .flatten();
        slot.is_none_or(|slot| slot.ended)
    }

    fn open(&self) -> bool {
        self.slots.iter().flatten().all(|slot| slot.replied)
    }

    fn ids(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.slots.iter().flatten().map(|slot| slot.id)
    }
}

impl Exec {
    /// Starts a session on an upstream that has answered 101 with `v4.channel.k8s.io`: queues every
    /// SYN_STREAM at once (one round trip, where client-go takes one per stream), and for the client
    /// the message that Kubernetes' servers say hello with, its lowest writable channel and nothing
    /// else.
    ///
    /// The client is to be answered 101 once [`Translate::is_open`].
    pub fn new(options: StreamOptions, limits: Limits, now: Instant, out: &mut Outputs) -> Self {
        let mut exec = Self {
            ws: ws::Decoder::new(ws::Role::Server, ws::Limits::default()),
            message: client::Message::default(),
            spdy: Session::new(Side::Client, limits),
            streams: Streams::default(),
            heartbeat: Heartbeat::new(now),
            opens_by: Some(now + OPEN_TIMEOUT),
            status: Vec::new(),
            truncated: false,
            bytes: Bytes::default(),
            end: None,
        };
        let stderr = options.stderr && !options.tty;
        // client-go's order; servers take any.
        let wanted = [
            (Channel::Error, true),
            (Channel::Stdin, options.stdin),
            (Channel::Stdout, options.stdout),
            (Channel::Stderr, stderr),
            (Channel::Resize, options.tty),
        ];
        let mut frames = Vec::new();
        for (channel, _) in wanted.into_iter().filter(|(_, wanted)| *wanted) {
            match exec
                .spdy
                .open(&[("streamtype", channel.stream_type())], &mut frames)
            {
                Ok(id) => exec.streams.put(channel, id),
                Err(error) => {
                    exec.fail(Outcome::UpstreamMisbehaved, &error.to_string(), out);
                    return exec;
                }
            }
        }
        out.upstream.own(frames);
        let hello = match (options.stdout, stderr) {
            (true, _) => Channel::Stdout,
            (false, true) => Channel::Stderr,
            (false, false) => Channel::Error,
        };
        out.client.message(hello as u8, &[]);
        exec
    }

    /// Ends with a Failure status of ours: Success is only ever said where one arrived.
    fn fail(&mut self, outcome: Outcome, detail: &str, out: &mut Outputs) {
        if self.end.is_some() {
            return;
        }
        let status = Status::internal_error(detail).to_json();
        out.client.message(Channel::Error as u8, &status);
        out.client.close(ws::CloseCode::NORMAL, "");
        self.leave_upstream(out);
        self.end = Some(End::new(outcome, detail));
    }

    /// Tells the upstream that nobody is there any more, as its own client's `Close()` does.
    fn leave_upstream(&mut self, out: &mut Outputs) {
        let mut frames = Vec::new();
        for id in self.streams.ids().collect::<Vec<_>>() {
            self.spdy.reset(id, RstStatus::CANCEL, &mut frames);
        }
        self.spdy.go_away(&mut frames);
        // What waits is of no use to a session that ends, and would hold up this.
        out.upstream.clear();
        out.upstream.own(frames);
    }
}

impl Translate for Exec {
    fn handle_client(&mut self, input: &mut [u8], offset: usize, now: Instant, out: &mut Outputs) {
        self.client_bytes(input, offset, now, out);
    }

    fn handle_upstream(&mut self, input: &[u8], offset: usize, now: Instant, out: &mut Outputs) {
        self.heartbeat.note_heard(now);
        self.upstream_bytes(input, offset, out);
    }

    fn handle_client_gone(&mut self, detail: &str, out: &mut Outputs) {
        self.client_left(detail, out);
    }

    fn handle_upstream_gone(&mut self, detail: &str, out: &mut Outputs) {
        self.upstream_left(detail, out);
    }

    fn handle_timeout(&mut self, now: Instant, reading_upstream: bool, out: &mut Outputs) {
        if self.end.is_some() {
            return;
        }
        if self.opens_by.is_some_and(|at| now >= at) {
            let detail = "the node did not open the session's streams within 30 s";
            self.fail(Outcome::UpstreamSilent, detail, out);
            return;
        }
        if self.heartbeat.pong_due(now) {
            out.client.pong(ws::ControlPayload::default());
        }
        if !reading_upstream {
            self.heartbeat.note_heard(now);
        } else if self.heartbeat.upstream_is_silent(now) {
            self.fail(
                Outcome::UpstreamSilent,
                "the node answered no ping for 30 s",
                out,
            );
        } else if self.heartbeat.ping_due(now) && out.upstream.is_empty() {
            let mut frames = Vec::new();
            let id = self.spdy.ping(&mut frames);
            self.heartbeat.note_ping(id, now);
            out.upstream.own(frames);
        }
    }

    fn handle_shutdown(&mut self, out: &mut Outputs) {
        self.fail(Outcome::Shutdown, "the stream proxy is shutting down", out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.end.is_some() {
            return None;
        }
        let due = self.heartbeat.due();
        Some(self.opens_by.map_or(due, |opens_by| due.min(opens_by)))
    }

    fn is_open(&self) -> bool {
        self.streams.open()
    }

    fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    fn bytes(&self) -> Bytes {
        self.bytes
    }
}
