//! The patch of a Node's status. Pure.

use k8s_openapi::api::core::v1::Node;
use serde_json::{Map, Value, json};
use streamway_crds::names;

use crate::plan::NodePatch;

/// The merge patch that makes of `node` what `wanted` says; none where it is so already. A Node that
/// somebody else wrote meanwhile refuses it, since the whole list is replaced.
pub(super) fn patch(node: &Node, wanted: NodePatch) -> Option<Value> {
    let mut status = Map::new();
    if let Some(declared) = wanted.declared.filter(|wanted| *wanted != declares(node)) {
        let others = features(node).iter().filter(|name| *name != names::FEATURE);
        let mut all: Vec<&str> = others.map(String::as_str).collect();
        if declared {
            all.push(names::FEATURE);
        }
        // The API server takes sorted lists only.
        all.sort_unstable();
        all.dedup();
        // An empty list is stored as none.
        let all = if all.is_empty() {
            Value::Null
        } else {
            json!(all)
        };
        status.insert("declaredFeatures".to_owned(), all);
    }
    if let Some(port) = wanted.port.filter(|wanted| Some(*wanted) != port(node)) {
        let endpoint = json!({"kubeletEndpoint": {"Port": port}});
        status.insert("daemonEndpoints".to_owned(), endpoint);
    }
    (!status.is_empty()).then(|| {
        json!({
            "metadata": {"resourceVersion": node.metadata.resource_version},
            "status": status,
        })
    })
}

fn features(node: &Node) -> &[String] {
    let status = node.status.as_ref();
    let features = status.and_then(|status| status.declared_features.as_deref());
    features.unwrap_or_default()
}

fn declares(node: &Node) -> bool {
    features(node).iter().any(|name| name == names::FEATURE)
}

fn port(node: &Node) -> Option<u16> {
    let endpoints = node.status.as_ref()?.daemon_endpoints.as_ref()?;
    let endpoint = endpoints.kubelet_endpoint.as_ref()?;
    u16::try_from(endpoint.port).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(features: &[&str]) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "one", "resourceVersion": "7"},
            "status": {
                "declaredFeatures": features,
                "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            },
        }))
        .unwrap()
    }

    #[test]
    fn others_features_stay_and_the_list_is_sorted() {
        let ours = names::FEATURE;
        for (before, declared, after) in [
            (&["Z", "A"][..], true, json!(["A", ours, "Z"])),
            (&[], true, json!([ours])),
            (&["A", ours, "Z"], false, json!(["A", "Z"])),
            (&[ours], false, Value::Null),
        ] {
            let wanted = NodePatch {
                declared: Some(declared),
                port: None,
            };
            let patch = patch(&node(before), wanted).unwrap();
            assert_eq!(patch["status"], json!({"declaredFeatures": after}));
            assert_eq!(patch["metadata"]["resourceVersion"], "7");
        }
    }

    #[test]
    fn only_what_changes_is_written() {
        let wanted = |declared, port| NodePatch { declared, port };
        let one = node(&["A"]);
        for nothing in [
            wanted(None, None),
            wanted(Some(false), Some(10250)),
            wanted(None, Some(10250)),
        ] {
            assert_eq!(patch(&one, nothing), None, "{nothing:?}");
        }
        let port = patch(&one, wanted(Some(false), Some(10350))).unwrap();
        let endpoints = json!({"daemonEndpoints": {"kubeletEndpoint": {"Port": 10350}}});
        assert_eq!(port["status"], endpoints);
        // A Node that has no status yet gets what is wanted.
        assert!(patch(&Node::default(), wanted(Some(true), None)).is_some());
    }
}
