//! `cargo xtask test`: every test there is.

mod lanes;

use std::time::Instant;

use anyhow::{Result, bail};
use streamway_e2e::image::PROGRAMS;

use crate::binary;

/// The plugin's program, which is in no image.
const CLI: &str = "kubectl-streamway";

/// Run every test: unit, process, and end to end on real clusters (needs root).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the tests that need no cluster and no root
    #[arg(long)]
    no_e2e: bool,
    /// How many tests on real clusters run at once: they mostly wait
    #[arg(long, default_value_t = 2)]
    lanes: usize,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let start = Instant::now();
    let (root, target) = binary::workspace()?;
    binary::cargo(
        &["test", "--workspace", "--exclude", "streamway-e2e"],
        &root,
    )?;
    if args.no_e2e {
        println!("the tests on real clusters were left out, as asked for (--no-e2e)");
        return Ok(());
    }
    // The programs that the tests run, and what they are tested against. The whole workspace, as
    // everything after: cargo builds most dependencies anew for another choice of packages.
    let everything = [
        "build",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--features",
        lanes::CLUSTERS,
    ];
    println!(
        "  building {} …",
        [&PROGRAMS[..], &[CLI]].concat().join(", ")
    );
    binary::cargo(&everything, &root)?;
    for program in PROGRAMS.iter().chain(&[CLI]) {
        let program = target.join("debug").join(program);
        if !program.exists() {
            bail!("cargo built no {}", program.display());
        }
    }
    streamway_e2e::install::require_root("the tests on real clusters")?;
    streamway_e2e::prepare()?;
    lanes::run(&root, args.lanes)?;
    println!("every test passed, in {} s", start.elapsed().as_secs());
    Ok(())
}
