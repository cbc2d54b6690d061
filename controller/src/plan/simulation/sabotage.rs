//! The checks are checked: plans are spoiled, and it must be noticed.

use serde_json::json;
use streamway_crds::{Feature, Phase, WavePhase};

use super::World;
use crate::plan::{Chain, Observed, Plan, Subject, Write};

fn two_waves() -> World {
    let mut world = World::new(1, &["v1.34.4", "v1.34.4", "v1.34.4", "v1.34.4"]);
    world.rollout(
        "all",
        json!({"waves": [
            {"name": "first", "nodes": {"count": 3}, "bake": "0s"},
            {"name": "second", "nodes": {"percent": 100}, "bake": "0s"},
        ]}),
    );
    world
}

/// Nothing is withdrawn.
fn withdraws_nothing(plan: &mut Plan, _: &Observed) {
    for chain in &mut plan.chains {
        chain.writes.retain(|write| match write {
            Write::Spec { spec, .. } => spec.feature != Feature::Withdrawn,
            Write::Node { patch, .. } => patch.declared != Some(false),
            _ => true,
        });
    }
    plan.chains.retain(|chain| !chain.writes.is_empty());
}

/// When a node is begun, so are all.
fn begins_all(plan: &mut Plan, observed: &Observed) {
    let begun = plan
        .chains
        .iter()
        .flat_map(|chain| &chain.writes)
        .find_map(|write| match write {
            Write::Spec { spec, .. } => spec.revision.clone(),
            _ => None,
        });
    let Some(revision) = begun else { return };
    for (name, seen) in &observed.nodes {
        let streaming = seen.streaming.as_ref().unwrap();
        let mut spec = streaming.spec.clone();
        spec.revision = Some(revision.clone());
        let write = Write::Spec {
            node: name.clone(),
            resource_version: streaming.metadata.resource_version.clone(),
            spec,
        };
        plan.chains.push(Chain {
            about: Subject::Node(name.clone()),
            writes: vec![write],
        });
    }
}

/// Every wave begins with the first.
fn begins_all_waves(plan: &mut Plan, _: &Observed) {
    for write in plan.chains.iter_mut().flat_map(|chain| &mut chain.writes) {
        if let Write::Rollout { status, .. } = write {
            let started = status
                .waves
                .first()
                .and_then(|wave| wave.started_at.clone());
            for wave in status.waves.iter_mut().filter(|_| started.is_some()) {
                wave.phase = WavePhase::Progressing;
                wave.started_at.clone_from(&started);
            }
        }
    }
}

#[test]
fn a_plan_that_is_left_alone_passes() {
    two_waves().until(60, "complete", |world| world.is_in(Phase::Complete));
}

#[test]
#[should_panic(expected = "what nobody behind it can")]
fn a_feature_that_is_not_withdrawn() {
    let mut world = two_waves();
    world.until(60, "complete", |world| world.is_in(Phase::Complete));
    world.sabotage = withdraws_nothing;
    world.machines.get_mut("n0").unwrap().kill_agent();
    world.run(10);
}

#[test]
#[should_panic(expected = "are on their way, 1 may be")]
fn too_many_at_once() {
    let mut world = two_waves();
    // The fourth node's wave would be noticed as well.
    world.leave("n3");
    world.run(1);
    world.sabotage = begins_all;
    world.run(30);
}

#[test]
#[should_panic(expected = "before the waves before it were done")]
fn a_node_before_its_wave() {
    let mut world = two_waves();
    world.run(1);
    world.sabotage = |plan, observed| {
        begins_all(plan, observed);
        let late = |chain: &Chain| matches!(&chain.writes[0], Write::Spec { spec, .. } if spec.revision.is_some() && spec.wave.as_deref() == Some("first"));
        plan.chains.retain(|chain| !late(chain));
    };
    world.run(30);
}

#[test]
#[should_panic(expected = "began too early")]
fn a_wave_before_its_time() {
    let mut world = two_waves();
    world.sabotage = begins_all_waves;
    world.run(30);
}
