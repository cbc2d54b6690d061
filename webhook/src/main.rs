//! The webhook.

use std::process::ExitCode;

use clap::Parser;
use streamway_webhook::args::Cli;

fn main() -> ExitCode {
    streamway_daemon::exit::main(|| streamway_webhook::run(Cli::try_parse()?))
}
