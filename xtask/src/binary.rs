//! The project's own binaries, built as cargo builds them.

use std::path::{Path, PathBuf};
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
    println!("  building {name} …");
    if release {
        let package = format!("streamway-{name}");
        cargo(
            &["build", "--quiet", "--release", "--package", &package],
            &root,
        )?;
    } else {
        unoptimized(&[name], &root)?;
    }
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
    println!("  building {} …", PROGRAMS.join(", "));
    unoptimized(&PROGRAMS, &root)?;
    Ok(target.join("debug"))
}

/// Builds programs from what `cargo xtask` itself and the tests are built from.
fn unoptimized(programs: &[&str], root: &Path) -> Result<()> {
    let mut args = vec!["build", "--quiet", "--features", "streamway-xtask/as-tests"];
    for program in programs {
        args.extend(["--bin", program]);
    }
    cargo(&args, root)
}

/// Runs cargo with its output shown.
pub(crate) fn cargo(args: &[&str], root: &Path) -> Result<()> {
    let status = command(root).args(args).status();
    let status = status.context("starting cargo")?;
    if !status.success() {
        bail!("cargo {} failed", args.join(" "));
    }
    Ok(())
}

/// cargo, as somebody would run it in `root`.
pub(crate) fn command(root: &Path) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root);
    // `cargo run` tells us which package we are. ring's build script looks at it: told anything else than on a
    // command line, it and all that is above it would be built again.
    for (name, _) in std::env::vars_os() {
        let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        if of_package
            .iter()
            .any(|start| name.to_string_lossy().starts_with(start))
        {
            command.env_remove(name);
        }
    }
    command
}
