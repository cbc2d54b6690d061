//! The controller.
#![forbid(unsafe_code)]

mod agents;
mod approver;
pub mod args;
mod http;
mod lease;
mod metrics;
mod observe;
mod prober;
mod random;
mod scrape;
mod uninstall;
mod withdraw;
