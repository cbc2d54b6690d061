//! The project's own binaries, built as cargo builds them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;
use streamway_e2e::image::PROGRAMS;

/// The workspace's root and cargo's target folder.
pub(crate) fn workspace() -> Result<(PathBuf, PathBuf)> {
    let metadata = MetadataCommand::new()
        .no_deps()
        .exec()
        .context("cargo metadata")?;
    Ok((
        metadata.workspace_root.into(),
        metadata.target_directory.into(),
    ))
}

/// Builds `streamproxy`, and tells where it is.
pub(crate) fn streamproxy(release: bool) -> Result<PathBuf> {
    program("streamproxy", release)
}

/// Builds one program, and tells where it is.
pub(crate) fn program(name: &str, release: bool) -> Result<PathBuf> {
    let (root, target) = workspace()?;
    let package = format!("streamway-{name}");
    let mut args = vec!["build", "--quiet", "--package", &package];
    if release {
        args.push("--release");
    }
    println!("  building {name} …");
    cargo(&args, &root)?;
    Ok(target
        .join(if release { "release" } else { "debug" })
        .join(name))
}

/// Builds `kubectl-streamway` for release, and tells where it is.
pub(crate) fn kubectl_streamway() -> Result<PathBuf> {
    let path = program("cli", true)?;
    Ok(path.with_file_name("kubectl-streamway"))
}

/// Builds every program of the image, and tells the folder that they are in.
pub(crate) fn programs() -> Result<PathBuf> {
    let (root, target) = workspace()?;
    let packages = PROGRAMS.map(|program| format!("streamway-{program}"));
    let mut args = vec!["build", "--quiet"];
    for package in &packages {
        args.extend(["--package", package]);
    }
    println!("  building {} …", PROGRAMS.join(", "));
    cargo(&args, &root)?;
    Ok(target.join("debug"))
}

/// Runs cargo with its output shown.
pub(crate) fn cargo(args: &[&str], root: &std::path::Path) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(args).current_dir(root).status();
    let status = status.context("starting cargo")?;
    if !status.success() {
        bail!("cargo {} failed", args.join(" "));
    }
    Ok(())
}
