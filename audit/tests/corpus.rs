//! What the fuzzer has found worth keeping, replayed by a stable compiler.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../fuzz/src/manifests.rs"]
mod manifests;

use std::path::Path;

#[test]
#[allow(
    clippy::disallowed_methods,
    reason = "the crate is pure, its tests read files"
)]
fn corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/manifests");
    let mut inputs = 0;
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        manifests::run(&std::fs::read(&path).unwrap());
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}
