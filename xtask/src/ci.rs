//! `cargo xtask ci`: what CI runs before the tests.

use anyhow::Result;

use crate::{arch, binary, crds, manifests};

/// Format, lints, architecture, definitions, manifests and documentation; `cargo xtask test` runs the tests.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: Args) -> Result<()> {
    let (root, _) = binary::workspace()?;
    println!("format");
    binary::cargo(&["fmt", "--all", "--check"], &root)?;
    arch::run(arch::Args {})?;
    crds::run(crds::Args { check: true })?;
    manifests::run(manifests::Args { check: true })?;
    println!("lints");
    let clippy = [
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        // The tests on real clusters too.
        "--features",
        "streamway-e2e/clusters",
        "--",
        "-D",
        "warnings",
    ];
    binary::cargo(&clippy, &root)?;
    println!("documentation");
    binary::cargo(&["doc", "--quiet", "--workspace", "--no-deps"], &root)
}
