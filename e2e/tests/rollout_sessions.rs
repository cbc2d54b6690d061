//! A thousand sessions through a rollout: two waves, a pause, the way back and again, and new agents. None
//! is cut, and no short command beside them fails.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod held;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use held::Sessions;
use streamway_crds::{NodeState, Phase, StreamingRolloutStatus};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::product::{self, Streamway};
use streamway_e2e::rollout::Rollout;
use streamway_e2e::suite::Suite;
use streamway_e2e::wait;

const NODES: [&str; 3] = ["one", "two", "three"];

/// Nodes whose kubelets are too old: their agents are in the path.
const OLD: [&str; 2] = ["one", "two"];

/// Sessions that are open before the rollout begins, and so run past every agent.
const EARLY: u64 = 1000;

/// Sessions that are opened once all nodes are over: those on old nodes run through their agents.
const LATE: u64 = 150;

/// The node of 1.36 is taken back first, so that all three have a way to go. Probes must not fail a node
/// because the machine is busy with the sessions.
const TWO_WAVES: &str = "
  adopt: Reset
  waves:
  - {name: first, nodes: {count: 1}, bake: 2s}
  - {name: rest, nodes: {percent: 100}, maxUnavailable: 2, bake: 2s, approval: Manual}
  analysis: {interval: 3s, minSamples: 1, prober: {interval: 3s, timeout: 20s}}
";

const LONG: Duration = Duration::from_secs(120);

#[test]
fn none_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = product::three_nodes("test-rollout-sessions").up().unwrap();
    let early = Sessions::start(&cluster, "early", EARLY, true).unwrap();
    early.up().unwrap();
    let archive = product::archive(folder.path()).unwrap();
    let streamway = Streamway::new(&cluster, "default", archive).unwrap();
    streamway.install().unwrap();
    let rollout = Rollout::new(&cluster, "all").unwrap();
    let mut suite = Suite::default();
    println!("    agents: {}", memory(&cluster).unwrap());
    suite.check("the first wave", || {
        rollout.apply(TWO_WAVES)?;
        comes_to(&rollout, Phase::WaitingForApproval)?;
        early.go_on()
    });
    suite.check("a pause holds the second back", || {
        rollout.act("Pause")?;
        rollout.act("Promote")?;
        comes_to(&rollout, Phase::Paused)?;
        early.go_on()?;
        let status = rollout.status()?;
        ensure!(
            status.nodes.updated == 1 && status.phase == Some(Phase::Paused),
            "{status:?}"
        );
        Ok(())
    });
    suite.check("resumed, it takes the others", || {
        rollout.act("Resume")?;
        comes_to(&rollout, Phase::Complete)?;
        early.go_on()
    });
    let late = Sessions::start(&cluster, "late", LATE, false).unwrap();
    suite.check("new sessions run through the agents of old nodes", || {
        late.up()?;
        are_in_agents(&cluster)?;
        println!("    agents: {}", memory(&cluster)?);
        Ok(())
    });
    suite.check("all nodes go back", || {
        rollout.act("Rollback")?;
        comes_to(&rollout, Phase::RolledBack)?;
        early.go_on()?;
        late.go_on()?;
        are_in_agents(&cluster)
    });
    suite.check("and over again", || {
        rollout.act("Retry")?;
        comes_to(&rollout, Phase::WaitingForApproval)?;
        rollout.act("Promote")?;
        comes_to(&rollout, Phase::Complete)?;
        early.go_on()?;
        late.go_on()
    });
    suite.check("agents are updated, and let their sessions run on", || {
        update(&cluster)?;
        early.go_on()?;
        late.go_on()?;
        println!("    agents: {}", memory(&cluster)?);
        for node in OLD {
            let agents = agents(&cluster, node)?.len();
            ensure!(
                agents == 2,
                "{node}: {agents} agents, not an old and a new one"
            );
        }
        for node in NODES {
            // Sessions through the new agent are tried.
            rollout.node_is(node, NodeState::On, LONG)?;
        }
        Ok(())
    });
    suite.check("all sessions end well", || {
        let (late, early) = (late.end()?, early.end()?);
        println!(
            "    {} sessions open all through it, and {} from the second wave's end on: {} cut, {} ended well; {} bytes came \
             back, the slowest after {:.0} ms\n    {} short commands, {} failed, the slowest took {:.0} ms",
            EARLY,
            LATE,
            early.cut + late.cut,
            early.ended_well + late.ended_well,
            early.bytes + late.bytes,
            early.slowest_echo.max(late.slowest_echo),
            early.short,
            early.short_failed,
            early.slowest_short,
        );
        Ok(())
    });
    suite.verdict();
}

fn comes_to(rollout: &Rollout<'_>, phase: Phase) -> Result<StreamingRolloutStatus> {
    let what = format!("the rollout is {phase:?}");
    rollout.wait(&what, LONG, |status| status.phase == Some(phase))
}

/// The agents of old nodes have the late sessions.
fn are_in_agents(cluster: &Cluster) -> Result<()> {
    for node in OLD {
        let address = cluster.address(cluster.node(node)?);
        let metrics = plain_get(&format!("{address}:10351"), "/metrics")?;
        let lines = metrics.lines().filter_map(|line| {
            let labelled = line.strip_prefix("streamway_streaming_active_connections{")?;
            labelled.rsplit(' ').next()?.parse::<u64>().ok()
        });
        let open: u64 = lines.sum();
        ensure!(open >= LATE / 3, "{node}: {open} sessions");
    }
    Ok(())
}

fn plain_get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A new revision of the DaemonSet, until each node has a ready pod of it that speaks for the node. `kubectl
/// rollout status` waits longer: until the old pods are gone, whose sessions run on.
fn update(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl()?;
    let before = pods(&kubectl)?;
    let args = [
        "rollout",
        "restart",
        "daemonset/streamway-agent",
        "-n",
        "streamway-nodes",
    ];
    kubectl.ok(&args)?;
    wait::until("all agents are new", LONG, || {
        let now = pods(&kubectl)?;
        ensure!(now.len() == NODES.len(), "{now:?}");
        let old = now.iter().find(|pod| before.contains(pod));
        ensure!(old.is_none(), "{old:?} is still there");
        Ok(Some(()))
    })?;
    let restarts = "jsonpath={range .items[*].status.containerStatuses[*]}{.name} {.restartCount} {.lastState}{\"\\n\"}{end}";
    let told = kubectl.ok(&["get", "pods", "-n", "streamway-nodes", "-o", restarts])?;
    let again = told
        .lines()
        .find(|line| line.split(' ').nth(1) != Some("0"));
    ensure!(again.is_none(), "a container was started again: {told}");
    Ok(())
}

/// The pods that nodes' agents speak from and that are not told to end.
fn pods(kubectl: &Kubectl) -> Result<Vec<String>> {
    let path = "jsonpath={range .items[?(@.status.agent.ready==true)]}{.status.agent.podName}{\"\\n\"}{end}";
    let speaks = kubectl.ok(&["get", "nodestreamings", "-o", path])?;
    let path =
        "jsonpath={range .items[*]}{.metadata.name} {.metadata.deletionTimestamp}{\"\\n\"}{end}";
    let there = kubectl.ok(&["get", "pods", "-n", "streamway-nodes", "-o", path])?;
    // A name with a time behind it is to end.
    let stays = |pod: &&str| there.lines().any(|line| line.trim() == *pod);
    Ok(speaks.lines().filter(stays).map(str::to_owned).collect())
}

fn agents(cluster: &Cluster, node: &str) -> Result<Vec<u32>> {
    cluster.processes(cluster.node(node)?, "/streamproxy node ")
}

/// What each agent holds, in MiB.
fn memory(cluster: &Cluster) -> Result<String> {
    let mut told = Vec::new();
    for node in NODES {
        for pid in agents(cluster, node)? {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("RssAnon:"));
            let kib: f64 = line
                .context("RssAnon")?
                .trim()
                .trim_end_matches(" kB")
                .parse()?;
            told.push(format!("{node} {:.1} MiB", kib / 1024.0));
        }
    }
    Ok(told.join(", "))
}
