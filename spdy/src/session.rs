//! A connection's streams, on either side of it.

mod event;
mod receive;
mod stream;

use std::collections::BTreeMap;

use crate::decode::Decoder;
use crate::encode::{self, Encoder};
use crate::error::{Misuse, OpenError};
use crate::frame::{MAX_PAYLOAD, RstStatus, Side, StreamId};
use crate::limits::Limits;
pub use event::{Handled, SessionEvent};
use stream::Stream;
pub use stream::StreamState;

/// One end of a SPDY connection.
///
/// # Contract
///
/// Commands append the frames that they make to `out`; the caller writes `out` in order.
/// [`Session::data_head`] returns a head that the caller writes, and behind it the payload.
/// [`Session::handle`] reads up to the next event, and appends what must be answered (replies to
/// pings, resets of impossible streams) to `out`: never more than the frames that it answers were
/// long, so a peer cannot make `out` grow faster than it sends. A caller that writes slower than it
/// reads stops reading while `out` is long.
#[derive(Debug)]
pub struct Session {
    side: Side,
    limits: Limits,
    decoder: Decoder,
    encoder: Encoder,
    streams: BTreeMap<StreamId, Stream>,
    /// Ours to give next.
    next: u32,
    /// The peer's next may not be below.
    expected: u32,
    last_ping: u32,
    /// The DATA frame that is arriving began while its stream took none: all of it is dropped.
    dropping: bool,
    sent_go_away: bool,
    received_go_away: bool,
}

impl Session {
    /// At the start of a connection.
    pub fn new(side: Side, limits: Limits) -> Self {
        let (next, expected) = match side {
            Side::Client => (1, 2),
            Side::Server => (2, 1),
        };
        Self {
            side,
            decoder: Decoder::new(limits.clone()),
            limits,
            encoder: Encoder::new(),
            streams: BTreeMap::new(),
            next,
            expected,
            last_ping: 0,
            dropping: false,
            sent_go_away: false,
            received_go_away: false,
        }
    }

    /// Opens a stream. Data may be sent on it once it was replied to.
    ///
    /// # Errors
    ///
    /// No ids left, too many streams, or the connection is going away.
    pub fn open(
        &mut self,
        headers: &[(&str, &str)],
        out: &mut Vec<u8>,
    ) -> Result<StreamId, OpenError> {
        if self.sent_go_away || self.received_go_away {
            return Err(OpenError::GoingAway);
        }
        if self.streams.len() >= self.limits.max_streams {
            return Err(OpenError::TooMany(self.streams.len()));
        }
        let id = StreamId::new(self.next).ok_or(OpenError::Exhausted)?;
        self.next = self.next.saturating_add(2);
        self.streams.insert(id, Stream::Asked);
        self.encoder.syn_stream(out, id, false, headers);
        Ok(id)
    }

    /// Accepts a stream of the peer's.
    ///
    /// # Errors
    ///
    /// The stream is not open, or was accepted before.
    pub fn accept(&mut self, id: StreamId, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let stream = self
            .streams
            .get_mut(&id)
            .ok_or_else(|| Misuse::NotOpen(id.get()))?;
        if !stream.accept() {
            return Err(Misuse::NoReplyDue(id.get()));
        }
        self.drop_if_over(id);
        self.encoder.syn_reply(out, id, false, &[]);
        Ok(())
    }

    /// Refuses a stream of the peer's.
    pub fn refuse(&mut self, id: StreamId, status: RstStatus, out: &mut Vec<u8>) {
        self.reset(id, status, out);
    }

    /// The head of a DATA frame; `len` bytes of payload belong behind it.
    ///
    /// # Errors
    ///
    /// The stream is not open for data of ours, or `len` does not fit a frame.
    pub fn data_head(&mut self, id: StreamId, len: u32, fin: bool) -> Result<[u8; 8], Misuse> {
        if len > MAX_PAYLOAD {
            return Err(Misuse::TooLong(len));
        }
        let stream = self
            .streams
            .get_mut(&id)
            .ok_or_else(|| Misuse::NotOpen(id.get()))?;
        stream.sendable(id)?;
        if fin {
            stream.finish();
            self.drop_if_over(id);
        }
        Ok(encode::data_head(id, len, fin))
    }

    /// Ends our direction of a stream.
    ///
    /// # Errors
    ///
    /// As [`Session::data_head`].
    pub fn finish(&mut self, id: StreamId, out: &mut Vec<u8>) -> Result<(), Misuse> {
        let head = self.data_head(id, 0, true)?;
        out.extend_from_slice(&head);
        Ok(())
    }

    /// Ends a stream for both sides. Nothing is sent for one that is not open.
    pub fn reset(&mut self, id: StreamId, status: RstStatus, out: &mut Vec<u8>) {
        if self.streams.remove(&id).is_some() {
            encode::rst_stream(out, id, status);
        }
    }

    /// Asks the peer for a sign of life; the id comes back in [`SessionEvent::Pong`].
    pub fn ping(&mut self, out: &mut Vec<u8>) -> u32 {
        let first = if self.side == Side::Client { 1 } else { 2 };
        self.last_ping = match self.last_ping {
            0 => first,
            last => last
                .checked_add(2)
                .filter(|id| *id <= StreamId::MAX)
                .unwrap_or(first),
        };
        encode::ping(out, self.last_ping);
        self.last_ping
    }

    /// Says that no more streams are taken.
    pub fn go_away(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.sent_go_away, true) {
            encode::go_away(out, self.expected.saturating_sub(2), 0);
        }
    }

    /// How far a stream is; `None` for one that is not open.
    pub fn stream_state(&self, id: StreamId) -> Option<StreamState> {
        self.streams.get(&id).map(|stream| stream.state())
    }

    /// Open streams.
    pub fn open_streams(&self) -> usize {
        self.streams.len()
    }

    /// Bytes that are held for a frame that is not whole yet.
    pub fn buffered_bytes(&self) -> usize {
        self.decoder.buffered_bytes()
    }

    fn drop_if_over(&mut self, id: StreamId) {
        if self.stream_state(id) == Some(StreamState::Closed) {
            self.streams.remove(&id);
        }
    }
}
