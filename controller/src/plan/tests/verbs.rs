//! RolloutActions: done once, or refused with what to do instead.

use serde_json::json;
use streamway_crds::{ActionResult, NodeState, Phase, Verb, WavePhase};

use super::waves;
use crate::plan::simulation::World;
use crate::plan::simulation::checks::assert_over;

const FOUR: [&str; 4] = ["v1.34.4", "v1.36.3", "v1.34.4", "v1.36.3"];

fn two_waves() -> World {
    let mut world = World::new(1, &FOUR);
    world.rollout("all", waves(json!([
        {"name": "first", "nodes": {"count": 2}, "bake": "1h", "maxUnavailable": 2},
        {"name": "second", "nodes": {"percent": 100}, "bake": "1h", "maxUnavailable": 2, "approval": "Manual"},
    ])));
    world.until(60, "bakes", |world| world.is_in(Phase::Baking));
    world
}

#[test]
fn promote_ends_a_bake_and_approves() {
    let mut world = two_waves();
    let (result, message) = world.acts(Verb::Promote);
    assert_eq!(
        (result, message.as_str()),
        (ActionResult::Done, "wave first is watched no longer")
    );
    world.until(60, "the second bakes", |world| {
        world.status().waves[1].phase == WavePhase::Baking
    });
    world.acts(Verb::Promote);
    world.until(10, "complete", |world| world.is_in(Phase::Complete));
    assert_over(&world.api, &world.machines);
    let (result, message) = world.acts(Verb::Promote);
    assert_eq!(result, ActionResult::Refused);
    assert!(message.contains("all waves are done"), "{message}");
    let answered = world
        .api
        .actions
        .values()
        .next()
        .unwrap()
        .status
        .clone()
        .unwrap();
    assert_eq!(answered.wave.as_deref(), Some("first"));
    assert_eq!(answered.revision, world.status().revision);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut world = two_waves();
    for (verb, word) in [
        (Verb::Retry, "has not failed"),
        (Verb::Resume, "not paused"),
    ] {
        let (result, message) = world.acts(verb);
        assert_eq!(result, ActionResult::Refused, "{verb:?}");
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(world.acts(Verb::Pause).0, ActionResult::Done);
    let (result, message) = world.acts(Verb::Pause);
    assert_eq!(
        (result, message.as_str()),
        (ActionResult::Refused, "it is paused already")
    );
    assert_eq!(world.acts(Verb::Resume).0, ActionResult::Done);
    assert_eq!(world.acts(Verb::Abort).0, ActionResult::Done);
    for verb in [Verb::Abort, Verb::Promote] {
        assert_eq!(world.acts(verb).0, ActionResult::Refused, "{verb:?}");
    }
}

#[test]
fn abort_takes_one_wave_back_and_rollback_all() {
    let mut world = two_waves();
    world.acts(Verb::Promote);
    world.until(60, "the second bakes", |world| {
        world.status().waves[1].phase == WavePhase::Baking
    });
    world.acts(Verb::Abort);
    world.until(60, "rolled back", |world| world.is_in(Phase::RolledBack));
    assert_eq!(world.nodes_in(NodeState::On).len(), 2);
    let message = world.status().message.unwrap();
    assert!(message.contains("aborted in wave second"), "{message}");
    assert_eq!(world.acts(Verb::Rollback).0, ActionResult::Done);
    world.until(60, "all are back", |world| {
        world.nodes_in(NodeState::On).is_empty() && world.is_in(Phase::RolledBack)
    });
    let (result, message) = world.acts(Verb::Rollback);
    assert_eq!(
        (result, message.as_str()),
        (ActionResult::Refused, "all waves are taken back already")
    );
    // And all of it again, from the first wave on.
    world.acts(Verb::Retry);
    world.until(60, "the first bakes", |world| {
        world.status().waves[0].phase == WavePhase::Baking
    });
    assert_eq!(world.nodes_in(NodeState::On).len(), 2);
    assert!(
        !world.status().waves[1].approved,
        "approved before the rollback, not since"
    );
}

#[test]
fn a_rollout_that_does_not_exist() {
    let mut world = World::new(1, &FOUR);
    let name = world.act("none", Verb::Promote);
    world.run(4);
    assert!(world.api.actions[&name].status.is_none());
    world.run(3);
    let status = world.api.actions[&name].status.clone().unwrap();
    assert_eq!(status.result, Some(ActionResult::Refused));
    assert!(
        status
            .message
            .unwrap()
            .contains("there is no StreamingRollout none")
    );
}

#[test]
fn a_verb_is_carried_out_once_whoever_leads() {
    // The leader dies at each moment between the verb and its answer.
    for moment in 0..8 {
        let mut world = two_waves();
        let promote = world.act("all", Verb::Promote);
        for _ in 0..moment {
            world.tick();
        }
        world.kill_controller();
        world.run(2);
        world.elect();
        world.until(60, "the second bakes", |world| {
            world.status().waves[1].phase == WavePhase::Baking
        });
        world.run(30);
        assert!(
            world.is_in(Phase::Baking),
            "moment {moment}: promoted twice"
        );
        let status = world.api.actions[&promote].status.clone().unwrap();
        assert_eq!(status.result, Some(ActionResult::Done), "moment {moment}");
    }
}

#[test]
fn several_at_once_are_carried_out_in_order() {
    let mut world = two_waves();
    let names =
        [Verb::Pause, Verb::Promote, Verb::Resume, Verb::Pause].map(|verb| world.act("all", verb));
    world.run(5);
    for name in names {
        let status = world.api.actions[&name].status.clone().unwrap();
        assert_eq!(
            status.result,
            Some(ActionResult::Done),
            "{name}: {:?}",
            status.message
        );
    }
    assert!(world.status().paused_by_action);
}
