//! A cluster whose maker is killed leaves nothing behind once it is taken down.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use streamway_e2e::cluster::{self, Cluster};
use streamway_e2e::{OLD_KUBELET, run, wait};

const NAME: &str = "test-crash";
const NODE: &str = "crashes";

/// Not a test of its own: the next one runs it in a process that it kills.
#[test]
#[ignore = "run by a_killed_maker_leaves_nothing_behind, which kills it"]
fn maker() {
    let cluster = Cluster::builder(NAME)
        .node(NODE, OLD_KUBELET, None)
        .up()
        .unwrap();
    fs::write(cluster.file("up"), "").unwrap();
    // Until killed.
    wait::until("never", Duration::from_secs(200), || Ok(None::<()>)).unwrap_err();
    drop(cluster);
}

#[test]
fn a_killed_maker_leaves_nothing_behind() {
    cluster::down(NAME).unwrap();
    // Killed with a ledger of one line; while containerd starts; while the kubelet makes pods; when
    // all stands.
    for moment in [
        "ledger",
        "crashes-containerd.log",
        "crashes-kubelet.log",
        "up",
    ] {
        killed_at(moment);
    }
}

fn killed_at(moment: &str) {
    let mut maker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "maker", "--ignored", "--nocapture"])
        .spawn()
        .unwrap();
    let reached = wait::until("the maker gets there", Duration::from_secs(120), || {
        let standing = cluster::standing();
        let mut own = standing.into_iter().filter(|(name, _)| name == NAME);
        let folder = own.next().map(|(_, folder)| folder);
        Ok(folder.filter(|folder| folder.join(moment).exists()))
    });
    if moment == "up" {
        let refused = Cluster::builder(NAME).up().unwrap_err().to_string();
        assert!(refused.contains("uses a cluster named"), "{refused}");
    }
    maker.kill().unwrap();
    maker.wait().unwrap();
    let folder = reached.unwrap();
    let ledger = fs::read_to_string(folder.join("ledger")).unwrap();

    cluster::down(NAME).unwrap();
    cluster::down(NAME).expect("a second time");

    assert!(!folder.exists());
    let found = on_the_machine(&folder, &ledger);
    assert!(found.is_empty(), "killed at {moment}, then down: {found:?}");
}

/// What the machine has of a cluster, looked for without the cluster's own code.
fn on_the_machine(folder: &Path, ledger: &str) -> Vec<String> {
    let mut found = Vec::new();
    let text = folder.to_string_lossy();
    let processes = run::complete(&mut run::command("pgrep", ["-af", &text])).unwrap();
    found.extend(
        String::from_utf8_lossy(&processes.stdout)
            .lines()
            .map(str::to_owned),
    );
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    found.extend(
        mounts
            .lines()
            .filter(|line| line.contains(&*text))
            .map(str::to_owned),
    );
    for line in ledger.lines() {
        let Some((kind, name)) = line.split_once(' ') else {
            panic!("a line in the ledger: {line:?}")
        };
        let parents: Vec<_> = match kind {
            "namespace" => vec!["/run/netns".into()],
            "link" => vec!["/sys/class/net".into()],
            "cgroup" => fs::read_dir("/sys/fs/cgroup")
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect(),
            _ => continue,
        };
        let places = parents.iter().map(|parent| parent.join(name));
        found.extend(
            places
                .filter(|path| path.exists())
                .map(|path| path.display().to_string()),
        );
    }
    for shared in [
        "/var/log/pods",
        "/var/log/containers",
        "/var/lib/cni/results",
    ] {
        for entry in fs::read_dir(shared).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.contains(NODE) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    let routes = run::output(&mut run::command("ip", ["route"])).unwrap();
    found.extend(
        routes
            .lines()
            .filter(|line| line.contains("linkdown"))
            .map(str::to_owned),
    );
    found
}
