//! Kubelets that go, come back, and come back as others.

use std::time::Instant;

use anyhow::{Result, ensure};
use streamway_crds::{NodeMode, NodeState, Phase};
use streamway_e2e::rollout::Way;
use streamway_e2e::{CURRENT, OLD_KUBELET};

use super::agents::over;
use super::scene::{LONG, Scene};

pub(crate) fn killed(scene: &Scene) -> Result<()> {
    scene.forget("one")?;
    let node = scene.node("one")?;
    scene.cluster.kill_kubelet(node)?;
    let killed = Instant::now();
    scene.became("one", NodeState::Failed, killed)?;
    scene.until("the feature is withdrawn", killed, || {
        Ok((!scene.declares("one")?).then_some(()))
    })?;
    scene.cluster.start_kubelet_again(node, OLD_KUBELET)?;
    scene.is("one", NodeState::On, NodeMode::Proxied, Instant::now())?;
    over(scene, "one")
}

/// What it writes of itself does not undo the mode: neither one that knows nothing of the feature, nor one
/// that declares it.
pub(crate) fn restarted(scene: &Scene) -> Result<()> {
    for (name, version, mode) in [
        ("two", OLD_KUBELET, NodeMode::Proxied),
        ("three", CURRENT, NodeMode::Native),
    ] {
        scene.cluster.restart_kubelet(scene.node(name)?, version)?;
        scene.is(name, NodeState::On, mode, Instant::now())?;
        over(scene, name)?;
    }
    Ok(())
}

/// A node that is taken back and whose kubelet would declare the feature: the webhook keeps it out.
pub(crate) fn masked(scene: &Scene) -> Result<()> {
    let rollout = scene.rollout()?;
    rollout.act("Rollback")?;
    rollout.wait("all are back", LONG, |status| {
        status.phase == Some(Phase::RolledBack)
    })?;
    scene
        .cluster
        .restart_kubelet(scene.node("three")?, CURRENT)?;
    ensure!(!scene.declares("three")?, "three declares the feature");
    scene.is(
        "three",
        NodeState::Off,
        NodeMode::Translated,
        Instant::now(),
    )?;
    for name in ["one", "two", "three"] {
        let way = rollout.way(name)?;
        ensure!(way == Way::Translated, "{name}: {way}");
    }
    Ok(())
}

/// The node's mode follows its kubelet, up and down.
pub(crate) fn upgraded(scene: &Scene) -> Result<()> {
    for (version, mode) in [
        (CURRENT, NodeMode::Native),
        (OLD_KUBELET, NodeMode::Proxied),
    ] {
        scene.forget("two")?;
        let node = scene.node("two")?;
        scene.cluster.kill_kubelet(node)?;
        let killed = Instant::now();
        scene.cluster.start_kubelet_again(node, version)?;
        scene.is("two", NodeState::On, mode, killed)?;
        over(scene, "two")?;
    }
    Ok(())
}
