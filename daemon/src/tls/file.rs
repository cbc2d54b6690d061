//! Reading PEM files, and noticing that they changed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::exit::{ExitError, reason};

/// How often files are read again.
pub const RELOAD_PERIOD: Duration = Duration::from_secs(5);

/// No certificate file of sense is larger; one that is may be a wrong path.
const MAX_BYTES: u64 = 4 << 20;

/// A file and the flag that named it, for messages.
#[derive(Debug, Clone)]
pub(super) struct NamedFile {
    pub(super) flag: &'static str,
    pub(super) path: PathBuf,
}

impl NamedFile {
    pub(super) fn new(flag: &'static str, path: &Path) -> Self {
        Self {
            flag,
            path: path.to_owned(),
        }
    }

    /// The whole file.
    ///
    /// # Errors
    /// [`ExitError`] (64) where it cannot be read, is empty, or is larger than 4 MiB.
    pub(super) fn read(&self) -> Result<Vec<u8>, ExitError> {
        let bytes = read_bounded(&self.path).map_err(|error| {
            self.wrong(
                &format!("cannot be read: {}", reason(&error)),
                "check path and permissions",
            )
        })?;
        if bytes.is_empty() {
            return Err(self.wrong("is empty", "write PEM into it"));
        }
        Ok(bytes)
    }

    /// "--flag FILE what; fix".
    pub(super) fn wrong(&self, what: &str, fix: &str) -> ExitError {
        ExitError::usage(format_args!(
            "{} {} {what}; {fix}",
            self.flag,
            self.path.display()
        ))
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells "exactly the limit" from "more".
    std::fs::File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    Ok(bytes)
}

/// What stands for a content, to see that it changed. Not for security.
pub(super) fn fingerprint(contents: &[&[u8]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    contents.hash(&mut hasher);
    hasher.finish()
}
