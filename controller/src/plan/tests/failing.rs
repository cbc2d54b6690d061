//! Waves that fail, and what becomes of them.

use serde_json::json;
use streamway_crds::conditions::{DEGRADED, ROLLED_BACK, STALLED, is_true};
use streamway_crds::{NodeState, Phase, Verb, WavePhase};

use super::{waves, with};
use crate::plan::simulation::World;
use crate::plan::simulation::api::declares;
use crate::plan::simulation::checks::assert_over;

const FOUR: [&str; 4] = ["v1.34.4", "v1.36.3", "v1.34.4", "v1.36.3"];

/// Two waves of two nodes, and one node of the second is broken.
fn broken(more: serde_json::Value) -> (World, String) {
    let mut world = World::new(1, &FOUR);
    world.rollout(
        "all",
        with(
            waves(json!([
                {"name": "first", "nodes": {"count": 2}, "bake": "0s", "maxUnavailable": 2},
                {"name": "second", "nodes": {"percent": 100}, "bake": "0s", "maxUnavailable": 2},
            ])),
            more,
        ),
    );
    world.run(1);
    let mut in_second = world.api.streamings.iter().filter(|(name, one)| {
        one.spec.wave.as_deref() == Some("second")
            && FOUR[name[1..].parse::<usize>().unwrap()] == "v1.34.4"
    });
    let name = in_second
        .next()
        .map_or_else(|| "n1".to_owned(), |(name, _)| name.clone());
    world.machines.get_mut(&name).unwrap().broken = true;
    (world, name)
}

#[test]
fn a_wave_is_rolled_back_and_not_tried_again_before_a_retry() {
    let (mut world, name) = broken(json!({}));
    world.until(60, "rolled back", |world| world.is_in(Phase::RolledBack));
    let status = world.status();
    assert_eq!(status.waves[0].phase, WavePhase::Complete);
    assert_eq!(status.waves[1].phase, WavePhase::RolledBack);
    assert_eq!(status.failed_revision, status.revision);
    let message = status.message.unwrap();
    assert!(
        message.contains("wave second failed") && message.contains(&name),
        "{message}"
    );
    assert!(message.contains("Retry"), "{message}");
    for condition in [DEGRADED, ROLLED_BACK, STALLED] {
        assert!(is_true(&status.conditions, condition), "{condition}");
    }
    assert_eq!(world.nodes_in(NodeState::On).len(), 2);
    assert_eq!(
        world.nodes_in(NodeState::Off).len() + world.nodes_in(NodeState::Untouched).len(),
        2
    );
    assert!(!declares(&world.api.nodes[&name]));
    world.run(600);
    assert_eq!(world.nodes_in(NodeState::On).len(), 2);
    // It is mended, and tried again.
    world.machines.get_mut(&name).unwrap().broken = false;
    world.acts(Verb::Retry);
    world.until(60, "complete", |world| world.is_in(Phase::Complete));
    assert_over(&world.api, &world.machines);
    assert!(world.status().failed_revision.is_none());
}

#[test]
fn all_waves_are_rolled_back_if_the_spec_says_so() {
    let (mut world, _) = broken(json!({"rollbackScope": "All"}));
    world.until(60, "rolled back", |world| world.is_in(Phase::RolledBack));
    assert!(
        world.nodes_in(NodeState::On).is_empty(),
        "{}",
        world.story()
    );
    // Kubelets that would declare it are kept from it, and stay so.
    world.run(60);
    for (name, machine) in &world.machines {
        let begun = world.streaming(name).spec.mode.is_some();
        let wants = machine.takes_websockets();
        assert_eq!(declares(&world.api.nodes[name]), wants && !begun, "{name}");
    }
    assert!(world.told("all").contains(&"RollingBack"));
    assert!(world.told("all").contains(&"RolledBack"));
}

#[test]
fn on_failure_pause_leaves_what_works() {
    let (mut world, name) = broken(json!({"onFailure": "Pause"}));
    world.until(60, "stalled", |world| world.is_in(Phase::Stalled));
    world.run(600);
    assert_eq!(world.nodes_in(NodeState::On).len(), 3, "{}", world.story());
    assert_eq!(world.state(&name), Some(NodeState::Failed));
    assert!(!declares(&world.api.nodes[&name]));
    assert_eq!(world.status().waves[1].phase, WavePhase::Failed);
    // Somebody finds that it should have been taken back.
    world.acts(Verb::Abort);
    world.until(60, "rolled back", |world| world.is_in(Phase::RolledBack));
    assert_eq!(world.nodes_in(NodeState::On).len(), 2);
}

#[test]
fn another_spec_is_another_revision() {
    let (mut world, name) = broken(json!({}));
    world.until(60, "rolled back", |world| world.is_in(Phase::RolledBack));
    let failed = world.status().failed_revision;
    world.machines.get_mut(&name).unwrap().broken = false;
    let one = waves(
        json!([{"name": "all", "nodes": {"percent": 100}, "bake": "0s", "maxUnavailable": 4}]),
    );
    world.rollout("all", one);
    world.run(2);
    world.until(60, "complete", |world| world.is_in(Phase::Complete));
    assert_over(&world.api, &world.machines);
    assert_eq!(world.status().failed_revision, failed);
    // And the one that failed before is not tried again by writing it again.
    let (again, _) = broken(json!({}));
    let spec = serde_json::to_value(&again.api.rollouts["all"].spec).unwrap();
    world.rollout("all", spec);
    world.run(30);
    assert!(world.is_in(Phase::Stalled), "{}", world.story());
    assert!(world.status().message.unwrap().contains("failed before"));
    assert_eq!(world.nodes_in(NodeState::On).len(), 4);
}

#[test]
fn a_wave_that_brings_no_node_over_has_failed() {
    let mut world = World::new(1, &["v1.34.4", "v1.34.4"]);
    world.rollout(
        "all",
        with(
            waves(json!([{"name": "all", "nodes": {"percent": 100}, "bake": "0s"}])),
            json!({"progressDeadline": "3m"}),
        ),
    );
    world.until(10, "one is begun", |world| {
        !world.nodes_in(NodeState::TurningOn).is_empty()
    });
    // Its agent dies and does not come back.
    let name = world.nodes_in(NodeState::TurningOn)[0].to_owned();
    let machine = world.machines.get_mut(&name).unwrap();
    machine.kill_agent();
    machine.agent.pod = None;
    world.run(170);
    assert!(world.is_in(Phase::Progressing), "{}", world.story());
    world.until(15, "rolled back", |world| world.is_in(Phase::RolledBack));
    let message = world.status().message.unwrap();
    assert!(
        message.contains("no node came over for 3m") && message.contains(&name),
        "{message}"
    );
}

#[test]
fn sessions_that_fail_in_a_bake_are_judged() {
    let mut world = World::new(1, &["v1.34.4", "v1.34.4", "v1.34.4"]);
    let spec = with(
        waves(
            json!([{"name": "all", "nodes": {"percent": 100}, "bake": "1h", "maxUnavailable": 3}]),
        ),
        json!({"analysis": {"minSamples": 3, "interval": "10s", "failureLimit": 1, "prober": {"interval": "5s"}}}),
    );
    world.rollout("all", spec);
    world.until(30, "bakes", |world| world.is_in(Phase::Baking));
    world.run(60);
    assert!(world.is_in(Phase::Baking));
    // Every other probe or so fails: no node fails, but the objective does.
    for _ in 0..8 {
        world.machines.get_mut("n1").unwrap().broken = true;
        world.run(5);
        world.machines.get_mut("n1").unwrap().broken = false;
        world.run(5);
        if world.is_in(Phase::RolledBack) {
            break;
        }
    }
    world.until(30, "rolled back", |world| world.is_in(Phase::RolledBack));
    let message = world.status().message.unwrap();
    assert!(
        message.contains("2 measurements failed") && message.contains("wanted 99.9%"),
        "{message}"
    );
    // The next try is judged by what comes then.
    world.acts(Verb::Retry);
    world.until(30, "bakes again", |world| world.is_in(Phase::Baking));
    world.run(120);
    assert!(world.is_in(Phase::Baking), "{}", world.story());
    assert_eq!(world.status().analysis.unwrap().failures, 0);
}

#[test]
fn a_failure_that_the_limit_allows_does_not_hold_a_wave() {
    let mut world = World::new(1, &["v1.34.4", "v1.34.4"]);
    let spec = with(
        waves(
            json!([{"name": "all", "nodes": {"percent": 100}, "bake": "1m", "maxUnavailable": 2}]),
        ),
        json!({"analysis": {"minSamples": 5, "interval": "10s", "prober": {"interval": "5s"}}}),
    );
    world.rollout("all", spec);
    world.until(30, "bakes", |world| world.is_in(Phase::Baking));
    world.run(20);
    world.machines.get_mut("n1").unwrap().broken = true;
    world.run(5);
    world.machines.get_mut("n1").unwrap().broken = false;
    world.until(75, "complete", |world| world.is_in(Phase::Complete));
    let analysis = world.status().analysis.unwrap();
    assert_eq!(analysis.failures, 1);
    let message = analysis.message.unwrap();
    assert!(message.contains("since were good"), "{message}");
}

#[test]
fn the_end_of_a_bake_is_judged_too() {
    let mut world = World::new(1, &["v1.34.4", "v1.34.4"]);
    let spec = with(
        waves(
            json!([{"name": "all", "nodes": {"percent": 100}, "bake": "75s", "maxUnavailable": 2}]),
        ),
        json!({"analysis": {"minSamples": 5, "interval": "1m", "failureLimit": 0, "prober": {"interval": "5s"}}}),
    );
    world.rollout("all", spec);
    world.until(30, "bakes", |world| world.is_in(Phase::Baking));
    world.until(70, "measured, and well", |world| {
        world.status().analysis.unwrap().measured_at.is_some()
    });
    assert!(world.is_in(Phase::Baking), "{}", world.story());
    world.machines.get_mut("n1").unwrap().broken = true;
    world.run(5);
    world.machines.get_mut("n1").unwrap().broken = false;
    // The measurement after the bake fails, not the node.
    world.until(75, "rolled back", |world| world.is_in(Phase::RolledBack));
    let message = world.status().message.unwrap();
    assert!(message.contains("wanted 99.9%"), "{message}");
}

#[test]
fn a_bake_without_nodes_ends() {
    let mut world = World::new(1, &["v1.34.4", "v1.34.4"]);
    let spec = with(
        waves(json!([
            {"name": "one", "nodes": {"count": 1}, "bake": "2m"},
            {"name": "all", "nodes": {"percent": 100}, "bake": "0s"},
        ])),
        json!({"analysis": {"minSamples": 1, "interval": "10s", "prober": {"interval": "5s"}}}),
    );
    world.rollout("all", spec);
    world.until(30, "bakes", |world| world.is_in(Phase::Baking));
    world.run(20);
    let gone = world.nodes_in(NodeState::On)[0].to_owned();
    world.leave(&gone);
    world.until(150, "complete", |world| world.is_in(Phase::Complete));
}

#[test]
fn a_wave_that_went_wrong_is_not_done_because_its_nodes_are_gone() {
    let mut world = World::new(1, &["v1.34.4", "v1.34.4", "v1.34.4"]);
    let spec = with(
        waves(json!([
            {"name": "two", "nodes": {"count": 2}, "bake": "1m", "maxUnavailable": 2},
            {"name": "all", "nodes": {"percent": 100}, "bake": "0s"},
        ])),
        json!({"analysis": {"minSamples": 5, "interval": "10s", "prober": {"interval": "5s"}}}),
    );
    world.rollout("all", spec);
    world.until(30, "bakes", |world| world.is_in(Phase::Baking));
    world.run(20);
    let members: Vec<_> = world
        .nodes_in(NodeState::On)
        .into_iter()
        .map(str::to_owned)
        .collect();
    world.machines.get_mut(&members[0]).unwrap().broken = true;
    world.run(5);
    world.machines.get_mut(&members[0]).unwrap().broken = false;
    world.until(20, "a measurement fails", |world| {
        world.status().analysis.unwrap().failures == 1
    });
    members.iter().for_each(|node| world.leave(node));
    // Another leader has counted nothing on them.
    world.elect();
    world.run(120);
    let status = world.status();
    assert_eq!(status.phase, Some(Phase::Paused), "{}", world.story());
    let message = status.message.unwrap();
    assert!(
        message.contains("no nodes any more") && message.contains("Promote"),
        "{message}"
    );
    world.acts(Verb::Promote);
    world.until(30, "complete", |world| world.is_in(Phase::Complete));
}

#[test]
fn an_analysis_that_cannot_tell_pauses() {
    let mut world = World::new(1, &["v1.34.4", "v1.34.4"]);
    let spec = with(
        waves(json!([
            {"name": "one", "nodes": {"count": 1}, "bake": "10s"},
            {"name": "all", "nodes": {"percent": 100}, "bake": "0s"},
        ])),
        json!({"analysis": {"minSamples": 1000, "interval": "10s", "inconclusiveLimit": 3}}),
    );
    world.rollout("all", spec);
    world.run(60);
    // A wave that was watched long enough, and nothing is known: it does not go on.
    let status = world.status();
    assert_eq!(status.waves[0].phase, WavePhase::Baking);
    assert_eq!(status.phase, Some(Phase::Paused));
    assert!(is_true(
        &status.conditions,
        streamway_crds::conditions::PAUSED
    ));
    assert!(
        status
            .analysis
            .unwrap()
            .message
            .unwrap()
            .contains("samples of 1000")
    );
    let (_, message) = world.acts(Verb::Resume);
    assert_eq!(message, "nodes are begun again");
    let (_, message) = world.acts(Verb::Promote);
    assert_eq!(message, "wave one is watched no longer");
    world.until(30, "complete", |world| world.is_in(Phase::Complete));
}
