//! `cargo xtask manifests`: what the overlays in `config/` come to, kept beside them so that a change
//! is reviewed as what it does to a cluster.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use streamway_e2e::install::{self, Kubectl};
use streamway_e2e::run::{self, command};

use crate::binary;

/// Render config/overlays into config/rendered.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail where a file is not what its overlay renders to
    #[arg(long)]
    pub(crate) check: bool,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let (root, _) = binary::workspace()?;
    let config = root.join("config");
    let wanted = render(&config.join("overlays"))?;
    let folder = config.join("rendered");
    let stale = stale(&wanted, &read(&folder)?);
    if args.check {
        if stale.is_empty() {
            println!("manifests: {} overlays are rendered", wanted.len());
            return Ok(());
        }
        bail!(
            "config/rendered is not what config/overlays renders to ({}): run \
             cargo xtask manifests, look at the difference, and commit it",
            stale.join(", ")
        );
    }
    fs::create_dir_all(&folder)?;
    for name in &stale {
        let path = folder.join(name);
        match wanted.get(name) {
            Some(text) => fs::write(&path, text),
            None => fs::remove_file(&path),
        }
        .with_context(|| format!("writing {}", path.display()))?;
        println!("manifests: config/rendered/{name}");
    }
    Ok(())
}

/// Each overlay by the name of its file.
fn render(overlays: &Path) -> Result<BTreeMap<String, String>> {
    let kubectl = install::kubectl(Kubectl::Current)?;
    let mut rendered = BTreeMap::new();
    for entry in fs::read_dir(overlays).context("reading config/overlays")? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let folder = path.to_string_lossy();
        let text = run::output(&mut command(&kubectl, ["kustomize", &folder]))?;
        let header = format!(
            "# Made by `cargo xtask manifests` from config/overlays/{name}. Do not edit.\n"
        );
        rendered.insert(format!("{name}.yaml"), header + &text);
    }
    Ok(rendered)
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
