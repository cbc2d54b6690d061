//! What keeps nodes from being begun.

use serde_json::{Value, json};
use streamway_crds::conditions::{PAUSED, READY, RECONCILING, STALLED, is_true};
use streamway_crds::{NodeState, Phase, Verb};

use super::{at_once, waves, with};
use crate::plan::simulation::World;
use crate::plan::version::Version;

const THREE: [&str; 3] = ["v1.34.4", "v1.36.3", "v1.34.4"];

#[test]
fn what_holds_says_so() {
    let night = json!({"windows": [{"name": "nights", "from": "22:00", "to": "04:00", "timeZone": "Europe/Berlin"}]});
    let june = json!({"blackouts": [{"name": "june", "start": "2026-06-01", "end": "2026-06-30"}]});
    let table: [(Value, Phase, &str, Option<&str>); 4] = [
        (
            json!({"paused": true}),
            Phase::Paused,
            "the spec says paused",
            None,
        ),
        (night, Phase::Complete, "3 of 3", None),
        (
            june,
            Phase::WaitingForWindow,
            "the end of blackout june",
            Some("2026-07-01T00:00:00Z"),
        ),
        (
            json!({"windows": [{"name": "noon", "from": "12:00", "to": "13:00"}]}),
            Phase::WaitingForWindow,
            "wave all waits for window noon",
            Some("2026-06-01T12:00:00Z"),
        ),
    ];
    for (more, phase, message, next) in table {
        let mut world = World::new(1, &THREE);
        world.rollout("all", with(at_once(), more.clone()));
        world.run(60);
        let status = world.status();
        assert_eq!(status.phase, Some(phase), "{more}");
        assert!(
            status.message.as_ref().unwrap().contains(message),
            "{status:?}"
        );
        assert_eq!(
            status.next.map(|next| next.time.0.to_string()).as_deref(),
            next,
            "{more}"
        );
        assert_eq!(is_true(&status.conditions, PAUSED), phase == Phase::Paused);
        assert_eq!(is_true(&status.conditions, READY), phase == Phase::Complete);
        assert!(!is_true(&status.conditions, STALLED));
        let held = phase != Phase::Complete;
        assert_eq!(is_true(&status.conditions, RECONCILING), held);
        assert_eq!(world.nodes_in(NodeState::On).is_empty(), held);
    }
}

#[test]
fn a_node_that_was_begun_is_finished_when_the_window_closes() {
    let mut world = World::new(1, &THREE);
    // The clock says midnight, UTC.
    let windows = json!({"windows": [
        {"name": "midnight", "from": "23:00", "to": "00:01"},
        {"name": "later", "from": "00:30", "to": "00:40"},
    ]});
    let one_by_one = with(
        waves(json!([{"name": "all", "nodes": {"percent": 100}, "bake": "0s"}])),
        json!({"analysis": {"minSamples": 1000}}),
    );
    for machine in world.machines.values_mut() {
        machine.broken = true;
    }
    // Sessions that fail twice and work the third time take longer than the window.
    world.run(56);
    world.rollout("all", with(one_by_one, windows));
    world.until(4, "one is begun", |world| {
        !world.nodes_in(NodeState::TurningOn).is_empty()
    });
    world.run(2);
    for machine in world.machines.values_mut() {
        machine.broken = false;
    }
    world.run(60);
    assert!(world.is_in(Phase::WaitingForWindow), "{}", world.story());
    assert_eq!(world.nodes_in(NodeState::On).len(), 1);
    // Time that it waited does not count against its deadline.
    world.until(31 * 60, "complete", |world| world.is_in(Phase::Complete));
}

#[test]
fn a_pause_in_a_wave_and_its_end() {
    let mut world = World::new(1, &THREE);
    let one_by_one = waves(json!([{"name": "all", "nodes": {"percent": 100}, "bake": "0s"}]));
    world.rollout("all", one_by_one);
    world.until(20, "one is over", |world| {
        world.nodes_in(NodeState::On).len() == 1
    });
    world.acts(Verb::Pause);
    world.run(600);
    assert!(world.is_in(Phase::Paused));
    // What was on its way came to its end.
    assert!(world.nodes_in(NodeState::On).len() <= 2);
    assert!(world.nodes_in(NodeState::TurningOn).is_empty());
    world.acts(Verb::Resume);
    world.until(30, "complete", |world| world.is_in(Phase::Complete));
}

#[test]
fn an_api_server_that_sends_no_websockets_on() {
    for (version, phase, word) in [
        (None, Phase::Pending, "not known yet"),
        (
            Some(Version::new(28)),
            Phase::Stalled,
            "streamproxy gateway",
        ),
        (Some(Version::new(35)), Phase::Stalled, "upgrade it to 1.36"),
    ] {
        let mut world = World::new(1, &THREE);
        world.api_server = version;
        world.rollout("all", at_once());
        world.run(30);
        let status = world.status();
        assert_eq!(status.phase, Some(phase));
        assert!(status.message.unwrap().contains(word), "{word}");
        assert!(world.nodes_in(NodeState::On).is_empty());
        // It is upgraded.
        world.api_server = Some(Version::new(36));
        world.until(30, "complete", |world| world.is_in(Phase::Complete));
    }
}

#[test]
fn a_time_zone_that_nobody_knows() {
    let mut world = World::new(1, &THREE);
    let windows = json!({"windows": [{"name": "nights", "timeZone": "Europe/Nowhere"}]});
    world.rollout("all", with(at_once(), windows));
    world.run(10);
    assert!(world.is_in(Phase::Stalled));
    assert!(world.status().message.unwrap().contains("Nowhere"));
}
