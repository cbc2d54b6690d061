//! What the client says.

use std::ops::Range;
use std::time::Instant;

use streamway_kstream::channel::{self, Channel};
use streamway_kstream::ws::{self, Event};

use super::Exec;
use crate::transmit::Head;
use crate::{End, Outcome, Outputs};

/// The message that is being read, over however many frames and reads.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// The message's first byte, once it came.
    first: Option<u8>,
    /// Of a close signal (`ff NN`): the channel that it names.
    closes: Option<u8>,
    /// Bytes after the first.
    rest: usize,
}

impl Exec {
    pub(super) fn client_bytes(
        &mut self,
        input: &mut [u8],
        offset: usize,
        now: Instant,
        out: &mut Outputs,
    ) {
        let mut at = 0;
        while self.end.is_none() {
            let Some(rest) = input.get_mut(at..).filter(|rest| !rest.is_empty()) else {
                return;
            };
            let decoded = match self.ws.decode(rest) {
                Ok(decoded) => decoded,
                Err(error) => {
                    self.client_misbehaved(error.close_code(), &error.to_string(), out);
                    return;
                }
            };
            match decoded.event {
                Some(Event::Payload {
                    range, start, end, ..
                }) => {
                    if start {
                        self.message = Message::default();
                    }
                    let payload = rest.get(range.clone()).unwrap_or_default();
                    self.client_run(payload, offset + at + range.start, out);
                    if end {
                        self.client_message_ends(out);
                    }
                }
                Some(Event::Ping(payload)) => {
                    self.heartbeat.note_client_ping(now);
                    out.client.pong(payload);
                }
                Some(Event::Close(..)) => {
                    out.client.close(ws::CloseCode::NORMAL, "");
                    self.client_left("the client closed the WebSocket", out);
                }
                Some(_) => {}
                None if decoded.consumed == 0 => return,
                None => {}
            }
            at += decoded.consumed;
        }
    }

    /// A run of a message's bytes, which stand at `base` in the client's buffer.
    fn client_run(&mut self, payload: &[u8], base: usize, out: &mut Outputs) {
        let (payload, base) = if self.message.first.is_some() {
            (payload, base)
        } else {
            let Some((first, rest)) = payload.split_first() else {
                return;
            };
            self.message.first = Some(*first);
            (rest, base + 1)
        };
        let Some(first) = payload.first() else { return };
        self.message.rest += payload.len();
        let range = base..base + payload.len();
        match self.message.first {
            Some(channel::CLOSE) => {
                self.message.closes.get_or_insert(*first);
            }
            Some(to) if to == Channel::Stdin as u8 => {
                self.forward_input(Channel::Stdin, range, out)
            }
            Some(to) if to == Channel::Resize as u8 => {
                self.forward_input(Channel::Resize, range, out);
            }
            // Channels that only the server writes, and unknown ones: Kubernetes ignores them.
            _ => {}
        }
    }

    fn client_message_ends(&mut self, out: &mut Outputs) {
        if self.message.first != Some(channel::CLOSE) {
            return;
        }
        let named = self.message.closes.map(Channel::try_from);
        match (named, self.message.rest) {
            (Some(Ok(channel @ (Channel::Stdin | Channel::Resize))), 1) => {
                let Some(id) = self.streams.id(channel) else {
                    return;
                };
                let mut frames = Vec::new();
                // A second close signal, or one for a stream that has ended, changes nothing.
                if self.spdy.finish(id, &mut frames).is_ok() {
                    out.upstream.own(frames);
                }
            }
            // The client does not write these; closing them is nothing to the upstream.
            (Some(Ok(_)), 1) => {}
            _ => {
                let detail = "a close signal is two bytes, 255 and one of the channels 0 to 4";
                self.client_misbehaved(ws::CloseCode::PROTOCOL_ERROR, detail, out);
            }
        }
    }

    fn forward_input(&mut self, channel: Channel, range: Range<usize>, out: &mut Outputs) {
        let Some(id) = self.streams.id(channel) else {
            return;
        };
        let Ok(len) = u32::try_from(range.len()) else {
            return;
        };
        // A stream that the upstream has ended takes no more; SPDY drops such data too.
        let Ok(data) = self.spdy.data_head(id, len, false) else {
            return;
        };
        let mut head = Head::default();
        head.push(&data);
        out.upstream.framed(head, range);
        self.bytes.from_client += u64::from(len);
        self.heartbeat.note_sent(u64::from(len));
    }

    pub(super) fn client_left(&mut self, detail: &str, out: &mut Outputs) {
        if self.end.is_some() {
            return;
        }
        self.leave_upstream(out);
        self.end = Some(End::new(Outcome::ClientGone, detail));
    }

    fn client_misbehaved(&mut self, code: ws::CloseCode, detail: &str, out: &mut Outputs) {
        if self.end.is_some() {
            return;
        }
        out.client.close(code, detail);
        self.leave_upstream(out);
        self.end = Some(End::new(Outcome::ClientMisbehaved, detail));
    }
}
