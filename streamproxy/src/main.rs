//! The stream proxy.

use std::process::ExitCode;

use clap::Parser;
use streamway_streamproxy::args::{Cli, Role};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let ended = streamway_daemon::exit::main(|| match Cli::try_parse() {
        Ok(cli) => match cli.role {
            Role::Node(args) => streamway_streamproxy::node::run(args),
            Role::Gateway(args) => streamway_streamproxy::gateway::run(args),
            Role::ProbeTarget(args) => {
                code = streamway_streamproxy::probe_target::run(&args)?;
                Ok(())
            }
            Role::Check(args) => streamway_streamproxy::check::run(&args),
        },
        Err(error) => Err(error.into()),
    });
    if ended == ExitCode::SUCCESS {
        code
    } else {
        ended
    }
}
