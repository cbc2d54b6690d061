//! What happens to a wave while it is on its way.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use streamway_crds::{
    NodeMode, NodeState, Phase, StreamingRolloutStatus, WavePhase, WaveStatus, names,
};
use streamway_e2e::OLD_KUBELET;
use streamway_e2e::product::Leader;
use streamway_e2e::rollout::Way;

use super::agents::over;
use super::scene::{LONG, PROBE_TARGET, Scene};

/// One node, and the others one by one. The last wave is watched for as long as it takes: a Promote ends
/// it.
fn spec(way: &str) -> String {
    format!(
        "  way: {way}
  waves:
  - {{name: first, nodes: {{count: 1}}, bake: 1s}}
  - {{name: rest, nodes: {{percent: 100}}, bake: 1h}}
  analysis: {{interval: 1s, minSamples: 1, prober: {{interval: 1s, timeout: 4s}}}}
"
    )
}

pub(crate) fn brought_over(scene: &Scene) -> Result<()> {
    apply(scene, "Redirect")?;
    println!("{}", scene.rollout()?.columns()?);
    for node in scene.cluster.nodes() {
        over(scene, &node.name)?;
    }
    Ok(())
}

/// Brings all nodes over by this way, to the end.
pub(crate) fn apply(scene: &Scene, way: &str) -> Result<()> {
    let rollout = scene.rollout()?;
    let before = rollout.status().ok().and_then(|status| status.revision);
    rollout.apply(&spec(way))?;
    rollout.wait("the last wave bakes", LONG, |status| {
        status.revision != before && is(status, "rest", WavePhase::Baking)
    })?;
    promote(scene)
}

fn promote(scene: &Scene) -> Result<()> {
    let rollout = scene.rollout()?;
    rollout.act("Promote")?;
    rollout.wait("the rollout is complete", LONG, |status| {
        status.phase == Some(Phase::Complete)
    })?;
    Ok(())
}

/// A container that hangs on a node of the second wave: that wave goes back, and is not tried again
/// before somebody says so.
pub(crate) fn probe_fails(scene: &Scene) -> Result<()> {
    let rollout = scene.rollout()?;
    let (bad, good) = last_of(scene)?;
    scene.signal(&bad, PROBE_TARGET, "-STOP")?;
    let since = Instant::now();
    rollout.act("Retry")?;
    let status = scene.until("the wave is taken back", since, || {
        let status = rollout.status()?;
        Ok((status.phase == Some(Phase::RolledBack)).then_some(status))
    })?;
    println!("    {}", status.message.as_deref().unwrap_or_default());
    ensure!(is(&status, "first", WavePhase::Complete), "{status:?}");
    ensure!(is(&status, "rest", WavePhase::RolledBack), "{status:?}");
    ensure!(status.failed_revision == status.revision, "{status:?}");
    for name in [&bad, &good] {
        let way = rollout.way(name)?;
        ensure!(way == Way::Translated, "{name}: {way}");
    }
    scene.signal(&bad, PROBE_TARGET, "-CONT")
}

/// The other one goes on where it was.
pub(crate) fn leader_killed(scene: &Scene) -> Result<()> {
    let rollout = scene.rollout()?;
    rollout.act("Retry")?;
    let before = rollout.wait("the last wave is on its way", LONG, |status| {
        is(status, "rest", WavePhase::Progressing)
    })?;
    let leader = Leader::of(&scene.kubectl)?;
    let path = "jsonpath={.metadata.uid}";
    let pod = ["get", "pod", &leader.pod];
    let get = [&pod[..], &["-n", names::SYSTEM_NAMESPACE, "-o", path]].concat();
    let uid = scene.kubectl.ok(&get)?;
    scene
        .cluster
        .signal_in_pod(&uid, "/controller run", "-KILL")?;
    let killed = Instant::now();
    scene.until("another leads", killed, || {
        Ok((Leader::of(&scene.kubectl)? != leader).then_some(()))
    })?;
    let after = scene.until("the last wave bakes", killed, || {
        let status = rollout.status()?;
        Ok(is(&status, "rest", WavePhase::Baking).then_some(status))
    })?;
    let begun = |status: &StreamingRolloutStatus| -> Vec<_> {
        let waves = status.waves.iter();
        waves
            .map(|wave| (wave.name.clone(), wave.started_at.clone()))
            .collect()
    };
    ensure!(
        begun(&before) == begun(&after),
        "{before:?} became {after:?}"
    );
    ensure!(
        wave(&before, "first")?.completed_at == wave(&after, "first")?.completed_at,
        "the first wave was repeated"
    );
    for node in scene.cluster.nodes() {
        over(scene, &node.name)?;
    }
    Ok(())
}

/// It belongs to the last wave, and is brought over in it.
pub(crate) fn joined(scene: &mut Scene) -> Result<()> {
    let four = scene.cluster.join("four", OLD_KUBELET)?;
    let joined = Instant::now();
    scene.cluster.import(&four, &scene.archive)?;
    scene.is("four", NodeState::On, NodeMode::Proxied, joined)?;
    let rollout = scene.rollout()?;
    let status = scene.until("the wave counts it", joined, || {
        let status = rollout.status()?;
        let counts = wave(&status, "rest")?.nodes;
        ensure!((counts.total, counts.updated) == (3, 3), "{counts:?}");
        Ok(Some(status))
    })?;
    ensure!(is(&status, "rest", WavePhase::Baking), "{status:?}");
    over(scene, "four")
}

/// Nothing waits for it, and nothing of it stays.
pub(crate) fn deleted(scene: &Scene) -> Result<()> {
    scene.cluster.kill_kubelet(scene.node("four")?)?;
    scene.kubectl.ok(&["delete", "node", "four"])?;
    let deleted = Instant::now();
    let rollout = scene.rollout()?;
    scene.until("the wave no longer counts it", deleted, || {
        let counts = wave(&rollout.status()?, "rest")?.nodes;
        ensure!((counts.total, counts.ready) == (2, 2), "{counts:?}");
        Ok(Some(()))
    })?;
    let user = names::agent_user("four");
    scene.until("nothing of it is left", deleted, || {
        for object in [
            ["nodestreaming", "four"],
            ["clusterrole", &user],
            ["clusterrolebinding", &user],
        ] {
            let get = [&["get", "--ignore-not-found", "-o", "name"][..], &object].concat();
            let left = scene.kubectl.ok(&get)?;
            ensure!(left.is_empty(), "{left}");
        }
        Ok(Some(()))
    })?;
    promote(scene)
}

/// The nodes of the last wave.
fn last_of(scene: &Scene) -> Result<(String, String)> {
    let path = "jsonpath={range .items[?(@.spec.wave=='rest')]}{.metadata.name} {end}";
    let told = scene.kubectl.ok(&["get", "nodestreamings", "-o", path])?;
    let (one, other) = told.trim().split_once(' ').with_context(|| told.clone())?;
    Ok((one.to_owned(), other.to_owned()))
}

fn wave<'a>(status: &'a StreamingRolloutStatus, name: &str) -> Result<&'a WaveStatus> {
    let mut waves = status.waves.iter();
    waves
        .find(|wave| wave.name == name)
        .with_context(|| format!("no wave {name}"))
}

fn is(status: &StreamingRolloutStatus, name: &str, phase: WavePhase) -> bool {
    wave(status, name).is_ok_and(|wave| wave.phase == phase)
}
