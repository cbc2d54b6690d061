//! What the checks of the agent are made of.

pub(crate) mod asker;
pub(crate) mod identity;
pub(crate) mod outage;
pub(crate) mod process;
pub(crate) mod session;
pub(crate) mod traffic;
pub(crate) mod update;
pub(crate) mod world;
