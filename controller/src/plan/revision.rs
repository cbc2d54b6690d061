//! A rollout's revision: a hash of what its spec says of nodes and waves.
//!
//! What is not in it may change while the rollout runs, and acts at once: pauses, windows, analysis,
//! how many nodes may be unavailable. What is in it means that nodes are brought over anew.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;
use sha2::{Digest, Sha256};
use streamway_crds::{Adopt, Mode, StreamingRollout, Wave, WaveNodes, Way};

#[derive(Serialize)]
struct Relevant<'a> {
    /// A rollout that is deleted and made again begins again.
    uid: &'a str,
    node_selector: &'a Option<LabelSelector>,
    mode: Mode,
    way: Way,
    adopt: Adopt,
    waves: Vec<(&'a str, &'a WaveNodes)>,
}

/// Ten hexadecimal digits.
pub(super) fn revision(rollout: &StreamingRollout) -> String {
    let spec = &rollout.spec;
    let relevant = Relevant {
        uid: rollout.metadata.uid.as_deref().unwrap_or_default(),
        node_selector: &spec.node_selector,
        mode: spec.mode,
        way: spec.way,
        adopt: spec.adopt,
        waves: spec.waves.iter().map(named).collect(),
    };
    // Maps in it are sorted, and none of its types can fail to be written.
    let json = serde_json::to_vec(&relevant).unwrap_or_default();
    hash(&[&json])
        .iter()
        .take(5)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Of parts, told apart.
pub(super) fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn named(wave: &Wave) -> (&str, &WaveNodes) {
    (&wave.name, &wave.nodes)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: Value) -> String {
        let rollout: StreamingRollout = serde_json::from_value(json!({
            "apiVersion": "streamway.dev/v1alpha1",
            "kind": "StreamingRollout",
            "metadata": {"name": "all", "uid": "1"},
            "spec": spec,
        }))
        .unwrap();
        revision(&rollout)
    }

    #[test]
    fn only_what_changes_nodes_counts() {
        let wave = json!({"name": "all", "nodes": {"percent": 100}});
        let base = of(json!({"waves": [wave]}));
        assert_eq!(base.len(), 10);
        for same in [
            json!({"waves": [wave], "paused": true}),
            json!({"waves": [wave], "progressDeadline": "1h"}),
            json!({"waves": [{"name": "all", "nodes": {"percent": 100}, "bake": "1h", "maxUnavailable": 3}]}),
        ] {
            assert_eq!(of(same.clone()), base, "{same}");
        }
        for other in [
            json!({"waves": [wave], "mode": "Native"}),
            json!({"waves": [wave], "way": "Port"}),
            json!({"waves": [wave], "adopt": "Reset"}),
            json!({"waves": [wave], "nodeSelector": {"matchLabels": {"zone": "a"}}}),
            json!({"waves": [{"name": "one", "nodes": {"percent": 100}}]}),
            json!({"waves": [{"name": "one", "nodes": {"count": 1}}, wave]}),
        ] {
            assert_ne!(of(other.clone()), base, "{other}");
        }
    }
}
