//! What a session brings.

use std::ops::Range;

use crate::frame::{RstStatus, StreamId};
use crate::headers::Headers;

/// What one step of [`Session::handle`](crate::Session::handle) brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// What happened; `None` where all of the input is done with and more is needed.
    pub event: Option<SessionEvent>,
}

/// What the peer did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// It opened a stream, which is to be accepted or refused.
    Opened {
        /// The stream.
        id: StreamId,
        /// What it is.
        headers: Headers,
        /// It sends no data.
        fin: bool,
    },
    /// It accepted a stream of ours.
    Replied {
        /// The stream.
        id: StreamId,
        /// It sends no data.
        fin: bool,
    },
    /// A run of data.
    Data {
        /// The stream.
        id: StreamId,
        /// Where in the input.
        range: Range<usize>,
        /// The frame's last run.
        end: bool,
        /// Its direction ends here.
        fin: bool,
    },
    /// It reset a stream, or opened it again; the stream is gone.
    Reset {
        /// The stream.
        id: StreamId,
        /// Why.
        status: RstStatus,
    },
    /// It answered a ping, or sent one with an id of ours: which were asked is not kept track of.
    Pong {
        /// Which.
        id: u32,
    },
    /// It takes no more streams. Kubernetes' peers close the connection next.
    GoAway {
        /// The last stream that it took.
        last_good: u32,
        /// 0 for a normal end.
        status: u32,
    },
}
