//! What agents and the API server counted, for analyses.

mod counts;
mod text;

pub(crate) use counts::{Counts, Tally};
