//! Which writes bring a node over and back, in which order.

use serde_json::json;
use streamway_crds::{NodeMode, NodeState, Phase};

use super::{at_once, with};
use crate::plan::simulation::World;
use crate::plan::simulation::checks::{Writes, assert_over, assert_untouched};

fn complete(world: &World) -> bool {
    world.is_in(Phase::Complete)
}

/// What was written since the last time.
fn switches(world: &mut World) -> Vec<String> {
    std::mem::take(&mut world.checks.switches)
}

#[test]
fn an_old_kubelet_by_redirect() {
    let mut world = World::new(1, &["v1.34.4"]);
    world.rollout("all", at_once());
    world.until(30, "complete", complete);
    assert_over(&world.api, &world.machines);
    assert_eq!(
        switches(&mut world),
        [
            "n0: traffic Kubelet, feature Kubelet",
            "n0: traffic Agent, feature Kubelet",
            "n0: traffic Agent, feature Declared",
            "n0: Node declared true",
        ]
    );
    world.delete_rollout("all");
    world.run(10);
    assert_untouched(&world.api, &world.machines);
    assert_eq!(
        switches(&mut world),
        [
            "n0: traffic Agent, feature Withdrawn",
            "n0: Node declared false",
            "n0: traffic Kubelet, feature Withdrawn",
            "n0: traffic Kubelet, feature Kubelet",
        ]
    );
}

#[test]
fn an_old_kubelet_by_port() {
    let mut world = World::new(1, &["v1.34.4"]);
    world.rollout("all", with(at_once(), json!({"way": "Port"})));
    world.until(30, "complete", complete);
    assert_over(&world.api, &world.machines);
    assert_eq!(
        switches(&mut world),
        [
            "n0: traffic Kubelet, feature Kubelet",
            "n0: traffic Agent, feature Kubelet",
            "n0: Node port 10350",
            "n0: traffic Agent, feature Declared",
            "n0: Node declared true",
        ]
    );
    world.delete_rollout("all");
    world.run(10);
    assert_untouched(&world.api, &world.machines);
    assert_eq!(
        switches(&mut world),
        [
            "n0: traffic Agent, feature Withdrawn",
            "n0: Node declared false",
            "n0: traffic Kubelet, feature Withdrawn",
            "n0: Node port 10250",
            "n0: traffic Kubelet, feature Kubelet",
        ]
    );
}

#[test]
fn a_new_kubelet_is_only_proved() {
    let mut world = World::new(1, &["v1.36.3"]);
    world.rollout("all", at_once());
    world.until(30, "complete", complete);
    assert_over(&world.api, &world.machines);
    assert_eq!(
        switches(&mut world),
        [
            "n0: traffic Kubelet, feature Kubelet",
            "n0: traffic Kubelet, feature Kubelet"
        ]
    );
    assert_eq!(
        world.streaming("n0").status.as_ref().unwrap().mode,
        Some(NodeMode::Native)
    );
}

#[test]
fn a_new_kubelet_behind_the_agent_and_then_not() {
    let mut world = World::new(1, &["v1.36.3"]);
    world.rollout("all", with(at_once(), json!({"mode": "Proxied"})));
    world.until(30, "complete", complete);
    assert!(world.machines["n0"].agent.table);
    // Another revision, to Auto: the kubelet is asked, and found to take them.
    world.rollout("all", at_once());
    world.run(1);
    world.until(60, "complete", complete);
    world.run(1);
    assert_over(&world.api, &world.machines);
    assert!(!world.machines["n0"].agent.table);
}

#[test]
fn another_way_goes_back_first() {
    let mut world = World::new(1, &["v1.34.4"]);
    world.rollout("all", at_once());
    world.until(30, "complete", complete);
    switches(&mut world);
    world.rollout("all", with(at_once(), json!({"way": "Port"})));
    world.run(20);
    assert_over(&world.api, &world.machines);
    assert_eq!(
        switches(&mut world)[..4],
        [
            "n0: traffic Agent, feature Withdrawn",
            "n0: Node declared false",
            "n0: traffic Kubelet, feature Withdrawn",
            "n0: traffic Agent, feature Withdrawn",
        ]
    );
}

#[test]
fn a_gate_that_is_off_is_an_old_kubelet() {
    for (mode, state) in [("Auto", NodeState::On), ("Native", NodeState::Excluded)] {
        let mut world = World::new(1, &["v1.36.3"]);
        world.machines.get_mut("n0").unwrap().gate = false;
        world.report("n0");
        world.rollout("all", with(at_once(), json!({"mode": mode})));
        world.until(30, "complete", complete);
        assert_eq!(world.state("n0"), Some(state), "{mode}");
    }
}

#[test]
fn a_kubelet_that_is_upgraded_and_downgraded_changes_its_mode() {
    let mut world = World::new(1, &["v1.34.4"]);
    world.rollout("all", at_once());
    world.until(30, "complete", complete);
    for (version, mode) in [
        ("v1.36.3", NodeMode::Native),
        ("v1.34.4", NodeMode::Proxied),
        ("v1.36.3", NodeMode::Native),
        ("v1.33.1", NodeMode::Proxied),
    ] {
        world.upgrade("n0", version);
        world.until(30, version, |world| {
            let status = world.streaming("n0").status.as_ref().unwrap();
            world.state("n0") == Some(NodeState::On) && status.mode == Some(mode)
        });
        assert_over(&world.api, &world.machines);
    }
    // The alpha of 1.35, on and off.
    world.upgrade("n0", "v1.36.3");
    world.run(30);
    world.machines.get_mut("n0").unwrap().gate = false;
    world.upgrade("n0", "v1.35.2");
    world.run(90);
    assert_over(&world.api, &world.machines);
    assert!(world.machines["n0"].agent.table);
}

#[test]
fn a_kubelet_that_stops_declaring_gets_an_agent() {
    let mut world = World::new(1, &["v1.36.3"]);
    world.rollout("all", at_once());
    world.until(30, "complete", complete);
    world.machines.get_mut("n0").unwrap().gate = false;
    world.report("n0");
    world.run(90);
    assert_over(&world.api, &world.machines);
    assert!(world.machines["n0"].agent.table);
}

#[test]
fn few_writes() {
    let mut world = World::new(1, &["v1.34.4", "v1.36.3"]);
    world.run(5);
    // The NodeStreaming's first status.
    let first = Writes {
        statuses: 1,
        ..Writes::default()
    };
    assert_eq!(world.checks.writes["n0"], first);
    world.rollout("all", at_once());
    world.until(30, "complete", complete);
    world.run(60);
    let over = Writes {
        specs: 3,
        nodes: 1,
        statuses: 5,
    };
    assert_eq!(
        world.checks.writes["n0"], over,
        "{:?}",
        world.checks.statuses
    );
    let native = Writes {
        specs: 2,
        nodes: 0,
        statuses: 4,
    };
    assert_eq!(
        world.checks.writes["n1"], native,
        "{:?}",
        world.checks.statuses
    );
    world.delete_rollout("all");
    world.run(60);
    let back = Writes {
        specs: 6,
        nodes: 2,
        statuses: 9,
    };
    assert_eq!(
        world.checks.writes["n0"], back,
        "{:?}",
        world.checks.statuses
    );
}
