//! The webhook and the API server away.

use std::time::Instant;

use anyhow::{Result, ensure};
use streamway_crds::{NodeMode, NodeState, names};

use super::agents::over;
use super::asker::Asker;
use super::scene::Scene;

/// Nodes stay as they are, and the controller goes on.
pub(crate) fn api_server(scene: &Scene) -> Result<()> {
    for node in scene.cluster.nodes() {
        scene.forget(&node.name)?;
    }
    scene.cluster.restart_api_server(0)?;
    let back = Instant::now();
    let rollout = scene.rollout()?;
    scene.until("the controller answers", back, || {
        rollout.act("Pause").map(Some)
    })?;
    rollout.act("Resume")?;
    for node in scene.cluster.nodes() {
        let told = rollout.node(&node.name)?;
        ensure!(told.state == Some(NodeState::On), "{}: {told:?}", node.name);
        ensure!(
            told.transitions.is_empty(),
            "{}: {:?}",
            node.name,
            told.transitions
        );
        over(scene, &node.name)?;
    }
    Ok(())
}

/// A node that is masked falls back to what its kubelet says, and sessions work all the time.
pub(crate) fn webhook(scene: &Scene) -> Result<()> {
    scene.forget("three")?;
    let asker = Asker::start(scene, "three")?;
    let start = Instant::now();
    scale(scene, 0)?;
    scene.until("no webhook is there", start, || {
        Ok((endpoints(scene)? == 0).then_some(()))
    })?;
    let away = Instant::now();
    scene.became("three", NodeState::TurningOff, away)?;
    scale(scene, 2)?;
    scene.until("both webhooks are back", Instant::now(), || {
        Ok((endpoints(scene)? == 2).then_some(()))
    })?;
    scene.is(
        "three",
        NodeState::Off,
        NodeMode::Translated,
        Instant::now(),
    )?;
    asker.end(start)
}

fn scale(scene: &Scene, replicas: usize) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    let deployment = [
        "deployment",
        "streamway-webhook",
        "-n",
        names::SYSTEM_NAMESPACE,
    ];
    let args = [&["scale"][..], &deployment, &[&replicas]].concat();
    scene.kubectl.ok(&args).map(drop)
}

/// How many webhooks the API server may ask.
fn endpoints(scene: &Scene) -> Result<usize> {
    let path = "jsonpath={range .items[*].endpoints[?(@.conditions.ready==true)]}x{end}";
    let label = "kubernetes.io/service-name=streamway-webhook";
    let args = [
        "get",
        "endpointslices",
        "-n",
        names::SYSTEM_NAMESPACE,
        "-l",
        label,
        "-o",
        path,
    ];
    Ok(scene.kubectl.ok(&args)?.len())
}
