//! One stream's life.
//!
//! ```text
//!                    ┌── we finish ───▶ HalfClosedLocal ── peer finishes ──┐
//!  Opening ─reply─▶ Open                                                   ├─▶ Closed
//!     │              └── peer finishes ▶ HalfClosedRemote ── we finish ────┘
//!     └────────────────────────── RST, either way ────────────────────────────▶ gone
//! ```
//!
//! A peer may finish its direction with the frame that opens or accepts the stream; one that opens it
//! as unidirectional finishes ours, too. Closed streams leave the table at once.

use crate::error::Misuse;
use crate::frame::StreamId;

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamState {
    /// No reply yet.
    Opening,
    /// Data both ways.
    Open,
    /// We sent FIN.
    HalfClosedLocal,
    /// The peer sent FIN.
    HalfClosedRemote,
    /// Both did.
    Closed,
}

/// A stream that is in the table.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    /// We opened it and await the reply.
    Asked,
    /// The peer opened it and awaits ours.
    Offered {
        /// It sends no data.
        fin: bool,
        /// We may send none.
        unidirectional: bool,
    },
    /// The reply was sent or seen.
    Replied(StreamState),
}

impl Stream {
    pub(super) fn state(self) -> StreamState {
        match self {
            Self::Asked | Self::Offered { .. } => StreamState::Opening,
            Self::Replied(state) => state,
        }
    }

    /// We reply. False where no reply is due.
    pub(super) fn accept(&mut self) -> bool {
        let Self::Offered {
            fin,
            unidirectional,
        } = *self
        else {
            return false;
        };
        *self = Self::Replied(match (fin, unidirectional) {
            (false, false) => StreamState::Open,
            (true, false) => StreamState::HalfClosedRemote,
            (false, true) => StreamState::HalfClosedLocal,
            (true, true) => StreamState::Closed,
        });
        true
    }

    /// The peer replied. False where none was awaited.
    pub(super) fn replied(&mut self) -> bool {
        let awaited = matches!(self, Self::Asked);
        if awaited {
            *self = Self::Replied(StreamState::Open);
        }
        awaited
    }

    pub(super) fn sendable(self, id: StreamId) -> Result<(), Misuse> {
        match self.state() {
            StreamState::Open | StreamState::HalfClosedRemote => Ok(()),
            StreamState::Opening => Err(Misuse::NotReplied(id.get())),
            StreamState::HalfClosedLocal | StreamState::Closed => Err(Misuse::Finished(id.get())),
        }
    }

    pub(super) fn receivable(self) -> bool {
        matches!(
            self.state(),
            StreamState::Open | StreamState::HalfClosedLocal
        )
    }

    /// We finished; the stream was sendable.
    pub(super) fn finish(&mut self) {
        *self = Self::Replied(match self.state() {
            StreamState::HalfClosedRemote | StreamState::Closed => StreamState::Closed,
            _ => StreamState::HalfClosedLocal,
        });
    }

    /// The peer finished; the stream was receivable.
    pub(super) fn finished_by_peer(&mut self) {
        *self = Self::Replied(match self.state() {
            StreamState::HalfClosedLocal | StreamState::Closed => StreamState::Closed,
            _ => StreamState::HalfClosedRemote,
        });
    }
}
