//! Flags of what runs beside the agent: the target of probes, and the question whether it is well.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Flags of `streamproxy probe-target`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ProbeTargetArgs {
    /// What to do instead.
    #[command(subcommand)]
    pub command: Option<ProbeTarget>,

    /// Address on which every byte is sent back
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:10352")]
    pub listen: SocketAddr,

    /// What each line of stdin is sent back with, on stdout
    #[arg(long, value_name = "TEXT", default_value = "probe-target: ")]
    pub prefix: String,
}

/// What `streamproxy probe-target` does besides.
#[derive(Debug, Clone, Subcommand)]
pub enum ProbeTarget {
    /// Copy stdin to stdout, write "probe-target: N bytes" to stderr, and end with a code
    Exec {
        /// The exit code
        #[arg(long, value_name = "CODE", default_value_t = 0)]
        exit_code: u8,
    },
}

/// Flags of `streamproxy check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The --admin-socket of the process that is asked
    #[arg(long, value_name = "FILE")]
    pub admin_socket: PathBuf,

    /// What is asked
    #[arg(long, value_name = "PATH", default_value = "/readyz")]
    pub endpoint: String,
}
