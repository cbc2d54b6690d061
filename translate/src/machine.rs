//! What a shell needs of a machine, whichever it is.

use std::time::Instant;

use crate::{End, Outputs};

/// Content that went through, in bytes, without any framing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes {
    /// From the client.
    pub from_client: u64,
    /// From the upstream.
    pub from_upstream: u64,
}

/// A forwarded connection that the upstream refused or lost, taken out of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The port in the pod.
    pub port: u16,
    /// What the upstream said; at most 4 KiB.
    pub text: String,
}

/// A session between a WebSocket client and a SPDY upstream. The [crate](crate) tells the contract.
pub trait Translate {
    /// The client sent `input`, which stands at `offset` in its buffer. Payload is unmasked in
    /// place.
    fn handle_client(&mut self, input: &mut [u8], offset: usize, now: Instant, out: &mut Outputs);

    /// The upstream sent `input`, which stands at `offset` in its buffer.
    fn handle_upstream(&mut self, input: &[u8], offset: usize, now: Instant, out: &mut Outputs);

    /// The client's connection ended without a Close frame, in the way that `detail` tells.
    fn handle_client_gone(&mut self, detail: &str, out: &mut Outputs);

    /// The upstream's connection ended, in the way that `detail` tells.
    fn handle_upstream_gone(&mut self, detail: &str, out: &mut Outputs);

    /// The time of [`Self::poll_timeout`] has come. `reading_upstream` is whether the shell reads
    /// the upstream at all; while the client takes nothing it does not, and silence proves nothing.
    fn handle_timeout(&mut self, now: Instant, reading_upstream: bool, out: &mut Outputs);

    /// The process ends, and the session's grace with it.
    fn handle_shutdown(&mut self, out: &mut Outputs);

    /// When [`Self::handle_timeout`] is due; `None` once the session has ended.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Whether the upstream is ready, so that the client may be answered 101.
    fn is_open(&self) -> bool;

    /// How the session ended, once it has.
    fn end(&self) -> Option<&End>;

    /// A forwarded connection that the upstream refused, if one waits to be reported.
    fn poll_refusal(&mut self) -> Option<Refusal> {
        None
    }

    /// What went through so far.
    fn bytes(&self) -> Bytes;
}
