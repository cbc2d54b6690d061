//! Frames: types, ids, and how they look on the wire.
//!
//! ```text
//! control  |1| version 15 | type 16 | flags 8 | length 24 | payload
//! data     |0| stream id 31         | flags 8 | length 24 | payload
//! ```

use std::fmt;
use std::num::NonZeroU32;

use crate::headers::Headers;

/// Bytes of a frame's head.
pub const HEAD: usize = 8;
/// The version in control frames (SPDY/3.1 says 3).
pub const VERSION: u16 = 3;

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

/// FIN: the sender's direction ends with this frame.
pub const FLAG_FIN: u8 = 1;
/// UNIDIRECTIONAL, of SYN_STREAM.
pub const FLAG_UNIDIRECTIONAL: u8 = 2;

/// Longest payload that a head can announce.
pub const MAX_PAYLOAD: u32 = (1 << 24) - 1;

/// Which end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Opens streams with odd ids.
    Client,
    /// Opens streams with even ids; Kubernetes' servers open none.
    Server,
}

/// A stream's id: 31 bits, not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(NonZeroU32);

impl StreamId {
    /// The largest.
    pub const MAX: u32 = 0x7fff_ffff;

    /// `None` for 0 and for more than 31 bits.
    pub fn new(id: u32) -> Option<Self> {
        NonZeroU32::new(id)
            .filter(|id| id.get() <= Self::MAX)
            .map(Self)
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0.get()
    }

    /// Who opens streams with such an id.
    pub fn initiated_by(self) -> Side {
        if self.get() % 2 == 1 {
            Side::Client
        } else {
            Side::Server
        }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Why a stream is reset. Kubernetes' receivers do not look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RstStatus(pub u32);

impl RstStatus {
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1);
    /// A frame for a stream that is not there.
    pub const INVALID_STREAM: Self = Self(2);
    /// The stream was not looked at.
    pub const REFUSED_STREAM: Self = Self(3);
    /// Nobody wants the stream any more; what Kubernetes sends.
    pub const CANCEL: Self = Self(5);
    /// Something failed.
    pub const INTERNAL_ERROR: Self = Self(6);
}

/// A control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Frame {
    /// Opens a stream. Payload: id, associated id, priority << 5, slot, header block.
    SynStream {
        /// The stream.
        id: StreamId,
        /// Of a pushed stream; Kubernetes sends 0.
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
    /// Accepts a stream. Payload: id, header block.
    SynReply {
        /// The stream.
        id: StreamId,
        /// The sender sends no data.
        fin: bool,
        /// Kubernetes sends none.
        headers: Headers,
    },
    /// Ends a stream for both sides. Payload: id, status.
    RstStream {
        /// The stream.
        id: StreamId,
        /// Why.
        status: RstStatus,
    },
    /// Payload: count, and as many entries of 8 bytes. Passed over.
    Settings {
        /// How many.
        entries: u32,
    },
    /// Payload: id. The peer sends it back.
    Ping {
        /// Odd from a client, even from a server.
        id: u32,
    },
    /// The sender takes no more streams. Payload: last good id, status.
    GoAway {
        /// The last stream that it took; 0 for none.
        last_good: u32,
        /// 0 for a normal end.
        status: u32,
    },
    /// More headers for an open stream. Payload: id, header block.
    Headers {
        /// The stream.
        id: StreamId,
        /// The sender sends no more data.
        fin: bool,
        /// The headers.
        headers: Headers,
    },
    /// Payload: id, delta. Kubernetes' peers have no windows: passed over.
    WindowUpdate {
        /// The stream; 0 for the connection.
        id: u32,
        /// By how many bytes.
        delta: u32,
    },
}
