//! `cargo xtask manifests`: what the overlays in `config/` come to, kept beside them so that a change
//! is reviewed as what it does to a cluster.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use streamway_e2e::install::{self, Kubectl};
use streamway_e2e::run::{self, command};

use crate::binary;
use crate::generated::Folder;

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
    let folder = Folder {
        root: &root,
        path: "config/rendered",
        command: "cargo xtask manifests",
    };
    folder.bring_to(&wanted, args.check)
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
