//! What can go wrong, and whose fault it is.

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The peer broke the protocol.
    Peer,
    /// A limit of ours.
    Local,
}

/// Bytes that are no SPDY/3.1, or more than the limits allow. The connection cannot go on: the
/// header blocks' shared zlib state is lost with the first frame that is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A control frame of another version.
    #[error("control frame of version {0}, not 3")]
    Version(u16),
    /// A control frame that SPDY/3.1 does not have, or that no Kubernetes peer sends.
    #[error("control frame of unknown type {0}")]
    UnknownType(u16),
    /// A control frame whose length does not fit its type.
    #[error("control frame of type {kind} with a payload of {len} bytes")]
    Length {
        /// The frame's type.
        kind: u16,
        /// The payload's length.
        len: u32,
    },
    /// More bytes than a limit allows.
    #[error("{what} of {len} bytes, more than the limit of {limit}")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// How long it is, or how much of it was read.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// More headers in a block than the limit allows.
    #[error("header block with {0} headers")]
    TooManyHeaders(u32),
    /// Stream 0, where a stream must be named.
    #[error("stream id 0 in a frame of type {0}")]
    ZeroStream(u16),
    /// Flags that the frame's type does not have.
    #[error("flags {flags:#x} on a frame of type {kind}")]
    Flags {
        /// The frame's type.
        kind: u16,
        /// The flags.
        flags: u8,
    },
    /// A value that the field cannot have.
    #[error("{what} is {value}")]
    Value {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u32,
    },
    /// A header block that cannot be inflated.
    #[error("header block is not the connection's zlib stream: {0}")]
    Zlib(&'static str),
    /// A header block whose inflated bytes are no list of names and values.
    #[error("header block is malformed: {0}")]
    HeaderBlock(&'static str),
}

impl DecodeError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::TooLong { .. } | Self::TooManyHeaders(_) => Fault::Local,
            _ => Fault::Peer,
        }
    }
}

/// Why a session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The peer sent what cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The peer sent data on a stream that was never opened: what it sends is not SPDY.
    #[error("data on stream {0}, which was never opened")]
    NeverOpened(u32),
}

impl SessionError {
    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Decode(error) => error.fault(),
            Self::NeverOpened(_) => Fault::Peer,
        }
    }
}

/// Why a stream cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Every id has been used.
    #[error("no stream ids are left")]
    Exhausted,
    /// GOAWAY was sent or received.
    #[error("the connection is going away")]
    GoingAway,
    /// As many streams are open as the limits allow.
    #[error("{0} streams are open already")]
    TooMany(usize),
}

/// A call that the stream's state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// No such stream, or none any more.
    #[error("stream {0} is not open")]
    NotOpen(u32),
    /// The reply was not sent, or not seen: spdystream would drop the data.
    #[error("stream {0} has no reply yet")]
    NotReplied(u32),
    /// Our direction has ended.
    #[error("stream {0} is finished")]
    Finished(u32),
    /// More than fits a DATA frame.
    #[error("{0} bytes do not fit a data frame")]
    TooLong(u32),
    /// A reply to a stream that needs none.
    #[error("stream {0} was replied to already, or is our own")]
    NoReplyDue(u32),
}
