//! The plan: from what is seen to what is to be done. Pure: no IO, no clock, no memory.
//!
//! [`plan`] takes one [`Observed`] and the time, and gives one [`Plan`]. Whoever calls it carries the
//! plan out and calls it again when something changed, or at [`Plan::wake_at`].
//!
//! All that lasts is in the API objects, so that a controller that takes over goes on where the one
//! before it stopped. What is only in memory (heartbeats, probes, counts) may be lost at any time: it is
//! gathered again before anything is decided on it. Each plan takes one step per object, from what was
//! read back, never from what it has just planned; so every place between two writes is a safe one.

mod actions;
mod observed;
mod version;

use jiff::Timestamp;

pub(crate) use actions::{Chain, Event, Measure, NodePatch, Plan, ProbeOrder, Subject, Write};
pub(crate) use observed::{AgentPod, Counted, Measured, Observed, ObservedNode, Probed, Probes};
pub(crate) use version::Version;

/// What is to be done now.
pub(crate) fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let _ = (observed, now);
    Plan::default()
}
