//! The commands.

pub(crate) mod audit;
pub(crate) mod completion;
pub(crate) mod doctor;
