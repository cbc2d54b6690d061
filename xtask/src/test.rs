//! `cargo xtask test`: every test there is.

mod lanes;

use std::time::Instant;

use anyhow::{Result, bail};
use streamway_e2e::image::PROGRAMS;

use crate::binary;

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
    let (root, _) = binary::workspace()?;
    binary::cargo(
        &["test", "--workspace", "--exclude", "streamway-e2e"],
        &root,
    )?;
    if args.no_e2e {
        println!("the tests on real clusters were left out, as asked for (--no-e2e)");
        return Ok(());
    }
    // The programs that the tests run, and what they are tested against.
    let programs = binary::programs()?;
    for program in PROGRAMS.map(|program| programs.join(program)) {
        if !program.exists() {
            bail!("cargo built no {}", program.display());
        }
    }
    binary::program("cli", false)?;
    streamway_e2e::install::require_root("the tests on real clusters")?;
    streamway_e2e::prepare()?;
    binary::cargo(&["test", "--package", "streamway-e2e", "--doc"], &root)?;
    lanes::run(&root, args.lanes)?;
    println!("every test passed, in {} s", start.elapsed().as_secs());
    Ok(())
}
