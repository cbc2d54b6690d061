//! Rollouts in clusters where anything happens at any time, by seed.

use jiff::SignedDuration;
use serde_json::{Value, json};
use streamway_crds::{Phase, Verb};

use super::checks::{assert_over, assert_untouched};
use super::{Weather, World};

const KUBELETS: [&str; 8] = [
    "v1.34.4", "v1.36.3", "v1.34.4", "v1.35.1", "v1.36.3", "v1.33.0", "v1.34.4", "v1.36.0",
];

fn spec(way: &str) -> Value {
    json!({
        "way": way,
        "waves": [
            {"name": "canary", "nodes": {"count": 1}, "bake": "10s"},
            {"name": "some", "nodes": {"percent": 50}, "bake": "10s", "maxUnavailable": 2},
            {"name": "rest", "nodes": {"percent": 100}, "bake": "0s", "maxUnavailable": 3},
        ],
        "progressDeadline": "1h",
        "analysis": {
            "minSamples": 1, "interval": "5s", "failureLimit": 1000, "inconclusiveLimit": 1000,
            "errorLimit": 1000, "prober": {"interval": "5s"},
        },
    })
}

/// How many seeds each test tries; more by hand.
fn seeds(few: u64) -> std::ops::Range<u64> {
    let more = std::env::var("STREAMWAY_SEEDS").ok();
    0..more.and_then(|more| more.parse().ok()).unwrap_or(few)
}

fn phase(world: &World) -> Option<Phase> {
    let rollout = world.api.rollouts.get("all")?;
    rollout.status.as_ref()?.phase
}

/// Something happens to somebody.
fn mishap(world: &mut World, pods: &mut u32) {
    let names: Vec<_> = world.machines.keys().cloned().collect();
    let index = usize::try_from(world.random.below(names.len() as u64)).unwrap();
    let name = names[index].clone();
    let now = world.now;
    let machine = world.machines.get_mut(&name).unwrap();
    match world.random.below(12) {
        0 | 1 => machine.kill_agent(),
        2 if machine.agent.alive => machine.agent.hangs_since = Some(now),
        3 | 4 if !machine.down => {
            *pods += 1;
            machine.start_agent(&format!("agent-{pods}"));
        }
        5 => {
            let version = KUBELETS[usize::try_from(world.random.below(8)).unwrap()];
            world.upgrade(&name, version);
        }
        6 => {
            let down = !machine.down;
            world.set_down(&name, down);
        }
        7 => world.webhook_is_up = !world.webhook_is_up,
        8 => world.kill_controller(),
        9 => {
            let verb = if world.random.happens(500) {
                Verb::Pause
            } else {
                Verb::Resume
            };
            world.act("all", verb);
        }
        10 => {
            world.leave(&name);
            world.join(&name, "v1.34.4");
        }
        _ => {
            world.act("all", Verb::Promote);
        }
    }
}

/// All is mended.
fn mend(world: &mut World) {
    world.webhook_is_up = true;
    let names: Vec<_> = world.machines.keys().cloned().collect();
    for name in names {
        if world.machines[&name].down {
            world.set_down(&name, false);
        }
        let machine = world.machines.get_mut(&name).unwrap();
        if machine.agent.hangs_since.is_some() || !machine.agent.alive {
            machine.start_agent("agent-mended");
        }
    }
    if world.controller.is_none() {
        world.elect();
    }
    world.act("all", Verb::Resume);
    // A kubelet that became an older one just now has left its feature behind.
    world.run(10);
}

fn storm(seed: u64, way: &str) -> World {
    let mut world = World::new(seed, &KUBELETS);
    world.weather = Weather::FOUL;
    // What is seen late is found out late, and so is what a controller that died had on its way.
    world.checks.patience = SignedDuration::from_secs(6);
    for machine in world.machines.values_mut() {
        machine.gate = machine.version != "v1.35.1";
    }
    world.rollout("all", spec(way));
    let mut pods = 0;
    for _ in 0..60 {
        let calm = i64::try_from(world.random.below(12)).unwrap();
        world.run(calm);
        mishap(&mut world, &mut pods);
        if world.controller.is_none() && world.random.happens(700) {
            let without = i64::try_from(world.random.below(5)).unwrap() + 1;
            world.run(without);
            world.elect();
        }
    }
    mend(&mut world);
    world
}

#[test]
fn after_any_storm_all_nodes_are_over() {
    for seed in seeds(5) {
        for way in ["Redirect", "Port"] {
            let mut world = storm(seed, way);
            world.until(2400, &format!("seed {seed}, {way}: complete"), |world| {
                phase(world) == Some(Phase::Complete)
                    && world.api.rollouts["all"]
                        .status
                        .as_ref()
                        .unwrap()
                        .nodes
                        .ready
                        == 8
            });
            world.weather = Weather::FAIR;
            world.run(30);
            assert_over(&world.api, &world.machines);
            let quiet = world.api.version();
            world.run(300);
            assert_eq!(
                world.api.version(),
                quiet,
                "seed {seed}: written though nothing changed"
            );
        }
    }
}

#[test]
fn after_any_storm_a_deleted_rollout_leaves_nothing() {
    for seed in seeds(5) {
        for way in ["Redirect", "Port"] {
            let mut world = storm(seed + 1000, way);
            world.delete_rollout("all");
            world.run(120);
            assert_untouched(&world.api, &world.machines);
        }
    }
}
