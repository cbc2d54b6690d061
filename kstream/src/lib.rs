//! Kubernetes' stream dialects: what is said over WebSockets and SPDY, without either's sockets.
//!
//! | module | what it holds |
//! |---|---|
//! | [`ws`] | RFC 6455 framing, masks, close codes, the server's side of the handshake |
//! | [`subprotocol`] | which protocols a request offers, and how one is chosen |
//! | [`channel`] | remote command's five channels, and which of them a request wants |
//! | [`status`] | what the error channel says at a command's end |
//! | [`resize`] | terminal sizes |
//! | [`portforward`] | which stream belongs to which forwarded connection |
//!
//! Sources: `k8s.io/streaming`, `k8s.io/cri-streaming` and `k8s.io/client-go` v0.36.3.
//!
//! # Non-goals
//!
//! SPDY's frames (crate `spdy`), joining the two (crate `translate`), permessage-deflate and other
//! extensions: no Kubernetes peer negotiates one.
#![forbid(unsafe_code)]

pub mod channel;
pub mod portforward;
pub mod resize;
pub mod status;
pub mod subprotocol;
pub mod ws;
