//! The pure state machines that join a WebSocket client and a SPDY upstream.
//!
//! ```text
//!            handle_client(&mut buffer)                 upstream: Transmit
//!  client ───────────────────────────▶ ┌───────────┐ ───────────────────────▶ kubelet
//!  (WebSocket)                         │ Exec or   │                          (SPDY)
//!         ◀─────────────────────────── │ Tunnel    │ ◀───────────────────────
//!            client: Transmit          └───────────┘   handle_upstream(&buffer)
//! ```
//!
//! # Contract
//!
//! The shell owns one input buffer per leg. What a machine wants sent on a leg is a queue of
//! [`Chunk`]s: a short head that the machine wrote, and a range of the *other* leg's input buffer.
//! Payload is never copied here. The shell
//!
//! 1. reads bytes of a leg behind those that its buffer still holds, and hands exactly the new
//!    ones, with their offset, to `handle_client` or `handle_upstream`;
//! 2. writes the chunks of [`Outputs`] in order; once [`Transmit::is_empty`], the other leg's
//!    buffer may be cleared and its offsets start at zero again;
//! 3. calls `handle_timeout` when the time of `poll_timeout` has come;
//! 4. after every call looks at `end`: `Some` means that nothing more is to be read, what is queued
//!    for the client is to be written, and the legs are to be closed as [`End`] says.
//!
//! Every chunk is whole on the wire (one WebSocket message, one SPDY frame), so whatever is queued
//! later never lands inside another frame.
//!
//! # Non-goals
//!
//! Dialling, TLS and HTTP (crate `streamproxy`), frame formats (crates `spdy` and `kstream`).
#![forbid(unsafe_code)]

mod end;
pub mod exec;
pub mod flow;
mod machine;
mod transmit;
pub mod tunnel;

pub use end::{End, Fault, Outcome};
pub use machine::{Bytes, Refusal, Translate};
pub use transmit::{Chunk, Head, Outputs, Transmit};
