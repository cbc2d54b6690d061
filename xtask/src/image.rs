//! `cargo xtask image`: Streamway's container image, without a container builder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use streamway_e2e::{image, run};

use crate::binary;

/// Put Streamway's container image together, without Docker.
#[derive(Debug, clap::Args)]
#[command(after_help = TEACH)]
pub(crate) struct Args {
    /// The image's name and tag
    #[arg(long, value_name = "NAME:TAG", default_value_t = default_name())]
    name: String,
    /// Where to write the archive and, in a folder beside it, the layout; the default is target/image
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

const TEACH: &str = "\
The programs (streamproxy, controller, webhook) are linked statically, against glibc 2.34 or later, and
are all that the image holds; it runs as user 65532. The same source on the same toolchain gives the
same digest, in whatever folder.

  cargo xtask image --name registry.example.com/streamway/streamway:0.1.0
  ctr -n k8s.io images import target/image/streamway.tar       onto a node
  skopeo copy oci-archive:target/image/streamway.tar docker://registry.example.com/…";

fn default_name() -> String {
    format!("{}:{}", image::STREAMWAY, env!("CARGO_PKG_VERSION"))
}

pub(crate) fn run(args: Args) -> Result<()> {
    let (root, target) = binary::workspace()?;
    let built = build(&root, &target)?;
    let mut programs = Vec::new();
    for program in image::PROGRAMS {
        let path = built.join(program);
        let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        ensure!(is_static(&bytes), "{} is not static", path.display());
        println!("{program} ({} MiB)", bytes.len() / (1 << 20));
        programs.push((program, bytes));
    }
    let made = image::streamway(&args.name, &programs)?;
    let folder = args.output.unwrap_or_else(|| target.join("image"));
    fs::create_dir_all(&folder)?;
    let archive = folder.join("streamway.tar");
    made.write_archive(&archive)?;
    made.write_layout(&folder.join("streamway"))?;
    println!("{}", args.name);
    println!("{}", made.digest());
    println!("{}", archive.display());
    Ok(())
}

/// Builds the static programs, and tells where they are. They have a part of the target folder of their
/// own, since cargo keeps what it built with other flags elsewhere only where the target is said.
fn build(root: &Path, target: &Path) -> Result<PathBuf> {
    let host = host()?;
    let home = std::env::var("CARGO_HOME")
        .or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    // Paths of this machine are in no panic's text.
    let flags = [
        "-Ctarget-feature=+crt-static".to_owned(),
        format!("--remap-path-prefix={}=/streamway", root.display()),
        format!("--remap-path-prefix={home}=/cargo"),
    ];
    println!("building the programs, static and optimized …");
    let mut command = binary::command(root);
    command.args([
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--target",
        &host,
    ]);
    for program in image::PROGRAMS {
        command.args(["--package", &format!("streamway-{program}")]);
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    command.env("CARGO_PROFILE_RELEASE_STRIP", "debuginfo");
    let status = command.status().context("starting cargo")?;
    ensure!(status.success(), "cargo build failed");
    Ok(target.join(&host).join("release"))
}

/// What the compiler builds for here.
fn host() -> Result<String> {
    let told = run::output(Command::new("rustc").arg("-vV"))?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

/// Whether a program (ELF, 64 bits, little endian) needs no interpreter, that is no shared library: an
/// image without files has none.
fn is_static(program: &[u8]) -> bool {
    const INTERPRETER: u64 = 3;
    let number = |at: u64, length: usize| -> Option<u64> {
        let bytes = program.get(usize::try_from(at).ok()?..)?.get(..length)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
        )
    };
    let interpreter = || -> Option<bool> {
        let (table, size, count) = (number(0x20, 8)?, number(0x36, 2)?, number(0x38, 2)?);
        let mut headers = (0..count).map(|index| number(table.checked_add(index * size)?, 4));
        Some(headers.any(|kind| kind.is_none_or(|kind| kind == INTERPRETER)))
    };
    program.starts_with(b"\x7fELF\x02\x01") && interpreter() == Some(false)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_static_program_has_no_interpreter() {
        let dynamic = std::fs::read("/proc/self/exe").unwrap();
        assert!(!super::is_static(&dynamic));
        assert!(!super::is_static(b"#!/bin/sh"));
        assert!(!super::is_static(dynamic.get(..0x40).unwrap()));
    }
}
