//! Where binaries are kept: `$STREAMWAY_CACHE`, or `streamway` in the user's cache folder.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The cache's folder.
pub fn root() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(root) = variable("STREAMWAY_CACHE") {
        return root.into();
    }
    let base = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let home = variable("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    base.unwrap_or_else(|| home.join(".cache"))
        .join("streamway")
}

/// Holds the lock `name` until the file is dropped: two builders do not build the same.
pub fn lock(name: &str) -> Result<File> {
    let path = root().join(format!("{name}.lock"));
    fs::create_dir_all(path.parent().unwrap_or_else(|| Path::new("/")))?;
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    file.lock()
        .with_context(|| format!("locking {}", path.display()))?;
    Ok(file)
}
