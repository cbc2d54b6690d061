//! What does not work is out of the path at once, and comes back by itself.

use jiff::SignedDuration;
use serde_json::json;
use streamway_crds::{NodeState, Phase};

use super::{at_once, with};
use crate::plan::simulation::World;
use crate::plan::simulation::api::declares;
use crate::plan::simulation::checks::assert_over;

fn over(way: &str) -> World {
    let mut world = World::new(1, &["v1.34.4", "v1.34.4"]);
    world.rollout("all", with(at_once(), json!({"way": way})));
    world.until(30, "complete", |world| world.is_in(Phase::Complete));
    world
}

#[test]
fn an_agent_that_dies_or_hangs() {
    for way in ["Redirect", "Port"] {
        for hangs in [false, true] {
            let mut world = over(way);
            let now = world.now;
            let machine = world.machines.get_mut("n0").unwrap();
            if hangs {
                machine.agent.hangs_since = Some(now);
            } else {
                machine.kill_agent();
            }
            world.until(5, "withdrawn", |world| !declares(&world.api.nodes["n0"]));
            world.until(2, "failed", |world| {
                world.state("n0") == Some(NodeState::Failed)
            });
            // It fails no wave, and costs no other node.
            world.run(30);
            assert!(world.is_in(Phase::Complete), "{}", world.story());
            assert_eq!(world.status().nodes.failed, 1);
            assert_eq!(world.state("n1"), Some(NodeState::On));
            world.machines.get_mut("n0").unwrap().start_agent("agent-2");
            world.until(10, "back", |world| world.state("n0") == Some(NodeState::On));
            assert_over(&world.api, &world.machines);
        }
    }
}

#[test]
fn one_that_fails_again_and_again_rests_longer_each_time() {
    let mut world = over("Redirect");
    let mut rests = Vec::new();
    for _ in 0..5 {
        world.machines.get_mut("n0").unwrap().kill_agent();
        world.until(10, "failed", |world| {
            world.state("n0") == Some(NodeState::Failed)
        });
        let failed = world.now;
        world.machines.get_mut("n0").unwrap().start_agent("agent");
        world.until(400, "back", |world| {
            world.state("n0") == Some(NodeState::On)
        });
        rests.push((world.now - failed).total(jiff::Unit::Second).unwrap());
    }
    assert!(rests[0] < 7.0, "{rests:?}");
    assert!(
        rests.windows(2).all(|pair| pair[1] > pair[0] * 1.6),
        "{rests:?}"
    );
    // And a while after it is forgiven.
    world.run(11 * 60);
    world.machines.get_mut("n0").unwrap().kill_agent();
    world.until(10, "failed", |world| {
        world.state("n0") == Some(NodeState::Failed)
    });
    world.machines.get_mut("n0").unwrap().start_agent("agent");
    world.until(8, "back", |world| world.state("n0") == Some(NodeState::On));
}

#[test]
fn a_port_that_the_kubelet_takes_back() {
    let mut world = over("Port");
    world.webhook_is_up = false;
    // The kubelet writes its own port within ten seconds.
    world.until(12, "failed", |world| {
        world.state("n0") == Some(NodeState::Failed)
    });
    world.run(3);
    assert!(!declares(&world.api.nodes["n0"]));
    world.webhook_is_up = true;
    world.until(400, "back", |world| {
        world.nodes_in(NodeState::On).len() == 2
    });
    world.run(20);
    assert_over(&world.api, &world.machines);
}

#[test]
fn sessions_that_fail_after_the_rollout_is_done() {
    for version in ["v1.34.4", "v1.36.3"] {
        let mut world = World::new(1, &[version]);
        world.rollout("all", at_once());
        world.until(30, "complete", |world| world.is_in(Phase::Complete));
        world.machines.get_mut("n0").unwrap().broken = true;
        world.until(30, "failed", |world| {
            world.state("n0") == Some(NodeState::Failed)
        });
        world.run(3);
        assert!(!declares(&world.api.nodes["n0"]), "{version}");
        assert!(world.told("n0").contains(&"ProbeFailed"));
        world.machines.get_mut("n0").unwrap().broken = false;
        world.until(30, "back", |world| world.state("n0") == Some(NodeState::On));
        assert_over(&world.api, &world.machines);
    }
}

#[test]
fn one_probe_that_fails_is_none() {
    let mut world = over("Redirect");
    let probed = |world: &World| {
        let status = world.streaming("n0").status.as_ref().unwrap();
        status.last_probe.as_ref().unwrap().result == streamway_crds::ProbeResult::Failed
    };
    world.machines.get_mut("n0").unwrap().broken = true;
    world.until(15, "one probe failed", probed);
    world.machines.get_mut("n0").unwrap().broken = false;
    world.run(60);
    assert!(!world.told("n0").contains(&"ProbeFailed"));
    assert_eq!(world.state("n0"), Some(NodeState::On));
}

#[test]
fn a_controller_that_takes_over_asks_before_it_judges() {
    let mut world = over("Redirect");
    let before = world.checks.writes.clone();
    world.kill_controller();
    world.run(20);
    world.elect();
    world.run(60);
    assert_eq!(
        world.checks.writes, before,
        "a change of leaders writes nothing"
    );
    // An agent that died while nobody looked is found out.
    world.kill_controller();
    world.machines.get_mut("n0").unwrap().kill_agent();
    world.run(5);
    world.checks.patience = SignedDuration::from_secs(2);
    world.elect();
    world.until(6, "withdrawn", |world| !declares(&world.api.nodes["n0"]));
}
