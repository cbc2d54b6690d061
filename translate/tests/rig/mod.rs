//! A client and a node around one machine, in one thread, with a clock that the test moves.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    unreachable_pub
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use streamway_kstream::ws::{self, Event, Role};
use streamway_spdy::{Session, SessionEvent, Side, StreamId};
use streamway_translate::{Chunk, Outputs, Translate, Transmit};

/// What the client saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    Message(Vec<u8>),
    Text(Vec<u8>),
    Pong(Vec<u8>),
    Ping,
    Close(u16),
}

/// What the node saw, by the stream's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Opened(String),
    Data(String, Vec<u8>),
    Fin(String),
    Reset(String),
    GoAway,
}

/// A machine between two peers. Every input arrives in pieces of `cut` bytes.
pub struct Rig<M> {
    pub machine: M,
    pub out: Outputs,
    pub node: Session,
    pub now: Instant,
    pub cut: usize,
    pub streams: BTreeMap<String, StreamId>,
    pub seen: Vec<Seen>,
    pub heard: Vec<Heard>,
    /// Whether the node replies to the streams that are opened.
    pub accepts: bool,
    pub pings: usize,
    client: ws::Decoder,
    message: Vec<u8>,
    node_out: Vec<u8>,
    mask: u8,
}

impl<M: Translate> Rig<M> {
    pub fn new(cut: usize, make: impl FnOnce(Instant, &mut Outputs) -> M) -> Self {
        let mut rig = Self::silent(cut, make);
        rig.accepts = true;
        rig.settle();
        rig
    }

    /// With a node that replies to nothing yet.
    pub fn silent(cut: usize, make: impl FnOnce(Instant, &mut Outputs) -> M) -> Self {
        #[allow(clippy::disallowed_methods)]
        let now = Instant::now();
        let mut out = Outputs::default();
        let machine = make(now, &mut out);
        Self {
            machine,
            out,
            node: Session::new(Side::Server, streamway_spdy::Limits::default()),
            now,
            cut,
            streams: BTreeMap::new(),
            seen: Vec::new(),
            heard: Vec::new(),
            accepts: false,
            pings: 0,
            client: ws::Decoder::new(Role::Client, ws::Limits::default()),
            message: Vec::new(),
            node_out: Vec::new(),
            mask: 0,
        }
    }

    /// The client sends one frame.
    pub fn frame(&mut self, opcode: ws::Opcode, fin: bool, payload: &[u8]) {
        self.mask = self.mask.wrapping_add(41);
        let mask = [self.mask, 3, 200, self.mask ^ 0xff];
        let head = ws::encode_head(opcode, fin, payload.len() as u64, Some(mask));
        let mut bytes = head.as_slice().to_vec();
        bytes.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        self.client_bytes(&bytes);
    }

    /// The client sends one binary message.
    pub fn message(&mut self, payload: &[u8]) {
        self.frame(ws::Opcode::Binary, true, payload);
    }

    pub fn client_bytes(&mut self, bytes: &[u8]) {
        // Offsets are not always zero in a relay's buffer.
        const BEFORE: usize = 7;
        for piece in bytes.chunks(self.cut) {
            let mut buffer = vec![0xee; BEFORE];
            buffer.extend_from_slice(piece);
            self.machine
                .handle_client(&mut buffer[BEFORE..], BEFORE, self.now, &mut self.out);
            self.deliver(&buffer, &[]);
        }
        self.settle();
    }

    pub fn node_bytes(&mut self, bytes: &[u8]) {
        const BEFORE: usize = 3;
        for piece in bytes.chunks(self.cut) {
            let mut buffer = vec![0xdd; BEFORE];
            buffer.extend_from_slice(piece);
            self.machine
                .handle_upstream(&buffer[BEFORE..], BEFORE, self.now, &mut self.out);
            self.deliver(&[], &buffer);
        }
    }

    /// The node writes on a stream.
    pub fn node_data(&mut self, stream: &str, payload: &[u8], fin: bool) {
        let id = self.streams[stream];
        let len = u32::try_from(payload.len()).unwrap();
        let mut bytes = self.node.data_head(id, len, fin).unwrap().to_vec();
        bytes.extend_from_slice(payload);
        self.node_bytes(&bytes);
        self.settle();
    }

    pub fn node_reset(&mut self, stream: &str) {
        let mut bytes = Vec::new();
        self.node.reset(
            self.streams[stream],
            streamway_spdy::RstStatus::CANCEL,
            &mut bytes,
        );
        self.node_bytes(&bytes);
        self.settle();
    }

    pub fn node_goes_away(&mut self) {
        let mut bytes = Vec::new();
        self.node.go_away(&mut bytes);
        self.node_bytes(&bytes);
        self.settle();
    }

    /// Moves the clock, ringing every alarm on the way.
    pub fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.machine.poll_timeout().filter(|due| *due <= until) {
            assert!(due >= self.now || self.machine.end().is_some() || due == self.now);
            self.now = self.now.max(due);
            self.machine.handle_timeout(self.now, true, &mut self.out);
            assert!(
                self.machine
                    .poll_timeout()
                    .is_none_or(|next| next > self.now),
                "an alarm that rings for ever"
            );
            self.settle();
        }
        self.now = until;
    }

    /// Delivers what waits on either side, until nothing moves.
    pub fn settle(&mut self) {
        loop {
            self.deliver(&[], &[]);
            if self.node_out.is_empty() {
                return;
            }
            let bytes = std::mem::take(&mut self.node_out);
            self.node_bytes(&bytes);
        }
    }

    fn deliver(&mut self, client_buffer: &[u8], node_buffer: &[u8]) {
        let to_node = bytes_of(&mut self.out.upstream, client_buffer);
        self.node_reads(&to_node);
        let mut to_client = bytes_of(&mut self.out.client, node_buffer);
        self.client_reads(&mut to_client);
    }

    fn client_reads(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let decoded = self
                .client
                .decode(&mut bytes[at..])
                .expect("what a client can read");
            match decoded.event {
                Some(Event::Payload {
                    kind, range, end, ..
                }) => {
                    self.message.extend_from_slice(&bytes[at..][range]);
                    if end {
                        let message = std::mem::take(&mut self.message);
                        self.seen.push(match kind {
                            ws::MessageKind::Binary => Seen::Message(message),
                            ws::MessageKind::Text => Seen::Text(message),
                        });
                    }
                }
                Some(Event::Pong(payload)) => {
                    self.seen.push(Seen::Pong(payload.as_slice().to_vec()))
                }
                Some(Event::Ping(_)) => self.seen.push(Seen::Ping),
                Some(Event::Close(code, _)) => {
                    self.seen
                        .push(Seen::Close(code.map_or(1005, |code| code.get())));
                }
                _ => {}
            }
            at += decoded.consumed;
        }
    }

    fn node_reads(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let handled = self
                .node
                .handle(&bytes[at..], &mut self.node_out)
                .expect("SPDY");
            match handled.event {
                Some(SessionEvent::Opened { id, headers, .. }) => {
                    let name = headers.get("streamtype").unwrap().to_owned();
                    self.heard.push(Heard::Opened(name.clone()));
                    self.streams.insert(name, id);
                    if self.accepts {
                        self.node.accept(id, &mut self.node_out).unwrap();
                    }
                }
                Some(SessionEvent::Data { id, range, fin, .. }) => {
                    let name = self.name(id);
                    if !range.is_empty() {
                        let data = bytes[at..][range].to_vec();
                        self.heard.push(Heard::Data(name.clone(), data));
                    }
                    if fin {
                        self.heard.push(Heard::Fin(name));
                    }
                }
                Some(SessionEvent::Reset { id, .. }) => {
                    self.heard.push(Heard::Reset(self.name(id)))
                }
                Some(SessionEvent::GoAway { .. }) => self.heard.push(Heard::GoAway),
                _ => {}
            }
            // PING frames are answered inside; they are counted by their type on the wire.
            if bytes[at..][..handled.consumed].starts_with(&[0x80, 3, 0, 6]) {
                self.pings += 1;
            }
            at += handled.consumed;
        }
    }

    fn name(&self, id: StreamId) -> String {
        let named = self.streams.iter().find(|(_, stream)| **stream == id);
        named.map_or_else(|| id.to_string(), |(name, _)| name.clone())
    }

    /// Bytes that the client saw on a channel, over all messages.
    pub fn channel(&self, channel: u8) -> Vec<u8> {
        let messages = self.seen.iter().filter_map(|seen| match seen {
            Seen::Message(bytes) if bytes.first() == Some(&channel) => Some(&bytes[1..]),
            _ => None,
        });
        messages.flatten().copied().collect()
    }

    /// Bytes that the node heard on a stream.
    pub fn stream(&self, stream: &str) -> Vec<u8> {
        let data = self.heard.iter().filter_map(|heard| match heard {
            Heard::Data(name, bytes) if name == stream => Some(bytes.as_slice()),
            _ => None,
        });
        data.flatten().copied().collect()
    }
}

fn bytes_of(transmit: &mut Transmit, buffer: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = transmit.pop() {
        match chunk {
            Chunk::Framed { head, payload } => {
                bytes.extend_from_slice(head.as_slice());
                bytes.extend_from_slice(&buffer[payload]);
            }
            Chunk::Own(own) => bytes.extend_from_slice(&own),
            _ => panic!("an unknown chunk"),
        }
    }
    assert!(transmit.is_empty());
    assert_eq!((transmit.queued_bytes(), transmit.own_bytes()), (0, 0));
    bytes
}
