//! What the upstream says.

use std::ops::Range;

use streamway_kstream::channel::Channel;
use streamway_kstream::{status, ws};
use streamway_spdy::{RstStatus, SessionEvent, StreamId};

use super::{Exec, MAX_OWN_UPSTREAM, MAX_STATUS, Slot};
use crate::transmit::Head;
use crate::{End, Outcome, Outputs};

impl Exec {
    pub(super) fn upstream_bytes(&mut self, input: &[u8], offset: usize, out: &mut Outputs) {
        let mut replies = Vec::new();
        let mut at = 0;
        while self.end.is_none() {
            let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            let handled = match self.spdy.handle(rest, &mut replies) {
                Ok(handled) => handled,
                Err(error) => {
                    let detail = format!("the node broke the SPDY protocol: {error}");
                    self.fail(Outcome::UpstreamMisbehaved, &detail, out);
                    break;
                }
            };
            match handled.event {
                Some(event) => self.upstream_event(event, rest, offset + at, out),
                None if handled.consumed == 0 => break,
                None => {}
            }
            at += handled.consumed;
        }
        out.upstream.own(replies);
        if out.upstream.own_bytes() > MAX_OWN_UPSTREAM {
            let detail = "the node asks for answers and reads none";
            self.fail(Outcome::UpstreamMisbehaved, detail, out);
            out.upstream.clear();
        }
    }

    pub(super) fn upstream_left(&mut self, detail: &str, out: &mut Outputs) {
        if self.end.is_some() {
            return;
        }
        // A status is one JSON document. Where it is whole, everything came: the runtime says it
        // after the last byte of output.
        if status::parse(&self.status).is_ok() {
            self.conclude(out);
            return;
        }
        let detail =
            format!("the server behind the proxy ended the session without a status: {detail}");
        self.fail(Outcome::UpstreamLost, &detail, out);
    }

    fn upstream_event(
        &mut self,
        event: SessionEvent,
        input: &[u8],
        base: usize,
        out: &mut Outputs,
    ) {
        match event {
            SessionEvent::Replied { id, fin } => {
                if let Some(slot) = self.slot_of(id) {
                    slot.replied = true;
                }
                if self.streams.open() {
                    self.opens_by = None;
                }
                if fin {
                    self.stream_ended(id, out);
                }
            }
            SessionEvent::Data { id, range, fin, .. } => {
                match self.streams.channel_of(id) {
                    Some(Channel::Error) => {
                        self.status_run(input.get(range).unwrap_or_default(), out);
                    }
                    Some(channel @ (Channel::Stdout | Channel::Stderr)) => {
                        self.output_run(channel, base + range.start..base + range.end, out);
                    }
                    _ => {}
                }
                if fin {
                    self.stream_ended(id, out);
                }
            }
            SessionEvent::Reset { id, .. } => self.stream_reset(id, out),
            SessionEvent::Pong { id } => self.heartbeat.note_upstream_pong(id),
            SessionEvent::GoAway { .. } => self.upstream_left("it said GOAWAY", out),
            // Kubernetes' servers open no streams.
            SessionEvent::Opened { id, .. } => {
                let mut frames = Vec::new();
                self.spdy.refuse(id, RstStatus::REFUSED_STREAM, &mut frames);
                out.upstream.own(frames);
            }
            _ => {}
        }
    }

    fn slot_of(&mut self, id: StreamId) -> Option<&mut Slot> {
        let channel = self.streams.channel_of(id)?;
        self.streams.slot(channel)
    }

    /// One whole message for a run of output. Never empty: client-go takes an empty message for an
    /// error.
    fn output_run(&mut self, channel: Channel, range: Range<usize>, out: &mut Outputs) {
        if range.is_empty() {
            return;
        }
        let len = range.len() as u64;
        let mut head = Head::default();
        head.push(ws::encode_head(ws::Opcode::Binary, true, len + 1, None).as_slice());
        head.push(&[channel as u8]);
        out.client.framed(head, range);
        self.bytes.from_upstream += len;
    }

    fn status_run(&mut self, text: &[u8], out: &mut Outputs) {
        if self.status.len() + text.len() > MAX_STATUS {
            let detail = "the node's status is longer than 64 KiB";
            self.fail(Outcome::UpstreamMisbehaved, detail, out);
            return;
        }
        self.status.extend_from_slice(text);
    }

    fn stream_reset(&mut self, id: StreamId, out: &mut Outputs) {
        let channel = self.streams.channel_of(id);
        let no_status_yet = self.status.is_empty();
        let Some(slot) = self.slot_of(id).copied() else {
            return;
        };
        let output = matches!(channel, Some(Channel::Stdout | Channel::Stderr));
        // A reset before the status is not an end of file: bytes are missing.
        self.truncated |= output && no_status_yet && !slot.ended;
        if !slot.replied {
            let name = channel.map_or("unknown", Channel::stream_type);
            let detail = format!("the node refused the {name} stream");
            self.fail(Outcome::UpstreamMisbehaved, &detail, out);
            return;
        }
        self.stream_ended(id, out);
    }

    fn stream_ended(&mut self, id: StreamId, out: &mut Outputs) {
        if let Some(slot) = self.slot_of(id) {
            slot.ended = true;
        }
        let all = [Channel::Error, Channel::Stdout, Channel::Stderr];
        if all.into_iter().all(|channel| self.streams.ended(channel)) {
            self.conclude(out);
        }
    }

    /// Everything came that will come: hand the status on, as it is, last.
    fn conclude(&mut self, out: &mut Outputs) {
        if self.end.is_some() {
            return;
        }
        let parsed = match status::parse(&self.status) {
            Ok(parsed) => parsed,
            Err(_) if self.status.is_empty() => {
                let detail = "the server behind the proxy ended the session without a status";
                self.fail(Outcome::UpstreamLost, detail, out);
                return;
            }
            Err(error) => {
                let detail = format!("the node's status cannot be read: {error}");
                self.fail(Outcome::UpstreamMisbehaved, &detail, out);
                return;
            }
        };
        let outcome = match parsed {
            status::Outcome::Success if self.truncated => {
                let detail = "the node reset an output stream before the command's end: \
                              output is missing";
                self.fail(Outcome::Truncated, detail, out);
                return;
            }
            status::Outcome::Success => Outcome::Success,
            status::Outcome::ExitCode(code) => Outcome::ExitCode(code),
            _ => Outcome::Failure,
        };
        self.bytes.from_upstream += self.status.len() as u64;
        out.client.message(Channel::Error as u8, &self.status);
        out.client.close(ws::CloseCode::NORMAL, "");
        self.leave_upstream(out);
        self.end = Some(End::new(outcome, ""));
    }
}
