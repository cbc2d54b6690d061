//! What every long-running binary of Streamway shares.
//!
//! | module | what it holds |
//! |---|---|
//! | [`exit`] | how a process ends: exit code and one line on stderr |
//! | [`flags`] | values of flags |
//! | [`gates`] | feature gates in Kubernetes' syntax |
//! | [`logs`] | `--logging-format`, `-v` |
//! | [`metrics`], [`admin`] | `/metrics`, `/livez`, `/readyz` over plain HTTP |
//! | [`tls`] | serving certificate and client CA, read again when their files change |
//! | [`shutdown`] | SIGTERM to exit, in phases |
//! | [`tcp`] | keepalive |
//!
//! It knows nothing of Kubernetes' API and of streaming: no client, no protocol, no crate of this
//! workspace. A binary puts the parts together:
//!
//! ```
//! use std::time::Duration;
//! use streamway_daemon::{exit::ExitError, gates::{FeatureGate, FeatureGates}, shutdown::Shutdown};
//!
//! fn run(gates: &[String]) -> Result<(), ExitError> {
//!     streamway_daemon::install_crypto_provider();
//!     let gates = FeatureGates::parse(gates)?;
//!     let shutdown = Shutdown::new(Duration::ZERO, Duration::from_secs(30));
//!     assert!(gates.enabled(FeatureGate::PortForwardWebsockets));
//!     assert!(shutdown.is_ready());
//!     Ok(())
//! }
//! # run(&["AllAlpha=true".into()]).unwrap();
//! ```
#![forbid(unsafe_code)]

pub mod admin;
pub mod exit;
pub mod flags;
pub mod gates;
pub mod logs;
pub mod metrics;
pub mod shutdown;
pub mod tcp;
pub mod tls;

/// Makes *ring* the process's provider of cryptography, for rustls and everything over it.
///
/// Call it first in `main`, before any TLS configuration is built. A provider that is installed
/// already stays.
pub fn install_crypto_provider() {
    // The error is "one is installed already", which is what was wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
