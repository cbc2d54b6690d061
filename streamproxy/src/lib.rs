//! The data plane: `streamproxy node`, in front of a kubelet, and `streamproxy gateway`, in front of
//! API servers.
//!
//! ```text
//!  client ──TLS──▶ listen ─▶ node or gateway: who, may they, which way?
//!                              ├─ streaming: translated ─▶ relay ◀─▶ server (SPDY)
//!                              ├─ streaming: passed ───────────────▶ server (as it is)
//!                              └─ upstream: pooled ────────────────▶ server (plain HTTP)
//! ```
//!
//! No request reaches a kubelet or an API server with more rights than its caller has: each role's
//! module says how it sees to that.
//!
//! The only crate with sockets and protocol. Not here: what a byte means (crates `spdy`, `kstream`,
//! `translate`), what every daemon shares (crate `daemon`).

pub mod args;
pub mod auth;
mod beats;
pub mod check;
mod conn;
mod driven;
pub mod gateway;
mod headers;
mod lane;
mod listen;
mod metrics;
pub mod node;
mod port;
pub mod probe_target;
mod relay;
mod reply;
mod route;
mod serve;
mod session;
mod stream;
mod streaming;
mod upstream;
