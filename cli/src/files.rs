//! Files that are asked for: manifests, logs, baselines.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

const MANIFESTS: [&str; 3] = ["yaml", "yml", "json"];

/// A file, or standard input for `-`.
pub(crate) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
}

/// The file itself, or all manifests in a folder and in those in it, by name. Folders that begin with a
/// dot are left out, and links to folders, which may lead in rings.
pub(crate) fn manifests(path: &Path) -> Result<Vec<PathBuf>> {
    if path == Path::new("-") || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let named = || format!("{} cannot be read", folder.display());
        for entry in fs::read_dir(&folder).with_context(named)? {
            let entry = entry.with_context(named)?;
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if entry.file_type().with_context(named)?.is_dir() {
                folders.extend((!hidden).then_some(path));
            } else if path
                .extension()
                .and_then(OsStr::to_str)
                .is_some_and(is_manifest)
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_manifest(extension: &str) -> bool {
    MANIFESTS
        .iter()
        .any(|own| own.eq_ignore_ascii_case(extension))
}
