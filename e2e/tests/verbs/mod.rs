//! What `gateway_verbs.rs` runs, and how it compares.

pub(crate) mod normal;
pub(crate) mod side;
pub(crate) mod table;
