//! The command line.

mod audit;
mod connection;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use audit::{AuditArgs, Output};
pub(crate) use connection::ConnectionArgs;

/// Who may open sessions in pods, and what a cluster needs to keep it so
///
/// Works as `kubectl streamway` where kubectl-streamway is in the PATH, and by itself.
#[derive(Debug, Parser)]
#[command(name = "kubectl streamway", bin_name = "kubectl streamway", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Audit(Box<AuditArgs>),
    Doctor(DoctorArgs),
    Completion(CompletionArgs),
    #[command(name = "__complete", hide = true)]
    Complete(CompleteArgs),
}

/// What enforces the create check in a cluster, what is missing, and what to do next
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// table, json or yaml
    #[arg(short, long, value_enum, default_value_t = DoctorOutput::Table)]
    pub(crate) output: DoctorOutput,
    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum DoctorOutput {
    Table,
    Json,
    Yaml,
}

/// Completion of the command line, for a shell
///
/// For kubectl-streamway itself:
///
///     source <(kubectl streamway completion bash)
///
/// For `kubectl streamway` kubectl asks a program kubectl_complete-streamway in the PATH; make it of these
/// two lines:
///
///     #!/usr/bin/env sh
///     exec kubectl streamway __complete "$@"
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CompletionArgs {
    /// Which shell
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// What kubectl_complete-streamway asks for
#[derive(Debug, Args)]
pub(crate) struct CompleteArgs {
    /// The words so far, the last one unfinished
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) words: Vec<String>,
}
