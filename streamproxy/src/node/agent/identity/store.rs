//! The credential's files, as a kubelet keeps its own: each in a file with its time in the name, and a
//! symbolic link to the one in force, so that it is always whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use rustls_pki_types::UnixTime;

use super::credential::{Credential, Unusable};

const CURRENT: &str = "streamway-client-current.pem";

/// A folder.
#[derive(Debug, Clone)]
pub(super) struct Store(PathBuf);

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum LoadError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

impl Store {
    /// A folder, made if it is not there. Nobody else can read it.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// The link.
    pub(super) fn current(&self) -> PathBuf {
        self.0.join(CURRENT)
    }

    /// Reads what is in force: none where there is nothing yet.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is not `user`'s, or not valid `now`.
    pub(super) fn load(&self, user: &str, now: UnixTime) -> Result<Option<Credential>, LoadError> {
        match fs::read_to_string(self.current()) {
            Ok(text) => Ok(Some(Credential::parse(&text, user, now)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts a credential in force; `name` tells it from others. What was in force before is removed.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(super) fn save(&self, credential: &Credential, name: &str) -> io::Result<()> {
        let file = format!("streamway-client-{name}.pem");
        let path = self.0.join(&file);
        let mut options = OpenOptions::new();
        let mut opened = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        opened.write_all(credential.to_pem().as_bytes())?;
        opened.sync_all()?;
        let before = fs::read_link(self.current());
        // A link is replaced by a rename only.
        let link = self.0.join(format!("{file}.link"));
        symlink(&file, &link)?;
        fs::rename(&link, self.current())?;
        File::open(&self.0)?.sync_all()?;
        if let Ok(before) = before
            && before != Path::new(&file)
            && before.file_name() == Some(before.as_os_str())
        {
            // It may be gone already: two pods of an update share the folder.
            let _ = fs::remove_file(self.0.join(before));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use streamway_crds::names;

    use super::super::credential::tests::{at, pair};
    use super::*;

    const USER: &str = "streamway:node:one";

    fn credential() -> Credential {
        let (certificate, key) = pair(USER, names::AGENT_GROUP);
        Credential::new(&certificate, &key, USER, at(1500)).unwrap()
    }

    #[test]
    fn the_last_one_saved_is_in_force() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(&folder.path().join("new/pki")).unwrap();
        assert!(store.load(USER, at(1500)).unwrap().is_none());
        for name in ["first", "second"] {
            let saved = credential();
            store.save(&saved, name).unwrap();
            let loaded = store.load(USER, at(1500)).unwrap().unwrap();
            assert_eq!(loaded.key, saved.key);
        }
        let mut left: Vec<_> = fs::read_dir(&store.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [CURRENT, "streamway-client-second.pem"]);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&store.current()), mode(&store.0)), (0o600, 0o700));
    }

    #[test]
    fn a_file_that_is_no_good_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path()).unwrap();
        // Somebody else's: a file where the link should be, cut off.
        fs::write(store.current(), "-----BEGIN CERTIFICATE-----\n").unwrap();
        assert!(store.load(USER, at(1500)).is_err());
        store.save(&credential(), "first").unwrap();
        assert!(store.load(USER, at(1500)).unwrap().is_some());
        assert!(store.load(USER, at(3000)).is_err(), "expired");
        assert!(store.load("streamway:node:two", at(1500)).is_err());
        fs::remove_file(folder.path().join("streamway-client-first.pem")).unwrap();
        assert!(
            store.load(USER, at(1500)).unwrap().is_none(),
            "a link to nothing"
        );
        store.save(&credential(), "second").unwrap();
        assert!(store.load(USER, at(1500)).unwrap().is_some());
    }
}
