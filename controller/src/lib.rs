//! The controller: moves nodes from SPDY to WebSocket streaming, wave by wave, and back.
#![forbid(unsafe_code)]

mod access;
mod agents;
mod apply;
mod approver;
pub mod args;
mod client;
mod control;
mod events;
mod hold;
mod http;
mod leader;
mod lease;
mod measure;
mod metrics;
mod observe;
mod plan;
mod prober;
mod probes;
mod random;
mod run;
mod scrape;
mod server;
mod uninstall;
mod withdraw;

use streamway_daemon::exit::ExitError;
use streamway_daemon::logs::LogArgs;

use args::{RunArgs, WithdrawArgs};

/// Runs the controller until a signal.
///
/// # Errors
///
/// Wrong flags and files end with 64, what fails at run time with 1.
pub fn run(args: RunArgs) -> Result<(), ExitError> {
    block_on(&args.logs.clone(), run::run(args))
}

/// Takes everything back, whatever else of Streamway is there or not.
///
/// # Errors
///
/// Wrong flags and files end with 64, what could not be taken back with 1.
pub fn withdraw(args: WithdrawArgs) -> Result<(), ExitError> {
    block_on(&args.logs, withdraw::run(&args))
}

fn block_on(
    logs: &LogArgs,
    work: impl Future<Output = Result<(), ExitError>>,
) -> Result<(), ExitError> {
    streamway_daemon::install_crypto_provider();
    logs.init()?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| {
        ExitError::failure(format_args!(
            "the runtime cannot start: {error}; check the limits on threads"
        ))
    })?;
    runtime.block_on(work)
}
