//! Frames: their types, and how they look on the wire. All numbers are big endian.
//!
//! ```text
//! control  |1| version 15 = 3 | type 16 | flags 8 | length 24 | payload
//! data     |0| stream id 31             | flags 8 | length 24 | payload
//! ```
//!
//! One module for each type shows its payload, reads it and writes it. Types 5 (NOOP of SPDY/2) and
//! 10 (CREDENTIAL) are not read: spdystream v0.5.1 ends a connection on them, and so does
//! [`Decoder`](crate::Decoder).

pub(crate) mod data;
pub(crate) mod go_away;
pub(crate) mod head;
mod headers;
mod id;
pub(crate) mod ping;
pub(crate) mod rst_stream;
mod settings;
pub(crate) mod syn_reply;
pub(crate) mod syn_stream;
mod window_update;

use crate::error::DecodeError;
use crate::headers::Headers;
pub use id::{Side, StreamId};
pub use rst_stream::RstStatus;

/// Bytes of a frame's head.
pub const HEAD: usize = 8;
/// The version in control frames: SPDY/3.1 says 3, as SPDY/3 did.
pub const VERSION: u16 = 3;
/// Longest payload that a head can announce, in bytes.
pub const MAX_PAYLOAD: u32 = (1 << 24) - 1;

/// Type of SYN_STREAM.
pub const SYN_STREAM: u16 = 1;
/// Type of SYN_REPLY.
pub const SYN_REPLY: u16 = 2;
/// Type of RST_STREAM.
pub const RST_STREAM: u16 = 3;
/// Type of SETTINGS.
pub const SETTINGS: u16 = 4;
/// Type of PING.
pub const PING: u16 = 6;
/// Type of GOAWAY.
pub const GOAWAY: u16 = 7;
/// Type of HEADERS.
pub const HEADERS: u16 = 8;
/// Type of WINDOW_UPDATE.
pub const WINDOW_UPDATE: u16 = 9;

/// FIN, of SYN_STREAM, SYN_REPLY, HEADERS and DATA: the sender's direction ends with this frame.
pub const FLAG_FIN: u8 = 1;
/// UNIDIRECTIONAL, of SYN_STREAM: the receiver sends no data.
pub const FLAG_UNIDIRECTIONAL: u8 = 2;

/// A control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// Opens a stream.
    SynStream {
        /// The stream.
        id: StreamId,
        /// The stream that this one belongs to; 0, which Kubernetes sends, for none.
        associated: u32,
        /// 0 (highest) to 7; Kubernetes sends 0.
        priority: u8,
        /// Of a client certificate; Kubernetes sends 0.
        slot: u8,
        /// The opener sends no data.
        fin: bool,
        /// The other side sends no data.
        unidirectional: bool,
        /// What the stream is.
        headers: Headers,
    },
    /// Accepts a stream.
    SynReply {
        /// The stream.
        id: StreamId,
        /// The sender sends no data.
        fin: bool,
        /// Kubernetes sends none.
        headers: Headers,
    },
    /// Ends a stream for both sides.
    RstStream {
        /// The stream.
        id: StreamId,
        /// Why.
        status: RstStatus,
    },
    /// Settings of the sender. Passed over.
    Settings {
        /// How many.
        entries: u32,
    },
    /// Asks for the same frame back, or is that answer.
    Ping {
        /// Odd from a client, even from a server; not 0.
        id: u32,
    },
    /// The sender takes no more streams.
    GoAway {
        /// The last stream that it took; 0 for none.
        last_good: u32,
        /// 0 for a normal end.
        status: u32,
    },
    /// More headers for an open stream.
    Headers {
        /// The stream.
        id: StreamId,
        /// The sender sends no more data.
        fin: bool,
        /// The headers.
        headers: Headers,
    },
    /// Lets the receiver send more. Kubernetes' peers have no windows: passed over.
    WindowUpdate {
        /// The stream; 0 for the connection.
        id: u32,
        /// By how many bytes.
        delta: u32,
    },
}

impl Frame {
    /// Reads a whole payload of a frame whose head [`check`] has seen. `block` reads what the
    /// frame has of the connection's header blocks.
    pub(crate) fn parse(
        kind: u16,
        flags: u8,
        payload: &[u8],
        block: impl FnOnce(&[u8]) -> Result<Headers, DecodeError>,
    ) -> Result<Self, DecodeError> {
        match kind {
            SYN_STREAM => syn_stream::parse(flags, payload, block),
            SYN_REPLY => syn_reply::parse(flags, payload, block),
            RST_STREAM => rst_stream::parse(payload),
            SETTINGS => settings::parse(payload),
            PING => ping::parse(payload),
            GOAWAY => go_away::parse(payload),
            HEADERS => headers::parse(flags, payload, block),
            WINDOW_UPDATE => window_update::parse(payload),
            _ => Err(DecodeError::UnknownType(kind)),
        }
    }
}

/// Finds what a control frame's head alone shows to be wrong.
pub(crate) fn check(kind: u16, flags: u8, len: u32) -> Result<(), DecodeError> {
    let fits = match kind {
        SYN_STREAM => len >= syn_stream::FIXED,
        SYN_REPLY | HEADERS | SETTINGS => len >= 4,
        RST_STREAM | GOAWAY | WINDOW_UPDATE => len == 8,
        PING => len == 4,
        _ => return Err(DecodeError::UnknownType(kind)),
    };
    if !fits {
        return Err(DecodeError::Length { kind, len });
    }
    // spdystream v0.5.1 refuses flags on these three, and looks at none of the others' beyond
    // those it knows.
    if matches!(kind, PING | GOAWAY | WINDOW_UPDATE) && flags != 0 {
        return Err(DecodeError::Flags { kind, flags });
    }
    Ok(())
}

/// Whether a control frame's payload starts with a stream's id.
pub(crate) fn names_stream(kind: u16) -> bool {
    matches!(kind, SYN_STREAM | SYN_REPLY | RST_STREAM | HEADERS)
}

/// Takes the next 32 bits of `payload`, which is of a frame of type `kind`.
fn number(kind: u16, payload: &mut &[u8]) -> Result<u32, DecodeError> {
    let (number, rest) = payload.split_first_chunk().ok_or_else(|| bad_length(kind, payload))?;
    *payload = rest;
    Ok(u32::from_be_bytes(*number))
}

/// Takes a stream's id, without its reserved bit.
fn stream_id(kind: u16, payload: &mut &[u8]) -> Result<StreamId, DecodeError> {
    let id = number(kind, payload)? & StreamId::MAX;
    StreamId::new(id).ok_or(DecodeError::ZeroStream(kind))
}

fn bad_length(kind: u16, payload: &[u8]) -> DecodeError {
    DecodeError::Length { kind, len: u32::try_from(payload.len()).unwrap_or(u32::MAX) }
}
