//! The controller.
#![forbid(unsafe_code)]

pub mod args;
mod approver;
mod http;
mod lease;
mod prober;
mod random;
mod scrape;
