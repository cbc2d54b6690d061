//! What agents and the API server counted, for analyses.

mod api_server;
mod counts;
mod text;

pub(crate) use api_server::{ApiServer, api_server};
pub(crate) use counts::{Counts, Tally};
