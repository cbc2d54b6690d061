//! Three nodes go over in two waves, a broken one goes back, and everything is removed again.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use streamway_crds::{NodeState, Phase, StreamingRolloutStatus};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::product::{self, Streamway};
use streamway_e2e::rollout::{Rollout, Way};
use streamway_e2e::{CURRENT, OLD_KUBELET, run, wait};

use crate::binary;

const NODES: [(&str, &str); 3] = [
    ("node1", OLD_KUBELET),
    ("node2", OLD_KUBELET),
    ("node3", CURRENT),
];

/// What is applied. Real ones watch their waves for hours; this one for seconds.
const SPEC: &str = "
  adopt: Reset
  waves:
  - {name: canary, nodes: {count: 1}, bake: 5s}
  - {name: rest, nodes: {percent: 100}, maxUnavailable: 2, bake: 5s}
  analysis:
    interval: 2s
    minSamples: 1
    prober: {interval: 2s, timeout: 3s}
";

/// The main process of the container that the prober attaches to.
const PROBE_TARGET: &str = "/streamproxy probe-target --listen";

const LONG: Duration = Duration::from_secs(120);

pub(super) fn run(keep: bool) -> Result<()> {
    println!(
        "Streamway's demo: a cluster goes over to streaming by WebSocket, node by node, and back.\n"
    );
    let folder = tempfile::tempdir()?;
    let archive = product::archive_of(&binary::programs()?, folder.path())?;
    let mut builder = Cluster::builder("demo").services(true);
    for (node, kubelet) in NODES {
        builder = builder.node(node, kubelet, None);
    }
    let cluster = builder.up()?;
    let rollout = Rollout::new(&cluster, "demo")?;

    heading("As the cluster is");
    let before = ways(&cluster, &rollout)?;

    heading("kubectl apply -k config/overlays/default");
    let streamway = Streamway::new(&cluster, "default", archive)?;
    streamway.install()?;
    ensure!(
        ways(&cluster, &rollout)? == before,
        "installing changed a node"
    );
    println!("  No node is another for it: that takes a rollout.");

    heading("kubectl apply -f: a StreamingRollout");
    println!("{}\n", SPEC.trim_matches('\n'));
    rollout.apply(SPEC)?;
    follow(&rollout, Phase::Complete)?;
    println!("\n{}\n", rollout.columns()?.trim_end());
    let over = ways(&cluster, &rollout)?;
    ensure!(over == [Way::Passed; 3], "not over: {over:?}");

    broken_and_mended(&cluster, &rollout)?;

    if keep {
        let kubeconfig = cluster.kubeconfig();
        super::end(cluster, &kubeconfig, NODES[0].0, true);
        return Ok(());
    }
    heading("kubectl delete -k config/overlays/default");
    run::step("until every Node is as its kubelet wants it", || {
        streamway.begin_delete()?;
        wait::until("the nodes are as before", LONG, || {
            Ok(declared(&cluster)?.then_some(()))
        })
    })?;
    ensure!(
        ways(&cluster, &rollout)? == before,
        "the nodes are not as before"
    );
    let kubeconfig = cluster.kubeconfig();
    super::end(cluster, &kubeconfig, NODES[0].0, false);
    Ok(())
}

/// A node whose sessions stop to work makes its wave go back.
fn broken_and_mended(cluster: &Cluster, rollout: &Rollout<'_>) -> Result<()> {
    heading("One node is broken on purpose");
    let node = cluster.node(NODES[1].0)?;
    println!(
        "  Everything is taken back (RolloutAction Rollback), then {} gets a container that does not answer,",
        node.name
    );
    println!("  and the rollout is tried again (RolloutAction Retry).");
    rollout.act("Rollback")?;
    follow(rollout, Phase::RolledBack)?;
    cluster.signal_on(node, PROBE_TARGET, "-STOP")?;
    rollout.act("Retry")?;
    let status = follow(rollout, Phase::RolledBack)?;
    println!("  {}", status.message.unwrap_or_default());
    println!("\n{}\n", rollout.columns()?.trim_end());
    let failed = |state: Option<NodeState>| state != Some(NodeState::On);
    ensure!(
        failed(rollout.node(&node.name)?.state),
        "{} is over though it does not work",
        node.name
    );
    ways(cluster, rollout)?;

    heading("It is mended, and the rollout tried again (RolloutAction Retry)");
    cluster.signal_on(node, PROBE_TARGET, "-CONT")?;
    rollout.act("Retry")?;
    follow(rollout, Phase::Complete)?;
    let over = ways(cluster, rollout)?;
    ensure!(over == [Way::Passed; 3], "not over: {over:?}");
    Ok(())
}

/// Waits until the rollout is in a phase, and tells each step of its way there.
fn follow(rollout: &Rollout<'_>, phase: Phase) -> Result<StreamingRolloutStatus> {
    let start = Instant::now();
    let mut last = String::new();
    // A verb is carried out before it is answered, so the phase is of after it.
    rollout.wait(&format!("it is {phase:?}"), LONG, |status| {
        let line = told(status);
        if status.phase.is_some() && line != last {
            println!("  {:5.1}s  {line}", start.elapsed().as_secs_f64());
            last = line;
        }
        status.phase == Some(phase)
    })
}

/// Where a rollout is, in a line.
fn told(status: &StreamingRolloutStatus) -> String {
    let phase = status.phase.map(|phase| format!("{phase:?}"));
    let nodes = &status.nodes;
    format!(
        "{:<12} wave {:<4} {} of {} nodes over",
        phase.unwrap_or_default(),
        status.progress.as_deref().unwrap_or("-"),
        nodes.updated,
        nodes.total
    )
}

/// How `kubectl exec` comes to each node, by the API server's own account.
fn ways(cluster: &Cluster, rollout: &Rollout<'_>) -> Result<Vec<Way>> {
    let mut ways = Vec::new();
    for node in cluster.nodes() {
        let way = rollout.way(&node.name)?;
        let text = match way {
            Way::Translated => "the API server speaks SPDY to the node (translated_at_apiserver)",
            Way::Passed => "the node gets the WebSocket itself    (proxied_to_kubelet)",
        };
        println!("  exec to {}, kubelet {:8} {text}", node.name, node.kubelet);
        ways.push(way);
    }
    Ok(ways)
}

/// Whether Nodes declare what their kubelets do.
fn declared(cluster: &Cluster) -> Result<bool> {
    let path = "jsonpath={range .items[*]}{.metadata.name}={.status.declaredFeatures},\
                {.status.daemonEndpoints.kubeletEndpoint.Port} {end}";
    let told = cluster.kubectl()?.ok(&["get", "nodes", "-o", path])?;
    Ok(cluster.nodes().iter().all(|node| {
        let line = told.split(' ').find(|line| line.starts_with(&node.name));
        line.is_some_and(|line| {
            let declares = line.contains(streamway_crds::names::FEATURE);
            declares == (node.kubelet == CURRENT) && line.ends_with(",10250")
        })
    }))
}

fn heading(text: &str) {
    println!("\n{text}\n");
}
