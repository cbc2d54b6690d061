//! `kubectl streamway`.

use clap::Parser;

/// Streaming of a cluster: who may open sessions, and who would break.
#[derive(Debug, Parser)]
#[command(name = "kubectl streamway", bin_name = "kubectl streamway", version)]
struct Cli {}

fn main() {
    Cli::parse();
}
