//! The controller.

use std::process::ExitCode;

use clap::Parser;
use streamway_controller::args::{Cli, Command};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    streamway_daemon::exit::main(|| match Cli::try_parse() {
        Ok(cli) => match cli.command {
            Command::Run(args) => streamway_controller::run(args),
            Command::Withdraw(args) => streamway_controller::withdraw(args),
        },
        Err(error) => Err(error.into()),
    })
}
