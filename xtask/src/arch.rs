//! `cargo xtask arch`: crates depend on each other only downward.

use anyhow::{Result, bail};
use cargo_metadata::{DependencyKind, MetadataCommand};

/// Check the crate graph against the table in xtask/src/arch.rs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// What each crate may depend on, itself not counted; docs/architecture.md says why.
const ALLOWED: [(&str, &[&str]); 13] = [
    ("spdy", &[]),
    ("kstream", &[]),
    ("translate", &["spdy", "kstream"]),
    ("rbac", &[]),
    ("audit", &["rbac"]),
    ("crds", &[]),
    ("daemon", &[]),
    (
        "streamproxy",
        &["translate", "spdy", "kstream", "crds", "daemon"],
    ),
    ("webhook", &["rbac", "crds", "daemon"]),
    (
        "controller",
        &["spdy", "kstream", "rbac", "audit", "crds", "daemon"],
    ),
    ("cli", &["rbac", "audit", "crds"]),
    ("e2e", &["spdy", "kstream", "rbac", "crds"]),
    ("xtask", &["crds", "e2e"]),
];

/// Crates that may not bring IO in, and what would be it.
const PURE: [&str; 5] = ["spdy", "kstream", "translate", "rbac", "audit"];
const IO: [&str; 4] = ["tokio", "mio", "socket2", "hyper"];

pub(crate) fn run(_args: Args) -> Result<()> {
    let metadata = MetadataCommand::new().exec()?;
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let name = package.name.trim_start_matches("streamway-");
        let Some((_, allowed)) = ALLOWED.iter().find(|(own, _)| *own == name) else {
            wrong.push(format!("{name} is not in the table of xtask/src/arch.rs"));
            continue;
        };
        for dependency in &package.dependencies {
            let other = dependency.name.trim_start_matches("streamway-");
            if dependency.name.starts_with("streamway-") && !allowed.contains(&other) {
                wrong.push(format!("{name} depends on {other}, which it may not"));
            }
            let normal = dependency.kind == DependencyKind::Normal;
            if PURE.contains(&name) && normal && IO.contains(&other) {
                wrong.push(format!("{name} is pure, and depends on {other}"));
            }
        }
    }
    if wrong.is_empty() {
        let crates = metadata.workspace_packages().len();
        println!("arch: {crates} crates depend only downward");
        return Ok(());
    }
    bail!("{}", wrong.join("; "))
}
