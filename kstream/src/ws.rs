//! RFC 6455, as far as Kubernetes' peers use it: framing for both roles, and the server's handshake.
//!
//! No extensions. Text is not checked to be UTF-8: Kubernetes' servers take a text message as they
//! take a binary one, and hand its bytes on.

mod close;
mod decode;
mod encode;
pub mod handshake;
mod mask;

pub use close::{CloseCode, close_frame};
pub use decode::{ControlPayload, Decoded, Decoder, Event, Limits, WsError};
pub use encode::{Head, encode_head};

/// Which end of a connection reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The peer is a client: its frames must be masked.
    Server,
    /// The peer is a server: its frames must not be.
    Client,
}

/// What a frame is (RFC 6455 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// More of a message.
    Continuation = 0,
    /// A message's first frame.
    Text = 1,
    /// A message's first frame.
    Binary = 2,
    /// The last frame.
    Close = 8,
    /// Asks for a Pong.
    Ping = 9,
    /// Answers a Ping, or says that one is alive.
    Pong = 10,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// Text, in principle.
    Text,
    /// Bytes.
    Binary,
}
