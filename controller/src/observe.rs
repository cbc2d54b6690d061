//! What is watched.

mod cache;
