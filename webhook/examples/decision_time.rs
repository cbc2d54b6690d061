//! How long an answer takes in memory: `cargo run --release -p streamway-webhook --example decision_time`.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use streamway_crds::names::{AGENT_PORT, FEATURE};
use streamway_crds::{Feature, NodeStreaming, NodeStreamingSpec, Traffic, Way};
use streamway_webhook::Wish;
use streamway_webhook::node_status::answer;
use streamway_webhook::node_status::decide::Policy;

const ANSWERS: usize = 5000;

fn main() -> Result<(), Box<dyn Error>> {
    let policy = Policy {
        agent_port: AGENT_PORT,
        features: true,
    };
    for (what, feature, way) in [
        ("nothing wished", Feature::Kubelet, None),
        ("feature withdrawn", Feature::Withdrawn, None),
        (
            "feature withdrawn, port moved",
            Feature::Withdrawn,
            Some(Way::Port),
        ),
    ] {
        let spec = NodeStreamingSpec {
            traffic: way.map_or(Traffic::Kubelet, |_| Traffic::Agent),
            feature,
            way: way.unwrap_or_default(),
            ..NodeStreamingSpec::default()
        };
        let wish = Arc::new(NodeStreaming::new("worker", spec));
        let body = review().to_string();
        let mut times = Vec::with_capacity(ANSWERS);
        for _ in 0..ANSWERS {
            let begun = Instant::now();
            let answer = answer(body.as_bytes(), |_| Wish::Known(Arc::clone(&wish)), policy);
            times.push(begun.elapsed());
            std::hint::black_box(answer.map_err(|refusal| refusal.message)?);
        }
        times.sort_unstable();
        let at = |part: usize| {
            times
                .get(ANSWERS * part / 1000)
                .copied()
                .unwrap_or_default()
        };
        println!(
            "{what}: {} bytes asked, p50 {}, p99 {}, p99.9 {}",
            body.len(),
            micros(at(500)),
            micros(at(990)),
            micros(at(999)),
        );
    }
    Ok(())
}

/// What an API server asks of a node that holds 50 images, as many as kubelets tell.
fn review() -> Value {
    let images: Vec<Value> = (0..50)
        .map(|index| {
            let name = format!("registry.example/team/application-{index}");
            let digest = format!("{name}@sha256:{}", "0123456789abcdef".repeat(4));
            json!({"names": [digest, format!("{name}:v1.2.{index}")], "sizeBytes": 123_456_789})
        })
        .collect();
    let node = |features: Value, port: u16| {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker"},
            "status": {
                "images": images, "declaredFeatures": features,
                "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
                "nodeInfo": {"kubeletVersion": "v1.36.3"},
            },
        })
    };
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "name": "worker", "operation": "UPDATE",
            "resource": {"group": "", "version": "v1", "resource": "nodes"}, "subResource": "status",
            "object": node(json!(["A", FEATURE]), 10250),
            "oldObject": node(json!(["A"]), AGENT_PORT),
        },
    })
}

fn micros(time: Duration) -> String {
    format!("{} µs", time.as_micros())
}
