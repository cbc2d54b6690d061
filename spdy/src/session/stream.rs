//! One stream's life.
//!
//! ```text
//!                    ┌── we finish ───▶ HalfClosedLocal ── peer finishes ──┐
//!  Opening ─reply─▶ Open                                                   ├─▶ Closed
//!     │              └── peer finishes ▶ HalfClosedRemote ── we finish ────┘
//!     └────────────────────────── RST, either way ────────────────────────────▶ gone
//! ```
//!
//! A peer may finish its direction with the frame that opens or accepts the stream.

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

#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    state: StreamState,
    /// The peer opened it and awaits our reply.
    reply_due: bool,
    /// The peer finished before the stream was replied to.
    early_fin: bool,
}

impl Stream {
    pub(super) fn ours() -> Self {
        Self {
            state: StreamState::Opening,
            reply_due: false,
            early_fin: false,
        }
    }

    pub(super) fn theirs(fin: bool) -> Self {
        Self {
            state: StreamState::Opening,
            reply_due: true,
            early_fin: fin,
        }
    }

    pub(super) fn state(&self) -> StreamState {
        self.state
    }

    /// We reply. False where no reply is due.
    pub(super) fn accept(&mut self) -> bool {
        let due = std::mem::take(&mut self.reply_due);
        if due {
            self.state = if self.early_fin {
                StreamState::HalfClosedRemote
            } else {
                StreamState::Open
            };
        }
        due
    }

    /// The peer replied. False where none was awaited.
    pub(super) fn replied(&mut self) -> bool {
        let awaited = self.state == StreamState::Opening && !self.reply_due;
        if awaited {
            self.state = StreamState::Open;
        }
        awaited
    }

    pub(super) fn sendable(&self, id: StreamId) -> Result<(), Misuse> {
        match self.state {
            StreamState::Open | StreamState::HalfClosedRemote => Ok(()),
            StreamState::Opening => Err(Misuse::NotReplied(id.get())),
            StreamState::HalfClosedLocal | StreamState::Closed => Err(Misuse::Finished(id.get())),
        }
    }

    pub(super) fn receivable(&self) -> bool {
        matches!(self.state, StreamState::Open | StreamState::HalfClosedLocal)
    }

    pub(super) fn finish(&mut self) {
        self.state = match self.state {
            StreamState::HalfClosedRemote | StreamState::Closed => StreamState::Closed,
            _ => StreamState::HalfClosedLocal,
        };
    }

    pub(super) fn finished_by_peer(&mut self) {
        self.state = match self.state {
            StreamState::HalfClosedLocal | StreamState::Closed => StreamState::Closed,
            _ => StreamState::HalfClosedRemote,
        };
    }
}
