//! A rollout on a real cluster, with overlay `ha`: three nodes of two versions go over in two waves, one of them
//! is drained meanwhile, all go back when somebody says so, and the product goes without a trace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use anyhow::{Result, ensure};
use streamway_crds::conditions::{PAUSED, is_true};
use streamway_crds::{NodeState, Phase, WavePhase, names};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::product::{self, Leader, Streamway};
use streamway_e2e::rollout::{Rollout, Way};
use streamway_e2e::suite::Suite;
use streamway_e2e::wait;

const NODES: [&str; 3] = ["one", "two", "three"];

/// One node, then the others when somebody says so. The node of 1.36 declares the feature already: it is
/// taken back first, so that all three have a way to go.
const TWO_WAVES: &str = "
  adopt: Reset
  waves:
  - {name: first, nodes: {count: 1}, bake: 3s}
  - {name: rest, nodes: {percent: 100}, maxUnavailable: 2, bake: 3s, approval: Manual}
  analysis: {interval: 2s, minSamples: 1, prober: {interval: 2s}}
";

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn three_nodes_in_two_waves() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = product::three_nodes("test-rollout-waves").up().unwrap();
    let archive = product::archive(folder.path()).unwrap();
    let streamway = Streamway::new(&cluster, "ha", archive).unwrap();
    streamway.install().unwrap();
    let rollout = Rollout::new(&cluster, "all").unwrap();
    let before = declared(&cluster).unwrap();
    let mut suite = Suite::default();
    suite.check("before it, nodes stream as their kubelets do", || {
        ways(&rollout, [Way::Translated, Way::Translated, Way::Passed])
    });
    suite.check("the first wave takes one node, and waits", || {
        rollout.apply(TWO_WAVES)?;
        rollout.wait("the first wave is over", 2 * MINUTE, |status| {
            status.phase == Some(Phase::WaitingForApproval)
        })?;
        println!("{}", rollout.columns()?);
        let mut all = Vec::new();
        for node in NODES {
            all.push(rollout.way(node)?);
        }
        let passed = all.iter().filter(|way| **way == Way::Passed).count();
        ensure!(passed == 1, "{all:?}");
        Ok(())
    });
    suite.check(
        "a node is drained: no replica shares another's node, and a leader acts",
        || drained(&cluster, &streamway, &rollout),
    );
    suite.check("promoted, the second takes the others", || {
        rollout.act("Promote")?;
        let status = rollout.wait("the rollout is complete", 2 * MINUTE, |status| {
            status.phase == Some(Phase::Complete)
        })?;
        println!("{}", rollout.columns()?);
        let done = |wave: &streamway_crds::WaveStatus| wave.phase == WavePhase::Complete;
        ensure!(
            status.waves.len() == 2 && status.waves.iter().all(done),
            "{status:?}"
        );
        ways(&rollout, [Way::Passed; 3])
    });
    suite.check("rolled back by a RolloutAction, all are translated", || {
        rollout.act("Rollback")?;
        rollout.wait("all are back", 2 * MINUTE, |status| {
            status.phase == Some(Phase::RolledBack)
        })?;
        println!("{}", rollout.columns()?);
        ways(&rollout, [Way::Translated; 3])
    });
    suite.check("tried again by a RolloutAction", || {
        rollout.act("Retry")?;
        rollout.wait("the first wave is over", 2 * MINUTE, |status| {
            status.phase == Some(Phase::WaitingForApproval)
        })?;
        rollout.act("Promote")?;
        rollout.wait("the rollout is complete", 2 * MINUTE, |status| {
            status.phase == Some(Phase::Complete)
        })?;
        ways(&rollout, [Way::Passed; 3])
    });
    suite.check(
        "deleted, it leaves nodes as their kubelets want them",
        || {
            rollout.delete()?;
            for node in NODES {
                rollout.node_is(node, NodeState::Untouched, MINUTE)?;
            }
            ensure!(
                declared(&cluster)? == before,
                "{} became {}",
                before,
                declared(&cluster)?
            );
            ways(&rollout, [Way::Translated, Way::Translated, Way::Passed])
        },
    );
    suite.check("uninstalled in the middle, too", || {
        rollout.apply(TWO_WAVES)?;
        rollout.wait("the first wave is over", 2 * MINUTE, |status| {
            status.phase == Some(Phase::WaitingForApproval)
        })?;
        streamway.begin_delete()?;
        wait::until("nodes are as before", MINUTE, || {
            let now = declared(&cluster)?;
            ensure!(now == before, "{before} became {now}");
            Ok(Some(()))
        })?;
        ways(&rollout, [Way::Translated, Way::Translated, Way::Passed])
    });
    suite.verdict();
}

fn ways(rollout: &Rollout<'_>, wanted: [Way; 3]) -> Result<()> {
    for (node, wanted) in NODES.into_iter().zip(wanted) {
        let way = rollout.way(node)?;
        ensure!(way == wanted, "{node}: {way:?}");
    }
    Ok(())
}

/// Evicts what of Streamway runs on the leader's node, but for the agent, and lets it back.
fn drained(cluster: &Cluster, streamway: &Streamway<'_>, rollout: &Rollout<'_>) -> Result<()> {
    let kubectl = cluster.kubectl()?;
    let before = Leader::of(&kubectl)?;
    let path = "jsonpath={.spec.nodeName}";
    let pod = [
        "get",
        "pod",
        &before.pod,
        "-n",
        names::SYSTEM_NAMESPACE,
        "-o",
        path,
    ];
    let node = kubectl.ok(&pod)?;
    let ours = "--pod-selector=app.kubernetes.io/part-of=streamway";
    let local = [
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--timeout=2m",
    ];
    let drained = kubectl.ok(&[&["drain", &node, ours], &local[..]].concat());
    let elsewhere = drained.and_then(|_| elsewhere(&kubectl, &node, &before, rollout));
    kubectl.ok(&["uncordon", &node])?;
    streamway.ready()?;
    elsewhere
}

/// Another leader acts, and what was evicted waits for a node of its own.
fn elsewhere(
    kubectl: &Kubectl,
    drained: &str,
    before: &Leader,
    rollout: &Rollout<'_>,
) -> Result<()> {
    for (verb, paused) in [("Pause", true), ("Resume", false)] {
        rollout.act(verb)?;
        rollout.wait(verb, MINUTE, |status| {
            is_true(&status.conditions, PAUSED) == paused
        })?;
    }
    let now = Leader::of(kubectl)?;
    ensure!(now.pod != before.pod, "{} leads as before", now.pod);
    for name in ["streamway-controller", "streamway-webhook"] {
        let app = format!("app.kubernetes.io/name={name}");
        let path = "jsonpath={.items[*].spec.nodeName}";
        let pods = [
            "get",
            "pods",
            "-n",
            names::SYSTEM_NAMESPACE,
            "-l",
            &app,
            "-o",
            path,
        ];
        let nodes = kubectl.ok(&pods)?;
        let mut nodes: Vec<_> = nodes.split_whitespace().collect();
        nodes.sort_unstable();
        let mut others = NODES.to_vec();
        others.retain(|node| *node != drained);
        others.sort_unstable();
        ensure!(nodes == others, "{name} is on {nodes:?}");
    }
    Ok(())
}

/// What Nodes declare, and their kubelets' ports.
fn declared(cluster: &Cluster) -> Result<String> {
    let path = "jsonpath={range .items[*]}{.metadata.name} {.status.declaredFeatures} \
                {.status.daemonEndpoints.kubeletEndpoint.Port}{\"\\n\"}{end}";
    cluster.kubectl()?.ok(&["get", "nodes", "-o", path])
}
