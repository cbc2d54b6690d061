//! `cargo xtask crds`: the CustomResourceDefinitions of crate crds, as files to apply.

use std::collections::BTreeMap;

use anyhow::Result;
use streamway_crds::definitions;

use crate::binary;
use crate::generated::Folder;

/// Write crds/yaml from the types in crds/src.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail where a file is not what its type comes to
    #[arg(long)]
    pub(crate) check: bool,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let (root, _) = binary::workspace()?;
    let mut wanted = BTreeMap::new();
    for (name, definition) in definitions()? {
        let header = "# Made by `cargo xtask crds` from crds/src. Do not edit.\n";
        wanted.insert(
            name,
            format!("{header}{}", serde_saphyr::to_string(&definition)?),
        );
    }
    let folder = Folder {
        root: &root,
        path: "crds/yaml",
        command: "cargo xtask crds",
    };
    folder.bring_to(&wanted, args.check)
}
