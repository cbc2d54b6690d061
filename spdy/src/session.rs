//! A connection's streams, on either side of it.

mod stream;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::decode::{Decoder, Event};
use crate::encode::{self, Encoder};
use crate::error::{Misuse, OpenError, SessionError};
use crate::frame::{Frame, MAX_PAYLOAD, RstStatus, Side, StreamId};
use crate::headers::Headers;
use crate::limits::Limits;
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
/// long, which is at most the input and [`Session::buffered_bytes`]. A caller that writes slower
/// than it reads stops reading while `out` is long.
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

/// What one step of [`Session::handle`] brought.
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

    /// Reads up to the next event.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol; the connection cannot go on.
    pub fn handle(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Handled, SessionError> {
        let mut consumed = 0;
        loop {
            let decoded = self
                .decoder
                .decode(input.get(consumed..).unwrap_or_default())?;
            let base = consumed;
            consumed += decoded.consumed;
            let event = match decoded.event {
                None => {
                    return Ok(Handled {
                        consumed,
                        event: None,
                    });
                }
                Some(Event::Data {
                    stream,
                    range,
                    start,
                    end,
                    fin,
                    ..
                }) => {
                    if start {
                        self.dropping = self.drops(stream)?;
                    }
                    self.data(stream, base + range.start..base + range.end, end, fin)
                }
                Some(Event::Control { frame, .. }) => self.control(frame, out),
                Some(Event::Opaque { .. }) => None,
            };
            if event.is_some() {
                return Ok(Handled { consumed, event });
            }
        }
    }

    /// Whether a DATA frame that starts now is dropped: spdystream drops what comes for a stream that
    /// is not replied to, or over.
    fn drops(&self, id: StreamId) -> Result<bool, SessionError> {
        let next = if id.initiated_by() == self.side {
            self.next
        } else {
            self.expected
        };
        if id.get() >= next {
            return Err(SessionError::NeverOpened(id.get()));
        }
        Ok(!self
            .streams
            .get(&id)
            .is_some_and(|stream| stream.receivable()))
    }

    fn data(
        &mut self,
        id: StreamId,
        range: Range<usize>,
        end: bool,
        fin: bool,
    ) -> Option<SessionEvent> {
        // Reset by us since the frame began, it is gone.
        let stream = self.streams.get_mut(&id).filter(|_| !self.dropping)?;
        if fin {
            stream.finished_by_peer();
            self.drop_if_over(id);
        }
        Some(SessionEvent::Data {
            id,
            range,
            end,
            fin,
        })
    }

    fn control(&mut self, frame: Frame, out: &mut Vec<u8>) -> Option<SessionEvent> {
        match frame {
            Frame::SynStream {
                id,
                fin,
                unidirectional,
                headers,
                ..
            } => {
                let stream = Stream::Offered {
                    fin,
                    unidirectional,
                };
                self.offered(id, stream, SessionEvent::Opened { id, headers, fin }, out)
            }
            Frame::SynReply { id, fin, .. } => {
                if !self.streams.get_mut(&id)?.replied() {
                    return None;
                }
                if fin {
                    self.streams.get_mut(&id)?.finished_by_peer();
                    self.drop_if_over(id);
                }
                Some(SessionEvent::Replied { id, fin })
            }
            Frame::RstStream { id, status } => {
                self.streams.remove(&id)?;
                Some(SessionEvent::Reset { id, status })
            }
            Frame::Headers { id, fin, .. } => {
                let stream = self
                    .streams
                    .get_mut(&id)
                    .filter(|stream| stream.receivable())?;
                if !fin {
                    return None;
                }
                stream.finished_by_peer();
                self.drop_if_over(id);
                Some(SessionEvent::Data {
                    id,
                    range: 0..0,
                    end: true,
                    fin: true,
                })
            }
            Frame::Ping { id } => {
                let ours = (id % 2 == 1) == (self.side == Side::Client);
                if ours {
                    return Some(SessionEvent::Pong { id });
                }
                encode::ping(out, id);
                None
            }
            Frame::GoAway { last_good, status } => {
                self.received_go_away = true;
                Some(SessionEvent::GoAway { last_good, status })
            }
            Frame::Settings { .. } | Frame::WindowUpdate { .. } => None,
        }
    }

    /// Takes a stream that the peer opens, which is the event `opened`, or resets it.
    fn offered(
        &mut self,
        id: StreamId,
        stream: Stream,
        opened: SessionEvent,
        out: &mut Vec<u8>,
    ) -> Option<SessionEvent> {
        // Gaps are allowed; an id that came before, or that is ours to give, is not.
        if id.get() < self.expected || id.initiated_by() == self.side {
            let status = RstStatus::PROTOCOL_ERROR;
            encode::rst_stream(out, id, status);
            // The reset ends the stream that has the id, too.
            let gone = self.streams.remove(&id);
            return gone.map(|_| SessionEvent::Reset { id, status });
        }
        self.expected = id.get().saturating_add(2);
        if self.sent_go_away || self.streams.len() >= self.limits.max_streams {
            encode::rst_stream(out, id, RstStatus::REFUSED_STREAM);
            return None;
        }
        self.streams.insert(id, stream);
        Some(opened)
    }

    fn drop_if_over(&mut self, id: StreamId) {
        if self.stream_state(id) == Some(StreamState::Closed) {
            self.streams.remove(&id);
        }
    }
}
