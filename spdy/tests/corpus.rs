//! What the fuzzers have found worth keeping, replayed by a stable compiler.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]
#![allow(clippy::cast_possible_truncation)]

#[path = "../../fuzz/src/spdy_decode.rs"]
mod spdy_decode;
#[path = "../../fuzz/src/spdy_session_ops.rs"]
mod spdy_session_ops;

use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut inputs = 0;
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        run(&bytes(&path));
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", folder.display());
}

#[allow(
    clippy::disallowed_methods,
    reason = "the crate is pure, its tests read files"
)]
fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn spdy_decode() {
    replay("spdy_decode", spdy_decode::run);
}

#[test]
fn spdy_session_ops() {
    replay("spdy_session_ops", spdy_session_ops::run);
}
