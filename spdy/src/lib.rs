//! SPDY/3.1 as Kubernetes' peers speak it. Bytes in, events and bytes out; no sockets, no clock.
//!
//! ```text
//!  session   streams' states, ids, replies to pings          [`Session`]
//!  decode    bytes ─▶ frames; data payload is never copied   [`Decoder`]
//!  encode    frames ─▶ bytes                                 [`Encoder`], [`data_head`], …
//!  headers   name/value blocks · inflate  their zlib stream
//! ```
//!
//! The peer that sets the rules is `github.com/moby/spdystream` v0.5.1, which Kubernetes 1.36 and
//! 1.37 use on both sides.
//!
//! ```
//! use streamway_spdy::{Limits, Session, SessionEvent, Side};
//!
//! let (mut client, mut server) = (
//!     Session::new(Side::Client, Limits::default()),
//!     Session::new(Side::Server, Limits::default()),
//! );
//! let mut wire = Vec::new();
//! let id = client.open(&[("streamtype", "stdin")], &mut wire)?;
//! let handled = server.handle(&wire, &mut Vec::new())?;
//! assert!(matches!(handled.event, Some(SessionEvent::Opened { id: opened, .. }) if opened == id));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Non-goals
//!
//! Server push, SETTINGS and flow control: Kubernetes' peers neither send nor honour them, and one
//! that waited for WINDOW_UPDATE would wait for ever. They are read and passed over.
#![forbid(unsafe_code)]

mod decode;
mod encode;
mod error;
pub mod frame;
mod headers;
mod inflate;
mod limits;
mod session;

pub use decode::{Decoded, Decoder, Event};
pub use encode::{Encoder, data_head, go_away, ping, rst_stream};
pub use error::{DecodeError, Fault, Misuse, OpenError, SessionError};
pub use frame::{Frame, RstStatus, Side, StreamId};
pub use headers::Headers;
pub use limits::Limits;
pub use session::{Handled, Session, SessionEvent, StreamState};
