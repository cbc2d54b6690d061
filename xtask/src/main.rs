//! The project's own tools. `cargo xtask --help` lists them; each is one file here.
#![allow(clippy::print_stdout)]

mod arch;
mod bench;
mod binary;
mod ci;
mod cluster;
mod crds;
mod demo;
mod generated;
mod image;
mod krew;
mod manifests;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Streamway's own tools: demo, tests, real clusters on this machine, benchmarks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the main job on a real local cluster: install, run, prove, clean up
    Demo(demo::Args),
    /// Run every test: unit, process, and end to end on real clusters (needs root)
    Test(test::Args),
    /// Run what CI runs before the tests: format, lints, architecture, definitions, manifests, documentation
    Ci(ci::Args),
    /// Bring a real cluster up or down on this machine, or tell what stands
    Cluster(cluster::Args),
    /// Measure ours, upstream's translator and haproxy side by side
    Bench(bench::Args),
    /// Write crds/yaml from the types in crds/src, or check that it was done
    Crds(crds::Args),
    /// Render config/overlays into config/rendered, or check that it was done
    Manifests(manifests::Args),
    /// Put the stream proxy's container image together, without Docker
    Image(image::Args),
    Krew(krew::Args),
    /// Check that crates depend on each other only as docs/architecture.md says
    Arch(arch::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(args),
        Command::Test(args) => test::run(args),
        Command::Ci(args) => ci::run(args),
        Command::Cluster(args) => cluster::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Crds(args) => crds::run(args),
        Command::Manifests(args) => manifests::run(args),
        Command::Image(args) => image::run(args),
        Command::Krew(args) => krew::run(args),
        Command::Arch(args) => arch::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
