//! A cluster whose maker is killed leaves nothing behind once it is taken down.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Command;
use std::time::Duration;

use streamway_e2e::cluster::{self, Cluster};
use streamway_e2e::{OLD_KUBELET, run, wait};

const NAME: &str = "test-crash";

/// Not a test of its own: the next one runs it in a process that it kills.
#[test]
#[ignore = "run by a_killed_maker_leaves_nothing_behind, which kills it"]
fn maker() {
    let cluster = Cluster::builder(NAME)
        .node("crashes", OLD_KUBELET, None)
        .up()
        .unwrap();
    // Until killed.
    wait::until("never", Duration::from_secs(600), || Ok(None::<()>)).unwrap_err();
    drop(cluster);
}

#[test]
fn a_killed_maker_leaves_nothing_behind() {
    cluster::down(NAME).unwrap();
    let mut maker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "maker", "--ignored", "--nocapture"])
        .spawn()
        .unwrap();
    // Killed in the middle: the kubelet runs, its pods are being made.
    let folder = wait::until("the maker has a kubelet", Duration::from_secs(120), || {
        let standing = cluster::standing()
            .into_iter()
            .find(|(name, _)| name == NAME);
        Ok(standing
            .map(|(_, folder)| folder)
            .filter(|folder| folder.join("crashes-kubelet.log").exists()))
    })
    .unwrap();
    maker.kill().unwrap();
    maker.wait().unwrap();
    let text = folder.to_string_lossy().into_owned();
    assert!(
        run::output(&mut run::command("pgrep", ["-f", &text])).is_ok(),
        "processes are left"
    );
    // It fails where anything of the ledger is still there.
    cluster::take_down(&folder).unwrap();
    assert!(!folder.exists());
    assert!(
        run::output(&mut run::command("pgrep", ["-f", &text])).is_err(),
        "no process is left"
    );
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&text), "{mounts}");
}
