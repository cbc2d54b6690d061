//! `kubectl streamway`: who may open sessions in pods, and what a cluster needs.
#![forbid(unsafe_code)]

mod args;
mod cluster;
mod cmd;
mod exit;
mod files;
mod objects;
mod output;
mod progress;
mod snapshot;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Audit(args) => cmd::audit::run(*args).await,
        Command::Doctor(args) => cmd::doctor::run(args).await,
        Command::Completion(args) => cmd::completion::run(&args),
        Command::Complete(args) => cmd::completion::candidates(&args),
    };
    exit::code(result)
}
