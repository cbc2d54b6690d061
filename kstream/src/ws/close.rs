//! Close frames.

use std::fmt;

use super::{Opcode, encode_head};

/// Why a connection is closed (RFC 6455 §7.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// The purpose is fulfilled; the only code that client-go takes for an end without error.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint goes down.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A message of a kind that is not taken.
    pub const UNSUPPORTED: Self = Self(1003);
    /// A message that is too long.
    pub const TOO_LARGE: Self = Self(1009);
    /// Something failed here.
    pub const INTERNAL_ERROR: Self = Self(1011);

    /// `None` for a code that must not be on the wire.
    pub fn new(code: u16) -> Option<Self> {
        matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999).then_some(Self(code))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Longest reason in bytes: a control frame's 125, less the code.
const MAX_REASON: usize = 123;

/// Appends a server's Close frame to `out`. A longer reason is cut at a character.
pub fn close_frame(code: CloseCode, reason: &str, out: &mut Vec<u8>) {
    let reason = reason
        .get(..reason.floor_char_boundary(MAX_REASON))
        .unwrap_or_default();
    let len = reason.len() as u64 + 2;
    out.extend_from_slice(encode_head(Opcode::Close, true, len, None).as_slice());
    out.extend_from_slice(&code.get().to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}
