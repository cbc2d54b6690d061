//! Which node is in which rollout and wave, and that it stays so.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use streamway_crds::{NodeState, Phase};

use super::{at_once, waves, with};
use crate::plan::simulation::World;
use crate::plan::simulation::checks::{assert_over, assert_untouched};

fn twenty() -> World {
    World::new(7, &["v1.34.4"; 20])
}

/// Nodes by wave.
fn members(world: &World) -> BTreeMap<String, Vec<String>> {
    let mut members: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, one) in &world.api.streamings {
        let wave = one.spec.wave.clone().unwrap_or_default();
        members.entry(wave).or_default().push(name.clone());
    }
    members
}

fn sizes(spec: Value) -> Vec<usize> {
    let mut world = twenty();
    let names: Vec<_> = spec
        .as_array()
        .unwrap()
        .iter()
        .map(|wave| wave["name"].clone())
        .collect();
    world.rollout("all", with(waves(spec), json!({"paused": true})));
    world.run(5);
    let members = members(&world);
    let size = |name: &Value| members.get(name.as_str().unwrap()).map_or(0, Vec::len);
    names.iter().map(size).collect()
}

#[test]
fn by_count_percent_and_selector() {
    let one = json!({"matchLabels": {"name": "n3"}});
    let few = json!({"matchExpressions": [{"key": "name", "operator": "In", "values": ["n3", "n4", "n5"]}]});
    for (spec, expected) in [
        (json!([{"name": "a", "nodes": {"percent": 100}}]), vec![20]),
        (
            json!([{"name": "a", "nodes": {"count": 3}}, {"name": "b", "nodes": {"percent": 100}}]),
            vec![3, 17],
        ),
        (
            json!([{"name": "a", "nodes": {"count": 30}}, {"name": "b", "nodes": {"percent": 100}}]),
            vec![20, 0],
        ),
        (
            json!([{"name": "a", "nodes": {"percent": 1}}, {"name": "b", "nodes": {"percent": 25}}, {"name": "c", "nodes": {"percent": 100}}]),
            vec![1, 4, 15],
        ),
        (
            json!([{"name": "a", "nodes": {"selector": one}}, {"name": "b", "nodes": {"selector": few}}, {"name": "c", "nodes": {"percent": 50}}, {"name": "d", "nodes": {"percent": 100}}]),
            vec![1, 2, 7, 10],
        ),
    ] {
        assert_eq!(sizes(spec.clone()), expected, "{spec}");
    }
}

#[test]
fn stays_while_nodes_come_and_go() {
    let mut world = twenty();
    let spec = waves(json!([
        {"name": "a", "nodes": {"count": 2}},
        {"name": "b", "nodes": {"percent": 50}},
        {"name": "c", "nodes": {"percent": 100}},
    ]));
    world.rollout("all", with(spec, json!({"paused": true})));
    world.run(5);
    let before = members(&world);
    assert_eq!(before["a"].len(), 2);
    let gone = before["a"][0].clone();
    world.leave(&gone);
    for index in 20..40 {
        world.join(&format!("n{index}"), "v1.34.4");
    }
    world.run(5);
    let after = members(&world);
    for (wave, names) in &before {
        for name in names.iter().filter(|name| **name != gone) {
            assert!(after[wave].contains(name), "{name} left wave {wave}");
        }
    }
    // One took the place of the one that went; the others fill the waves up.
    assert_eq!(
        (after["a"].len(), after["b"].len(), after["c"].len()),
        (2, 18, 19)
    );
}

#[test]
fn other_waves_place_nodes_anew() {
    let mut world = twenty();
    world.rollout(
        "all",
        with(
            waves(json!([{"name": "a", "nodes": {"percent": 100}}])),
            json!({"paused": true}),
        ),
    );
    world.run(5);
    assert_eq!(members(&world)["a"].len(), 20);
    world.rollout("all", with(
        waves(json!([{"name": "a", "nodes": {"count": 5}}, {"name": "b", "nodes": {"percent": 100}}])),
        json!({"paused": true}),
    ));
    world.run(5);
    assert_eq!(members(&world)["a"].len(), 5);
    assert_eq!(world.status().waves.len(), 2);
}

#[test]
fn the_oldest_rollout_wins_and_the_next_takes_over() {
    let mut world = World::new(1, &["v1.34.4", "v1.34.4", "v1.36.3"]);
    world.rollout(
        "zones",
        with(
            at_once(),
            json!({"nodeSelector": {"matchLabels": {"name": "n0"}}}),
        ),
    );
    world.run(20);
    world.rollout("all", at_once());
    world.run(20);
    let rollout = |world: &World, name: &str| world.streaming(name).spec.rollout.clone().unwrap();
    assert_eq!(rollout(&world, "n0"), "zones");
    assert_eq!(rollout(&world, "n1"), "all");
    assert_over(&world.api, &world.machines);
    // Handed over: it keeps streaming.
    world.checks.switches.clear();
    world.delete_rollout("zones");
    world.run(20);
    assert_eq!(rollout(&world, "n0"), "all");
    assert_over(&world.api, &world.machines);
    assert!(
        !world
            .checks
            .switches
            .iter()
            .any(|line| line.contains("Withdrawn")),
        "{:?}",
        world.checks.switches
    );
    world.delete_rollout("all");
    world.run(20);
    assert_untouched(&world.api, &world.machines);
}

#[test]
fn a_node_that_is_no_longer_selected_goes_back() {
    let mut world = World::new(1, &["v1.34.4", "v1.34.4"]);
    world.rollout("all", at_once());
    world.until(30, "complete", |world| world.is_in(Phase::Complete));
    world.rollout(
        "all",
        with(
            at_once(),
            json!({"nodeSelector": {"matchLabels": {"name": "n0"}}}),
        ),
    );
    world.run(30);
    assert_eq!(world.state("n0"), Some(NodeState::On));
    assert_eq!(world.state("n1"), Some(NodeState::Untouched));
}

#[test]
fn nodes_that_join_and_go_in_a_wave() {
    let mut world = World::new(1, &["v1.34.4", "v1.34.4", "v1.34.4", "v1.34.4"]);
    world.rollout(
        "all",
        waves(json!([
            {"name": "first", "nodes": {"percent": 50}, "bake": "20s"},
            {"name": "second", "nodes": {"percent": 100}, "bake": "20s"},
        ])),
    );
    world.until(30, "one is on its way", |world| {
        !world.nodes_in(NodeState::TurningOn).is_empty()
    });
    let name = world.nodes_in(NodeState::TurningOn)[0].to_owned();
    world.leave(&name);
    world.join("late-1", "v1.36.3");
    world.run(20);
    world.join("late-2", "v1.33.1");
    world.until(200, "complete", |world| world.is_in(Phase::Complete));
    assert_over(&world.api, &world.machines);
    // One that comes after the end is brought over too.
    world.join("late-3", "v1.34.4");
    world.run(2);
    assert!(!world.is_in(Phase::Complete));
    world.until(30, "complete", |world| world.is_in(Phase::Complete));
    assert_over(&world.api, &world.machines);
}

#[test]
fn a_node_that_is_made_again_under_its_name() {
    let mut world = World::new(1, &["v1.34.4"]);
    world.rollout("all", at_once());
    world.until(30, "complete", |world| world.is_in(Phase::Complete));
    // The Node is another, and the garbage collector has not come yet.
    let old = world.api.streamings["n0"].clone();
    world.leave("n0");
    world.join("n0", "v1.34.4");
    world.api.streamings.insert("n0".to_owned(), old);
    world.run(20);
    assert_over(&world.api, &world.machines);
}
