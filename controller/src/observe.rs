//! What is watched.

mod cache;

pub(crate) use cache::Cache;
