//! How long a plan takes: `cargo test -p streamway-controller speed -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::Instant;

use streamway_crds::Phase;

use super::at_once;
use crate::plan::simulation::World;
use crate::plan::{Observed, plan};

/// The same cluster with each node so many times.
fn times(mut observed: Observed, copies: usize) -> Observed {
    for (name, seen) in std::mem::take(&mut observed.nodes) {
        for copy in 0..copies {
            let mut copied = seen.clone();
            let uid = format!("{name}-{copy}");
            let mut node = (*copied.node).clone();
            node.metadata.uid = Some(uid.clone());
            copied.node = Arc::new(node);
            if let Some(streaming) = &mut copied.streaming {
                let mut own = (**streaming).clone();
                for owner in own.metadata.owner_references.iter_mut().flatten() {
                    owner.uid.clone_from(&uid);
                }
                *streaming = Arc::new(own);
            }
            observed.nodes.insert(uid, copied);
        }
    }
    observed
}

#[test]
#[ignore = "it prints, and judges nothing"]
fn speed() {
    let mut world = World::new(1, &["v1.34.4", "v1.36.3", "v1.34.4", "v1.36.3", "v1.34.4"]);
    let mut readings = vec![("new", world.observed(), world.now)];
    world.run(2);
    world.rollout("all", at_once());
    readings.push(("to be placed", world.observed(), world.now));
    world.until(600, "complete", |world| world.is_in(Phase::Complete));
    readings.push(("over", world.observed(), world.now));
    world.delete_rollout("all");
    readings.push(("let go", world.observed(), world.now));
    for (what, observed, now) in readings {
        for copies in [250, 500, 1_000, 2_000] {
            let many = times(observed.clone(), copies);
            let begun = Instant::now();
            let plan = plan(&many, now);
            let took = begun.elapsed().as_secs_f64() * 1e3;
            let (nodes, chains) = (many.nodes.len(), plan.chains.len());
            println!("{what}: {nodes} nodes, {took:.1} ms, {chains} chains");
        }
    }
}
