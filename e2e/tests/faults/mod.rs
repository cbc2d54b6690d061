//! Faults of a rollout, and what they come to.

pub(crate) mod agents;
pub(crate) mod asker;
pub(crate) mod kubelets;
pub(crate) mod outages;
pub(crate) mod scene;
pub(crate) mod waves;
