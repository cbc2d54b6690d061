//! Waves, one after the other.

use serde_json::json;
use streamway_crds::{NodeState, Phase, Verb, WavePhase};

use super::{waves, with};
use crate::plan::simulation::World;
use crate::plan::simulation::checks::assert_over;

const SIX: [&str; 6] = [
    "v1.34.4", "v1.36.3", "v1.34.4", "v1.36.3", "v1.34.4", "v1.36.3",
];

#[test]
fn each_is_watched_before_the_next_begins() {
    let mut world = World::new(1, &SIX);
    world.rollout(
        "all",
        waves(json!([
            {"name": "canary", "nodes": {"count": 1}, "bake": "30s"},
            {"name": "half", "nodes": {"percent": 50}, "bake": "1m", "maxUnavailable": 2},
            {"name": "rest", "nodes": {"percent": 100}, "bake": "0s", "maxUnavailable": 2},
        ])),
    );
    world.until(20, "the canary bakes", |world| world.is_in(Phase::Baking));
    assert_eq!(world.nodes_in(NodeState::On).len(), 1);
    let status = world.status();
    assert_eq!(status.progress.as_deref(), Some("1/3"));
    assert_eq!(
        status.next.as_ref().unwrap().what,
        "bake of wave canary ends"
    );
    assert_eq!(status.nodes.updated, 1);
    world.run(25);
    assert_eq!(world.nodes_in(NodeState::On).len(), 1);
    world.until(30, "half bakes", |world| {
        world.status().waves[1].phase == WavePhase::Baking
    });
    assert_eq!(world.nodes_in(NodeState::On).len(), 3);
    world.until(100, "complete", |world| world.is_in(Phase::Complete));
    assert_over(&world.api, &world.machines);
    assert_eq!(world.checks.most_on_their_way, 2);
    assert_eq!(world.checks.beginnings, 3);
    let status = world.status();
    assert_eq!(status.progress.as_deref(), Some("3/3"));
    assert!(status.next.is_none());
    assert_eq!(status.message.as_deref(), Some("6 of 6 nodes are over"));
    let begun = [
        "RevisionAdopted",
        "WaveStarted",
        "WaveBaking",
        "WaveComplete",
    ];
    assert_eq!(world.told("all")[..4], begun);
}

#[test]
fn a_wave_that_waits_for_approval() {
    let mut world = World::new(1, &SIX);
    world.rollout(
        "all",
        waves(json!([
            {"name": "canary", "nodes": {"count": 2}, "bake": "0s"},
            {"name": "rest", "nodes": {"percent": 100}, "bake": "0s", "approval": "Manual"},
        ])),
    );
    world.until(30, "waits", |world| world.is_in(Phase::WaitingForApproval));
    world.run(600);
    assert_eq!(world.nodes_in(NodeState::On).len(), 2);
    world.acts(Verb::Promote);
    world.until(60, "complete", |world| world.is_in(Phase::Complete));
}

#[test]
fn nodes_that_are_down_count() {
    let mut world = World::new(1, &SIX);
    for name in ["n0", "n2"] {
        world.set_down(name, true);
    }
    world.rollout("all", with(
        waves(json!([{"name": "all", "nodes": {"percent": 100}, "maxUnavailable": 2, "bake": "0s"}])),
        json!({"progressDeadline": "5m"}),
    ));
    world.run(200);
    assert_eq!(world.nodes_in(NodeState::On).len(), 0, "{}", world.story());
    world.set_down("n0", false);
    // One may be on its way beside the one that is down.
    world.until(60, "five are over", |world| {
        world.nodes_in(NodeState::On).len() == 5
    });
    assert_eq!(world.checks.most_on_their_way, 1);
    // The one that is down is waited for a while, and then left out.
    world.until(130, "complete", |world| world.is_in(Phase::Complete));
    assert_eq!(world.status().excluded[0].node, "n2");
    assert_eq!(world.status().excluded[0].reason, "the Node is not Ready");
    world.set_down("n2", false);
    world.until(30, "it joins", |world| {
        world.nodes_in(NodeState::On).len() == 6
    });
}

#[test]
fn agents_that_start_are_waited_for() {
    let mut world = World::new(1, &["v1.34.4", "v1.34.4", "v1.34.4"]);
    for machine in world.machines.values_mut() {
        machine.kill_agent();
        machine.agent.pod = None;
    }
    world.rollout(
        "all",
        waves(json!([
            {"name": "canary", "nodes": {"count": 1}, "bake": "0s"},
            {"name": "rest", "nodes": {"percent": 100}, "bake": "0s"},
        ])),
    );
    world.run(60);
    let status = world.status();
    assert_eq!(status.waves[0].phase, WavePhase::Progressing);
    let names: Vec<_> = world.machines.keys().cloned().collect();
    for name in &names {
        world.machines.get_mut(name).unwrap().start_agent("agent");
    }
    world.until(30, "complete", |world| world.is_in(Phase::Complete));
    assert_over(&world.api, &world.machines);
}

#[test]
fn a_leader_that_dies_in_a_wave_is_followed_without_a_gap() {
    for moment in 0..60 {
        let mut world = World::new(moment, &SIX);
        world.rollout(
            "all",
            waves(json!([
                {"name": "canary", "nodes": {"count": 1}, "bake": "5s"},
                {"name": "rest", "nodes": {"percent": 100}, "bake": "5s", "maxUnavailable": 2},
            ])),
        );
        for _ in 0..moment {
            world.tick();
        }
        world.kill_controller();
        world.run(3);
        world.elect();
        world.until(120, "complete", |world| world.is_in(Phase::Complete));
        assert_over(&world.api, &world.machines);
        assert_eq!(world.checks.beginnings, 2, "moment {moment}");
    }
}

#[test]
fn a_status_that_says_the_same_is_not_written() {
    let mut world = World::new(1, &SIX);
    world.rollout("all", super::at_once());
    world.until(60, "complete", |world| world.is_in(Phase::Complete));
    world.run(5);
    let (rollout, nodes) = (world.checks.rollout_writes, world.checks.writes.clone());
    world.run(600);
    assert_eq!(world.checks.rollout_writes, rollout);
    assert_eq!(world.checks.writes, nodes);
}
