//! The clusters of this machine: which stand, whose they are, and the slot of a new one.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::ledger::{Ledger, started};
use crate::run::{self, command};

/// Clusters that can stand side by side.
const SLOTS: u8 = 8;

/// Bytes that must be free where a cluster is to be: one of three nodes with Streamway's image takes 1.6 GiB.
const ROOM: u64 = 3 << 30;

/// Where clusters are: `$STREAMWAY_STATE`, or `/var/tmp/streamway`.
pub fn root() -> PathBuf {
    let root = std::env::var_os("STREAMWAY_STATE").map(PathBuf::from);
    let root = root.unwrap_or_else(|| "/var/tmp/streamway".into());
    std::path::absolute(&root).unwrap_or(root)
}

/// The clusters that stand, or that a crash left: name and folder.
pub fn standing() -> Vec<(String, PathBuf)> {
    let folders = fs::read_dir(root())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut found: Vec<_> = folders
        .filter(|path| path.join("name").is_file())
        .map(|path| {
            (
                fs::read_to_string(path.join("name")).unwrap_or_default(),
                path,
            )
        })
        .collect();
    found.sort();
    found
}

/// Takes down every cluster of this name.
pub fn down(name: &str) -> Result<()> {
    for (_, folder) in standing().into_iter().filter(|(own, _)| own == name) {
        take_down(&folder)?;
    }
    Ok(())
}

/// Takes down the cluster in a folder, whoever made it; an error tells what could not be removed.
pub fn take_down(folder: &Path) -> Result<()> {
    Ledger::of(folder).unmake()
}

/// The process that a cluster of this name was made by and goes with, where it still runs.
pub(super) fn maker(name: &str) -> Option<u32> {
    let named = standing().into_iter().filter(|(own, _)| own == name);
    named.into_iter().find_map(|(_, folder)| {
        let text = fs::read_to_string(folder.join("maker")).ok()?;
        let (pid, since) = text.split_once(' ')?;
        let pid = pid.parse().ok()?;
        (started(pid)? == since).then_some(pid)
    })
}

/// Takes the first free slot. Its folder is there at once with the cluster's name in it, so that it
/// can be found again whenever its maker is killed.
pub(super) fn claim(name: &str) -> Result<(u8, PathBuf)> {
    let root = root();
    fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
    enough(free(&root)?, &root)?;
    let new = tempfile::Builder::new().prefix(".new").tempdir_in(&root)?;
    let own = std::process::id();
    let since = started(own).unwrap_or_default();
    fs::write(new.path().join("name"), name)?;
    fs::write(new.path().join("maker"), format!("{own} {since}"))?;
    for slot in 0..SLOTS {
        let folder = root.join(slot.to_string());
        match fs::rename(new.path(), &folder) {
            Ok(()) => return Ok((slot, folder)),
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            Err(error) => return Err(error).context(format!("creating {}", folder.display())),
        }
    }
    bail!("{SLOTS} clusters stand already: cargo xtask cluster down --all")
}

/// Bytes that are free in a folder's file system.
fn free(folder: &Path) -> Result<u64> {
    let mut df = command("df", ["--output=avail", "--block-size=1"]);
    let told = run::output(df.arg(folder))?;
    let bytes = told.lines().last().unwrap_or_default().trim();
    bytes.parse().with_context(|| format!("df says {told:?}"))
}

/// Kubelets would say it late, by the pods that they let go; the tests' do not say it at all.
fn enough(free: u64, folder: &Path) -> Result<()> {
    ensure!(
        free >= ROOM,
        "{} has {} MiB free and a cluster takes up to {} MiB: make room, or name another folder in STREAMWAY_STATE",
        folder.display(),
        free >> 20,
        ROOM >> 20
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free(folder.path()).unwrap() > 0);
        assert!(enough(ROOM, folder.path()).is_ok());
        let error = enough(ROOM - 1, folder.path()).unwrap_err().to_string();
        assert!(error.contains("STREAMWAY_STATE"), "{error}");
    }
}
