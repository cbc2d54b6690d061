//! Files that a command of ours makes and that are kept in the repository, so that a change to what they
//! are made from is reviewed as what it comes to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// A folder that holds made files and nothing else.
#[derive(Debug)]
pub(crate) struct Folder<'a> {
    pub(crate) root: &'a Path,
    /// Below `root`.
    pub(crate) path: &'a str,
    /// What makes them.
    pub(crate) command: &'a str,
}

impl Folder<'_> {
    /// Make the folder hold `wanted`, text by name, and nothing else; with `check`, fail unless it does.
    pub(crate) fn bring_to(&self, wanted: &BTreeMap<String, String>, check: bool) -> Result<()> {
        let Self { path, command, .. } = self;
        let folder = self.root.join(path);
        let stale = stale(wanted, &read(&folder)?);
        if check {
            if stale.is_empty() {
                println!("{path}: {} files are what {command} makes", wanted.len());
                return Ok(());
            }
            bail!(
                "{path} is not what it is made from ({}): run {command}, look at the difference, \
                 and commit it",
                stale.join(", ")
            );
        }
        fs::create_dir_all(&folder)?;
        for name in &stale {
            let file = folder.join(name);
            match wanted.get(name) {
                Some(text) => fs::write(&file, text),
                None => fs::remove_file(&file),
            }
            .with_context(|| format!("writing {}", file.display()))?;
            println!("{path}/{name}");
        }
        Ok(())
    }
}

/// Every file of a folder, or none where the folder is not there.
fn read(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        found.insert(name.into_owned(), fs::read_to_string(&path)?);
    }
    Ok(found)
}

/// Files that differ, that are missing, and that no overlay has any more.
fn stale(wanted: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Vec<String> {
    let changed = wanted
        .iter()
        .filter(|(name, text)| found.get(*name) != Some(*text))
        .map(|(name, _)| name);
    let gone = found.keys().filter(|name| !wanted.contains_key(*name));
    changed.chain(gone).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_missing_or_has_gone_is_stale() {
        let files = |texts: &[(&str, &str)]| -> BTreeMap<String, String> {
            let owned = texts
                .iter()
                .map(|(name, text)| ((*name).into(), (*text).into()));
            owned.collect()
        };
        let wanted = files(&[("a", "1"), ("b", "2"), ("c", "3")]);
        assert_eq!(stale(&wanted, &wanted), Vec::<String>::new());
        let found = files(&[("a", "1"), ("b", "old"), ("d", "4")]);
        assert_eq!(stale(&wanted, &found), ["b", "c", "d"]);
    }
}
