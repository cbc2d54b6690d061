//! What outages are looked at with: clients that hold on, clients that ask all the time, and a balancer.
#![allow(
    clippy::unwrap_in_result,
    reason = "a lock whose holder panicked is a test's end"
)]

pub(crate) mod asker;
pub(crate) mod balancer;
pub(crate) mod clients;
pub(crate) mod gateway;
pub(crate) mod process;
pub(crate) mod session;
pub(crate) mod several;
pub(crate) mod update;
pub(crate) mod watch;
