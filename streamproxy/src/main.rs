//! The stream proxy.

use std::process::ExitCode;

use clap::Parser;
use streamway_streamproxy::args::{Cli, Role};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    streamway_daemon::exit::main(|| match Cli::try_parse() {
        Ok(cli) => match cli.role {
            Role::Node(args) => streamway_streamproxy::node::run(args),
            Role::Gateway(args) => streamway_streamproxy::gateway::run(args),
        },
        Err(error) => Err(error.into()),
    })
}
