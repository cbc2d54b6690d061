//! Bytes to frames.

mod control;
mod event;

use crate::error::DecodeError;
use crate::frame::{FLAG_FIN, HEAD, StreamId, VERSION};
use crate::inflate::Inflate;
use crate::limits::Limits;
pub use event::{Decoded, Event};

/// Reads one direction of a connection.
///
/// Drop [`Decoded::consumed`] bytes of the input after each step, and go on until there is no event.
/// After an error it is of no more use.
///
/// Holds at most a head and a control frame's payload, both only as far as they have arrived, and
/// what it needs to inflate the next header block: the blocks so far up to 2 KiB, beyond that zlib's
/// state, 47 KiB. Kubernetes' replies to an `exec` come to 20 bytes.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// `None` in a walker.
    inflate: Option<Inflate>,
    /// Bytes of a head, or of a control frame's payload, that came in an earlier input.
    held: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Head,
    Data {
        stream: StreamId,
        len: u32,
        left: u32,
        fin: bool,
    },
    Control {
        kind: u16,
        flags: u8,
        len: usize,
    },
    Opaque {
        head: [u8; HEAD],
        kind: u16,
        len: usize,
        left: usize,
        id: u32,
    },
}

impl Decoder {
    /// At the start of a connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            inflate: Some(Inflate::default()),
            held: Vec::new(),
            state: State::Head,
        }
    }

    /// One that finds the frames' bounds and does not look into control frames: it inflates nothing
    /// and holds at most a head.
    pub fn new_walker(limits: Limits) -> Self {
        Self {
            inflate: None,
            ..Self::new(limits)
        }
    }

    /// Bytes that are held for a frame that is not whole yet.
    pub fn buffered_bytes(&self) -> usize {
        self.held.len()
    }

    /// Reads up to the next event.
    ///
    /// # Errors
    ///
    /// Bytes that are no SPDY, or more than the limits allow. The connection cannot go on.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, DecodeError> {
        let mut consumed = 0;
        loop {
            let rest = input.get(consumed..).unwrap_or_default();
            match self.state {
                State::Head => {
                    let Some(head) = self.collect::<HEAD>(rest, &mut consumed) else {
                        return Ok(Decoded {
                            consumed,
                            event: None,
                        });
                    };
                    self.state = self.head(head)?;
                    if let State::Data {
                        stream,
                        len: 0,
                        fin,
                        ..
                    } = self.state
                    {
                        self.state = State::Head;
                        let range = consumed..consumed;
                        let event = Event::Data {
                            stream,
                            range,
                            frame_len: 0,
                            start: true,
                            end: true,
                            fin,
                        };
                        return Ok(Decoded {
                            consumed,
                            event: Some(event),
                        });
                    }
                }
                State::Data {
                    stream,
                    len,
                    left,
                    fin,
                } => {
                    if rest.is_empty() {
                        return Ok(Decoded {
                            consumed,
                            event: None,
                        });
                    }
                    // At most `left`, which is a u32.
                    let run = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let after = left - u32::try_from(run).unwrap_or(left);
                    let end = after == 0;
                    self.state = if end {
                        State::Head
                    } else {
                        State::Data {
                            stream,
                            len,
                            left: after,
                            fin,
                        }
                    };
                    let range = consumed..consumed + run;
                    let start = left == len;
                    let event = Event::Data {
                        stream,
                        range,
                        frame_len: len,
                        start,
                        end,
                        fin: fin && end,
                    };
                    return Ok(Decoded {
                        consumed: consumed + run,
                        event: Some(event),
                    });
                }
                State::Control { kind, flags, len } => {
                    let missing = len - self.held.len();
                    let Some(new) = rest.get(..missing) else {
                        self.held.extend_from_slice(rest);
                        return Ok(Decoded {
                            consumed: input.len(),
                            event: None,
                        });
                    };
                    consumed += missing;
                    self.state = State::Head;
                    let mut held = std::mem::take(&mut self.held);
                    let payload = if held.is_empty() {
                        new
                    } else {
                        held.extend_from_slice(new);
                        &held
                    };
                    let frame = self.control(kind, flags, payload)?;
                    let event = Event::Control {
                        frame,
                        wire_len: HEAD + len,
                    };
                    return Ok(Decoded {
                        consumed,
                        event: Some(event),
                    });
                }
                State::Opaque {
                    head,
                    kind,
                    len,
                    left,
                    id,
                } => {
                    if rest.is_empty() && left > 0 {
                        return Ok(Decoded {
                            consumed,
                            event: None,
                        });
                    }
                    let run = rest.len().min(left);
                    let read = len - left;
                    let id = rest
                        .iter()
                        .take(run)
                        .take(4_usize.saturating_sub(read))
                        .fold(id, |id, byte| (id << 8) | u32::from(*byte));
                    let end = run == left;
                    let start = left == len;
                    self.state = if end {
                        State::Head
                    } else {
                        State::Opaque {
                            head,
                            kind,
                            len,
                            left: left - run,
                            id,
                        }
                    };
                    let known = read + run >= 4 && control::names_stream(kind);
                    let stream = known.then(|| StreamId::new(id & StreamId::MAX)).flatten();
                    let range = consumed..consumed + run;
                    let event = Event::Opaque {
                        head,
                        kind,
                        range,
                        start,
                        end,
                        stream,
                    };
                    return Ok(Decoded {
                        consumed: consumed + run,
                        event: Some(event),
                    });
                }
            }
        }
    }

    /// The next `N` bytes, from what is held and from `rest`.
    fn collect<const N: usize>(&mut self, rest: &[u8], consumed: &mut usize) -> Option<[u8; N]> {
        if self.held.is_empty()
            && let Some(whole) = rest.first_chunk::<N>()
        {
            *consumed += N;
            return Some(*whole);
        }
        let missing = N - self.held.len().min(N);
        let new = rest.get(..missing.min(rest.len())).unwrap_or_default();
        self.held.extend_from_slice(new);
        *consumed += new.len();
        let whole = self.held.first_chunk::<N>().copied()?;
        self.held = Vec::new();
        Some(whole)
    }

    fn head(&self, head: [u8; HEAD]) -> Result<State, DecodeError> {
        let [a, b, c, d, flags, x, y, z] = head;
        let len = u32::from_be_bytes([0, x, y, z]);
        if a & 0x80 == 0 {
            let id = u32::from_be_bytes([a, b, c, d]);
            let stream = StreamId::new(id).ok_or(DecodeError::ZeroStream(0))?;
            if len > self.limits.max_data_payload {
                return Err(too_long("data frame", len, self.limits.max_data_payload));
            }
            return Ok(State::Data {
                stream,
                len,
                left: len,
                fin: flags & FLAG_FIN != 0,
            });
        }
        let version = u16::from_be_bytes([a & 0x7f, b]);
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let kind = u16::from_be_bytes([c, d]);
        if len > self.limits.max_control_payload {
            return Err(too_long(
                "control frame",
                len,
                self.limits.max_control_payload,
            ));
        }
        control::check_head(kind, flags, len)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        Ok(if self.inflate.is_some() {
            State::Control { kind, flags, len }
        } else {
            State::Opaque {
                head,
                kind,
                len,
                left: len,
                id: 0,
            }
        })
    }
}

fn too_long(what: &'static str, len: u32, limit: u32) -> DecodeError {
    let size = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
    DecodeError::TooLong {
        what,
        len: size(len),
        limit: size(limit),
    }
}
