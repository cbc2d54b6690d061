//! What the peer's frames do to a session.

use std::ops::Range;

use super::stream::Stream;
use super::{Handled, Session, SessionEvent};
use crate::decode::Event;
use crate::encode;
use crate::error::SessionError;
use crate::frame::{Frame, RstStatus, Side, StreamId};

impl Session {
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
}
