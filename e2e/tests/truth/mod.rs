//! What `rbac_truth.rs` is made of.

mod random;
mod server;
pub(crate) mod world;

pub(crate) use random::Random;
pub(crate) use server::{Server, Verdict};
