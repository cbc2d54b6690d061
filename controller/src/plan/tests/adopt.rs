//! Nodes that stream by WebSocket before the rollout comes to them.

use serde_json::json;
use streamway_crds::{NodeState, Phase};

use super::{waves, with};
use crate::plan::simulation::World;
use crate::plan::simulation::api::declares;
use crate::plan::simulation::checks::{assert_over, assert_untouched};

fn rollout(adopt: &str) -> serde_json::Value {
    with(
        waves(json!([
            {"name": "first", "nodes": {"count": 1}, "bake": "1m"},
            {"name": "second", "nodes": {"percent": 100}, "bake": "0s"},
        ])),
        json!({"adopt": adopt}),
    )
}

#[test]
fn they_keep_on_or_are_taken_back_first() {
    for (adopt, declare) in [("Keep", 3), ("Reset", 1)] {
        let mut world = World::new(1, &["v1.36.3", "v1.36.3", "v1.36.3"]);
        world.run(2);
        world.rollout("all", rollout(adopt));
        world.until(60, "the first wave bakes", |world| {
            world.is_in(Phase::Baking)
        });
        let declaring = world
            .api
            .nodes
            .values()
            .filter(|node| declares(node))
            .count();
        assert_eq!(declaring, declare, "{adopt}");
        assert_eq!(world.nodes_in(NodeState::On).len(), 1);
        // Their kubelets go on saying that they do.
        world.run(20);
        let declaring = world
            .api
            .nodes
            .values()
            .filter(|node| declares(node))
            .count();
        assert_eq!(declaring, declare, "{adopt}");
        world.until(120, "complete", |world| world.is_in(Phase::Complete));
        assert_over(&world.api, &world.machines);
        world.delete_rollout("all");
        world.run(10);
        assert_untouched(&world.api, &world.machines);
    }
}

#[test]
fn nothing_is_changed_where_no_rollout_is() {
    let mut world = World::new(1, &["v1.36.3", "v1.34.4"]);
    world.run(60);
    assert!(world.checks.switches.is_empty());
    assert_eq!(world.nodes_in(NodeState::Untouched).len(), 2);
    assert_untouched(&world.api, &world.machines);
}

#[test]
fn a_masked_kubelet_declares_again_when_its_rollout_is_deleted() {
    let mut world = World::new(1, &["v1.36.3"]);
    world.rollout("all", with(rollout("Reset"), json!({"paused": true})));
    world.until(10, "masked", |world| !declares(&world.api.nodes["n0"]));
    world.until(5, "off", |world| world.state("n0") == Some(NodeState::Off));
    world.delete_rollout("all");
    world.run(12);
    assert_untouched(&world.api, &world.machines);
}
