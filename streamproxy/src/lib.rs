//! The data plane: `streamproxy node`, in front of a kubelet.
//!
//! ```text
//!  API server ──TLS──▶ listen ─▶ handler ─▶ auth ─▶ which way?
//!                                                   ├─ translated ─▶ relay ◀─▶ kubelet (SPDY)
//!                                                   ├─ passthrough ─────────▶ kubelet (as it is)
//!                                                   └─ forward ─────────────▶ kubelet (plain HTTP)
//! ```
//!
//! Nothing of a request reaches the kubelet before its caller is authenticated and authorized as a
//! kubelet would do it; the proxy then speaks to the kubelet as itself.
//!
//! The only crate with sockets and protocol. Not here: what a byte means (crates `spdy`, `kstream`,
//! `translate`), what every daemon shares (crate `daemon`).

pub mod args;
pub mod auth;
mod conn;
mod handler;
mod headers;
mod kubelet;
mod listen;
mod metrics;
pub mod node;
mod relay;
mod reply;
mod route;
mod session;
mod stream;
