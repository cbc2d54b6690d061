//! `crds/yaml` holds what the types come to, and `crds/kustomization.yaml` lists it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use streamway_crds::definitions;

fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn yaml_is_current() {
    for (name, definition) in definitions().unwrap() {
        let text = fs::read_to_string(here("yaml").join(&name)).unwrap();
        let found: Value = serde_saphyr::from_str(&text).unwrap();
        let same = serde_saphyr::to_string(&found).unwrap()
            == serde_saphyr::to_string(&definition).unwrap();
        assert!(same, "crds/yaml/{name} is stale: run cargo xtask crds");
    }
}

#[test]
fn each_file_is_listed() {
    let made: BTreeSet<String> = definitions()
        .unwrap()
        .into_iter()
        .map(|(name, _)| format!("yaml/{name}"))
        .collect();
    let text = fs::read_to_string(here("kustomization.yaml")).unwrap();
    let kustomization: Value = serde_saphyr::from_str(&text).unwrap();
    let listed: BTreeSet<String> =
        serde_json::from_value(kustomization.get("resources").unwrap().clone()).unwrap();
    assert_eq!(listed, made);
}
