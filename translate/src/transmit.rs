//! What a machine wants sent: chunks, in order, per leg.

use std::collections::VecDeque;
use std::ops::Range;

use streamway_kstream::ws::{self, ControlPayload};

/// Longest head: a WebSocket head (10 bytes, server frames are unmasked) and a SPDY data head (8),
/// or a WebSocket head and a channel byte.
const MAX_HEAD: usize = 18;

/// One frame or message on its way to a leg: bytes that the machine wrote, then a range of the
/// other leg's input buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chunk {
    /// A head, and the payload that follows it.
    Framed {
        /// The first bytes on the wire; at most 18.
        head: Head,
        /// Where the payload stands in the other leg's input buffer.
        payload: Range<usize>,
    },
    /// Control frames, or a message that the machine made itself.
    Own(Vec<u8>),
}

impl Chunk {
    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        match self {
            Self::Framed { head, payload } => head.as_slice().len() + payload.len(),
            Self::Own(bytes) => bytes.len(),
        }
    }

    /// Whether nothing would be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The first bytes of a framed chunk, inline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    bytes: [u8; MAX_HEAD],
    len: u8,
}

impl Head {
    /// Puts `bytes` behind what is there. What would not fit is a mistake in this crate: it is left
    /// out, and tests of every head length would show it.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let start = usize::from(self.len);
        let Some(room) = self.bytes.get_mut(start..start + bytes.len()) else {
            debug_assert!(false, "a head of more than {MAX_HEAD} bytes");
            return;
        };
        room.copy_from_slice(bytes);
        // At most MAX_HEAD, by the check above.
        self.len = u8::try_from(start + bytes.len()).unwrap_or(self.len);
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// The queue of one leg.
#[derive(Debug, Default)]
pub struct Transmit {
    chunks: VecDeque<Chunk>,
    /// Bytes of `chunks`.
    queued: usize,
    /// Bytes of `chunks` that the machine made itself.
    own: usize,
    /// The latest Pong that is due. Only the last of several is owed (RFC 6455 §5.5.3), so a client
    /// that pings and never reads costs one slot.
    pong: Option<ControlPayload>,
}

impl Transmit {
    /// Whether nothing waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.pong.is_none()
    }

    /// Bytes that wait, without a due Pong.
    pub fn queued_bytes(&self) -> usize {
        self.queued
    }

    /// Bytes that wait and that no input buffer holds: what a peer that makes us answer, and does
    /// not read the answers, costs.
    pub fn own_bytes(&self) -> usize {
        self.own
    }

    /// The next chunk, whole. A due Pong goes first: it is small, and a deadline waits for it.
    pub fn pop(&mut self) -> Option<Chunk> {
        if let Some(payload) = self.pong.take() {
            let mut bytes = Vec::with_capacity(2 + payload.as_slice().len());
            push_control(&mut bytes, ws::Opcode::Pong, payload.as_slice());
            return Some(Chunk::Own(bytes));
        }
        let chunk = self.chunks.pop_front()?;
        self.queued -= chunk.len();
        if let Chunk::Own(bytes) = &chunk {
            self.own -= bytes.len();
        }
        Some(chunk)
    }

    /// Drops everything that waits.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn framed(&mut self, head: Head, payload: Range<usize>) {
        self.queued += head.as_slice().len() + payload.len();
        self.chunks.push_back(Chunk::Framed { head, payload });
    }

    pub(crate) fn own(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.queued += bytes.len();
        self.own += bytes.len();
        self.chunks.push_back(Chunk::Own(bytes));
    }

    /// A whole unfragmented binary message of a server, made here.
    pub(crate) fn message(&mut self, first: u8, rest: &[u8]) {
        let len = rest.len() + 1;
        let head = ws::encode_head(ws::Opcode::Binary, true, len as u64, None);
        let mut bytes = Vec::with_capacity(head.as_slice().len() + len);
        bytes.extend_from_slice(head.as_slice());
        bytes.push(first);
        bytes.extend_from_slice(rest);
        self.own(bytes);
    }

    pub(crate) fn pong(&mut self, payload: ControlPayload) {
        self.pong = Some(payload);
    }

    pub(crate) fn close(&mut self, code: ws::CloseCode, reason: &str) {
        // Nothing may follow a Close frame.
        self.pong = None;
        let mut bytes = Vec::new();
        ws::close_frame(code, reason, &mut bytes);
        self.own(bytes);
    }
}

/// Both queues.
#[derive(Debug, Default)]
pub struct Outputs {
    /// To the client; payload ranges are of the upstream's input buffer.
    pub client: Transmit,
    /// To the upstream; payload ranges are of the client's input buffer.
    pub upstream: Transmit,
}

fn push_control(out: &mut Vec<u8>, opcode: ws::Opcode, payload: &[u8]) {
    let head = ws::encode_head(opcode, true, payload.len() as u64, None);
    out.extend_from_slice(head.as_slice());
    out.extend_from_slice(payload);
}
