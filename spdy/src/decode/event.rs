//! What a decoder brings.

use std::ops::Range;

use crate::frame::{Frame, HEAD, StreamId};

/// What one step of a [`Decoder`](crate::Decoder) brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that are done with. Without an event that is all of them, and more are
    /// needed.
    pub consumed: usize,
    /// What they were.
    pub event: Option<Event>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A whole control frame.
    Control {
        /// The frame.
        frame: Frame,
        /// Its length on the wire, head included.
        wire_len: usize,
    },
    /// A run of a DATA frame's payload, which is not copied.
    Data {
        /// The stream.
        stream: StreamId,
        /// Where the run is in the input; empty for an empty frame.
        range: Range<usize>,
        /// The whole frame's payload in bytes.
        frame_len: u32,
        /// The frame's first run.
        start: bool,
        /// Its last run.
        end: bool,
        /// The sender's direction ends here; only with `end`.
        fin: bool,
    },
    /// Of a walker: a run of a control frame's payload, not looked into.
    Opaque {
        /// The frame's head, as it was on the wire.
        head: [u8; HEAD],
        /// The frame's type.
        kind: u16,
        /// Where the run is in the input.
        range: Range<usize>,
        /// The frame's first run.
        start: bool,
        /// Its last run.
        end: bool,
        /// The first 32 bits of the payload as a stream's id, once they came, where the frame's type
        /// has one there.
        stream: Option<StreamId>,
    },
}
