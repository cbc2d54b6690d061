//! Bytes to messages.

use std::ops::Range;

use super::{CloseCode, MessageKind, Role, mask};

/// Limits of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest message in bytes, over all its frames. Default 32 MiB, as `golang.org/x/net/websocket`
    /// takes in Kubernetes' servers. Messages are handed on as they arrive, so this holds no memory.
    pub max_message: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 32 << 20,
        }
    }
}

/// A control frame's payload: at most 125 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ControlPayload {
    bytes: [u8; 125],
    len: u8,
}

impl Default for ControlPayload {
    fn default() -> Self {
        Self {
            bytes: [0; 125],
            len: 0,
        }
    }
}

impl std::fmt::Debug for ControlPayload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ControlPayload({} bytes)", self.len)
    }
}

impl ControlPayload {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// Appends as much as fits; the head has been checked to announce no more.
    fn extend(&mut self, data: &[u8]) {
        let at = usize::from(self.len);
        if let Some(room) = self.bytes.get_mut(at..at + data.len()) {
            room.copy_from_slice(data);
            self.len = u8::try_from(at + data.len()).unwrap_or(self.len);
        }
    }
}

/// What one step of a [`Decoder`] brought.
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
    /// A run of a message's payload, unmasked in place, never copied. Fragments are put together:
    /// `start` and `end` are the message's.
    Payload {
        /// What the message is.
        kind: MessageKind,
        /// Where the run is in the input; may be empty where the message starts or ends.
        range: Range<usize>,
        /// The message's first run.
        start: bool,
        /// Its last.
        end: bool,
    },
    /// A Ping, to be answered with its payload.
    Ping(ControlPayload),
    /// A Pong, asked for or not.
    Pong(ControlPayload),
    /// The peer closes; nothing comes after it. The reason may be no UTF-8: it is for logs only.
    Close(Option<CloseCode>, ControlPayload),
}

/// Bytes that are no RFC 6455, or too many. The connection cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WsError {
    /// Bits of extensions that were not negotiated.
    #[error("reserved bits {0:#x} are set")]
    Reserved(u8),
    /// An opcode that RFC 6455 does not define.
    #[error("unknown opcode {0}")]
    Opcode(u8),
    /// A client's frame without a mask, or a server's with one.
    #[error("the frame is {}masked", if *.0 { "" } else { "not " })]
    Masked(bool),
    /// A control frame in fragments.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    #[error("a control frame of more than 125 bytes")]
    LongControl,
    /// A continuation of nothing.
    #[error("a continuation frame without a message")]
    NoMessage,
    /// A message within a message.
    #[error("a new message within a fragmented one")]
    Interrupted,
    /// A length that is not written in the shortest way, or beyond 63 bits.
    #[error("a malformed length")]
    Length,
    /// A message that is too long.
    #[error("a message of more than {0} bytes")]
    TooLong(u64),
    /// A Close frame's payload of one byte, or a code that must not be sent.
    #[error("a malformed close frame")]
    Close,
    /// Anything after a Close frame.
    #[error("a frame after the close frame")]
    AfterClose,
}

impl WsError {
    /// The code to close with.
    pub fn close_code(&self) -> CloseCode {
        match self {
            Self::TooLong(_) => CloseCode::TOO_LARGE,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

/// Reads one direction of a connection. Holds at most a head and a control frame's payload.
#[derive(Debug)]
pub struct Decoder {
    role: Role,
    limits: Limits,
    state: State,
    /// Bytes of a head that came in an earlier input.
    head: [u8; 14],
    head_len: usize,
    /// The message that is under way, and its length so far.
    message: Option<(MessageKind, u64)>,
    /// Nothing of the message was handed on yet.
    fresh: bool,
    control: ControlPayload,
    closed: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Head,
    Data {
        left: u64,
        mask: Option<[u8; 4]>,
        phase: usize,
        fin: bool,
    },
    Control {
        opcode: u8,
        left: usize,
        mask: Option<[u8; 4]>,
        phase: usize,
    },
}

impl Decoder {
    /// At the start of a connection, behind the handshake.
    pub fn new(role: Role, limits: Limits) -> Self {
        Self {
            role,
            limits,
            state: State::Head,
            head: [0; 14],
            head_len: 0,
            message: None,
            fresh: false,
            control: ControlPayload::default(),
            closed: false,
        }
    }

    /// Reads up to the next event. Payload is unmasked in place.
    ///
    /// # Errors
    ///
    /// The peer broke the protocol; the connection is to be closed with the error's code.
    pub fn decode(&mut self, input: &mut [u8]) -> Result<Decoded, WsError> {
        let mut consumed = 0;
        loop {
            let rest = input.get_mut(consumed..).unwrap_or_default();
            match self.state {
                State::Head => {
                    if rest.is_empty() {
                        return Ok(Decoded {
                            consumed,
                            event: None,
                        });
                    }
                    if self.closed {
                        return Err(WsError::AfterClose);
                    }
                    let Some(taken) = self.read_head(rest)? else {
                        return Ok(Decoded {
                            consumed: input.len(),
                            event: None,
                        });
                    };
                    consumed += taken;
                }
                State::Data {
                    left,
                    mask,
                    phase,
                    fin,
                } => {
                    // What is not there yet is waited for, but an empty frame is whole.
                    if rest.is_empty() && left > 0 {
                        return Ok(Decoded {
                            consumed,
                            event: None,
                        });
                    }
                    let run = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    let data = rest.get_mut(..run).unwrap_or_default();
                    let phase = mask.map_or(0, |key| mask::apply(data, key, phase));
                    let left = left - run as u64;
                    let Some((kind, _)) = self.message else {
                        return Err(WsError::NoMessage);
                    };
                    let end = left == 0 && fin;
                    let start = std::mem::take(&mut self.fresh);
                    self.state = if left == 0 {
                        State::Head
                    } else {
                        State::Data {
                            left,
                            mask,
                            phase,
                            fin,
                        }
                    };
                    if end {
                        self.message = None;
                    }
                    let range = consumed..consumed + run;
                    consumed += run;
                    if run > 0 || start || end {
                        let event = Event::Payload {
                            kind,
                            range,
                            start,
                            end,
                        };
                        return Ok(Decoded {
                            consumed,
                            event: Some(event),
                        });
                    }
                }
                State::Control {
                    opcode,
                    left,
                    mask,
                    phase,
                } => {
                    let run = rest.len().min(left);
                    let data = rest.get_mut(..run).unwrap_or_default();
                    let phase = mask.map_or(0, |key| mask::apply(data, key, phase));
                    self.control.extend(data);
                    consumed += run;
                    if run < left {
                        self.state = State::Control {
                            opcode,
                            left: left - run,
                            mask,
                            phase,
                        };
                        return Ok(Decoded {
                            consumed,
                            event: None,
                        });
                    }
                    self.state = State::Head;
                    let payload = std::mem::take(&mut self.control);
                    let event = self.control_event(opcode, payload)?;
                    return Ok(Decoded {
                        consumed,
                        event: Some(event),
                    });
                }
            }
        }
    }

    /// Takes bytes of a head; `Some` once it is whole, with how many it took.
    fn read_head(&mut self, rest: &[u8]) -> Result<Option<usize>, WsError> {
        let mut taken = 0;
        loop {
            if let Some(needed) = self.head_needs()?
                && self.head_len == needed
            {
                self.head_len = 0;
                self.start_frame()?;
                return Ok(Some(taken));
            }
            let (Some(byte), Some(slot)) = (rest.get(taken), self.head.get_mut(self.head_len))
            else {
                return Ok(None);
            };
            *slot = *byte;
            self.head_len += 1;
            taken += 1;
        }
    }

    /// The head's length, once its first two bytes are there; and everything that they can show to be
    /// wrong.
    fn head_needs(&self) -> Result<Option<usize>, WsError> {
        if self.head_len < 2 {
            return Ok(None);
        }
        let [first, second, ..] = self.head;
        if first & 0x70 != 0 {
            return Err(WsError::Reserved(first & 0x70));
        }
        let (opcode, fin, len) = (first & 0x0f, first & 0x80 != 0, second & 0x7f);
        let masked = second & 0x80 != 0;
        if masked != (self.role == Role::Server) {
            return Err(WsError::Masked(masked));
        }
        match opcode {
            0 if self.message.is_none() => return Err(WsError::NoMessage),
            1 | 2 if self.message.is_some() => return Err(WsError::Interrupted),
            0..=2 => {}
            8..=10 if !fin => return Err(WsError::FragmentedControl),
            8..=10 if len > 125 => return Err(WsError::LongControl),
            8..=10 => {}
            other => return Err(WsError::Opcode(other)),
        }
        let length = match len {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        Ok(Some(2 + length + if masked { 4 } else { 0 }))
    }

    /// The head is whole.
    fn start_frame(&mut self) -> Result<(), WsError> {
        let [first, second, a, b, c, d, e, f, g, h, i, j, k, l] = self.head;
        let (left, key) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes([a, b])), [c, d, e, f]),
            127 => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), [i, j, k, l]),
            short => (u64::from(short), [a, b, c, d]),
        };
        let shortest = match second & 0x7f {
            126 => left > 125,
            127 => left > 0xffff && left >> 63 == 0,
            _ => true,
        };
        if !shortest {
            return Err(WsError::Length);
        }
        let mask = (second & 0x80 != 0).then_some(key);
        let (opcode, fin) = (first & 0x0f, first & 0x80 != 0);
        if opcode >= 8 {
            // At most 125, by head_needs().
            let left = usize::try_from(left).unwrap_or_default();
            self.state = State::Control {
                opcode,
                left,
                mask,
                phase: 0,
            };
            return Ok(());
        }
        if opcode != 0 {
            let kind = if opcode == 1 {
                MessageKind::Text
            } else {
                MessageKind::Binary
            };
            self.message = Some((kind, 0));
            self.fresh = true;
        }
        if let Some((_, len)) = &mut self.message {
            *len = len.saturating_add(left);
            if *len > self.limits.max_message {
                return Err(WsError::TooLong(self.limits.max_message));
            }
        }
        self.state = State::Data {
            left,
            mask,
            phase: 0,
            fin,
        };
        Ok(())
    }

    fn control_event(&mut self, opcode: u8, payload: ControlPayload) -> Result<Event, WsError> {
        Ok(match opcode {
            9 => Event::Ping(payload),
            10 => Event::Pong(payload),
            _ => {
                self.closed = true;
                match payload.as_slice() {
                    [] => Event::Close(None, payload),
                    [high, low, reason @ ..] => {
                        let code = CloseCode::new(u16::from_be_bytes([*high, *low]));
                        let mut words = ControlPayload::default();
                        words.extend(reason);
                        Event::Close(Some(code.ok_or(WsError::Close)?), words)
                    }
                    _ => return Err(WsError::Close),
                }
            }
        })
    }
}
