//! What a plan makes of things, by topic, in the simulated cluster in fair weather: what is written is
//! there with the next tick.

mod adopt;
mod failing;
mod faults;
mod holds;
mod members;
mod speed;
mod switching;
mod verbs;
mod waves;

use serde_json::{Value, json};

/// A rollout of one wave, proved and not watched.
fn at_once() -> Value {
    waves(
        json!([{"name": "all", "nodes": {"percent": 100}, "bake": "0s", "maxUnavailable": "100%"}]),
    )
}

/// Waves, quick analysis.
fn waves(waves: Value) -> Value {
    json!({"waves": waves, "analysis": {"minSamples": 1, "interval": "5s"}})
}

/// The same with more fields.
fn with(mut spec: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}
