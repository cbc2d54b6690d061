//! Agents that die, hang, or are not let in.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use streamway_crds::{NodeMode, NodeState, names};
use streamway_e2e::rollout::Way;

use super::asker::Asker;
use super::scene::{AGENT, Scene};
use super::waves;

/// The kernel takes its table away: nobody notices but those whose connections it held.
pub(crate) fn killed(scene: &Scene) -> Result<()> {
    scene.forget("one")?;
    let asker = Asker::start(scene, "one")?;
    scene.signal("one", AGENT, "-KILL")?;
    let killed = Instant::now();
    withdrawn(scene, "one", killed)?;
    scene.became("one", NodeState::Failed, killed)?;
    scene.is("one", NodeState::On, NodeMode::Proxied, killed)?;
    asker.more(2)?;
    asker.end(killed)?;
    over(scene, "one")
}

/// The Node names the agent's port until the controller takes it back.
pub(crate) fn killed_by_port(scene: &Scene) -> Result<()> {
    waves::apply(scene, "Port")?;
    ensure!(
        scene.says("one")? == (true, names::AGENT_PORT),
        "{:?}",
        scene.says("one")?
    );
    over(scene, "one")?;
    scene.forget("one")?;
    let asker = Asker::start(scene, "one")?;
    scene.signal("one", AGENT, "-KILL")?;
    let killed = Instant::now();
    let back = taken_back(scene, "one", killed)?;
    scene.became("one", NodeState::Failed, killed)?;
    scene.is("one", NodeState::On, NodeMode::Proxied, killed)?;
    asker.more(2)?;
    asker.end(back)?;
    over(scene, "one")
}

/// Stopped, it holds its table and answers nobody.
pub(crate) fn hung(scene: &Scene) -> Result<()> {
    scene.forget("two")?;
    let asker = Asker::start(scene, "two")?;
    scene.signal("two", AGENT, "-STOP")?;
    let stopped = Instant::now();
    let out = withdrawn(scene, "two", stopped)?;
    scene.became("two", NodeState::Failed, stopped)?;
    asker.more(1)?;
    scene.signal("two", AGENT, "-CONT")?;
    scene.is("two", NodeState::On, NodeMode::Proxied, Instant::now())?;
    asker.end(out)?;
    over(scene, "two")
}

/// Stopped, it answers nobody at the port that the Node names, until the controller takes it back. A session that began
/// before waits for it; who asks again is served.
pub(crate) fn hung_by_port(scene: &Scene) -> Result<()> {
    scene.forget("one")?;
    let asker = Asker::start(scene, "one")?;
    scene.signal("one", AGENT, "-STOP")?;
    let stopped = Instant::now();
    let back = taken_back(scene, "one", stopped)?;
    scene.became("one", NodeState::Failed, stopped)?;
    scene.kubectl.ok(&["exec", "box-one", "--", "true"])?;
    scene.kubectl.ok(&["logs", "box-one"])?;
    scene.signal("one", AGENT, "-CONT")?;
    scene.is("one", NodeState::On, NodeMode::Proxied, Instant::now())?;
    asker.end(back)?;
    over(scene, "one")
}

/// A certificate that is good, of another node: it is not used, and one of its own is asked for.
pub(crate) fn wrong_certificate(scene: &Scene) -> Result<()> {
    scene.forget("two")?;
    let others = fs::read(certificate(scene, "one")?)?;
    let own = certificate(scene, "two")?;
    fs::remove_file(&own)?;
    fs::write(&own, others)?;
    scene.signal("two", AGENT, "-KILL")?;
    let killed = Instant::now();
    scene.became("two", NodeState::Failed, killed)?;
    scene.is("two", NodeState::On, NodeMode::Proxied, killed)?;
    let logs = [
        "logs",
        "-n",
        names::NODES_NAMESPACE,
        &pod(scene, "two")?,
        "-c",
        "agent",
    ];
    let told = scene.kubectl.ok(&logs)?;
    let refused = "the stored client certificate is not used";
    ensure!(told.contains(refused), "it does not say {refused:?}");
    over(scene, "two")
}

/// Its role is taken from it: the controller gives it back.
pub(crate) fn without_rights(scene: &Scene) -> Result<()> {
    let user = names::agent_user("one");
    let path = "jsonpath={.metadata.uid}";
    let binding = || {
        let get = [
            "get",
            "clusterrolebinding",
            &user,
            "--ignore-not-found",
            "-o",
            path,
        ];
        scene.kubectl.ok(&get)
    };
    let before = binding()?;
    scene.kubectl.ok(&["delete", "clusterrolebinding", &user])?;
    scene.until("its binding is back", Instant::now(), || {
        let now = binding()?;
        Ok((!now.is_empty() && now != before).then_some(()))
    })?;
    scene.is("one", NodeState::On, NodeMode::Proxied, Instant::now())
}

/// Waits until a Node does not declare the feature; since when.
fn withdrawn(scene: &Scene, node: &str, since: Instant) -> Result<Instant> {
    scene.until("the feature is withdrawn", since, || {
        Ok((!scene.declares(node)?).then(Instant::now))
    })
}

/// Waits until a Node names its kubelet's port and does not declare the feature; since when.
fn taken_back(scene: &Scene, node: &str, since: Instant) -> Result<Instant> {
    scene.until("the port is the kubelet's", since, || {
        Ok((scene.says(node)? == (false, 10250)).then(Instant::now))
    })
}

/// Waits until a node streams by WebSocket. A fault may be noticed late, and then it does not for a while.
pub(crate) fn over(scene: &Scene, node: &str) -> Result<()> {
    let rollout = scene.rollout()?;
    let what = format!("sessions reach {node} as WebSockets");
    scene.until(&what, Instant::now(), || {
        let way = rollout.way(node)?;
        ensure!(way == Way::Passed, "{way}");
        Ok(Some(()))
    })
}

/// The name of a node's agent.
fn pod(scene: &Scene, node: &str) -> Result<String> {
    let status = scene.rollout()?.node(node)?;
    let agent = status.agent.context("no agent")?;
    agent.pod_name.context("no pod")
}

/// The file that holds an agent's certificate, as this machine sees it.
fn certificate(scene: &Scene, node: &str) -> Result<PathBuf> {
    let found = scene.cluster.processes(scene.node(node)?, AGENT)?;
    let pid = found.first().context("no agent runs")?;
    let folder = PathBuf::from(format!("/proc/{pid}/root/var/lib/streamway/pki"));
    let current = folder.join("streamway-client-current.pem");
    let target = fs::read_link(&current)?;
    Ok(folder.join(target.file_name().context("no file")?))
}
