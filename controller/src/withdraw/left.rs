//! What of ours a Node has. Pure.

use k8s_openapi::api::core::v1::Node;
use serde_json::{Map, Value, json};
use streamway_crds::names;

/// The ports that Nodes name.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    /// The agents'.
    pub(crate) agent: u16,
    /// The kubelets'.
    pub(crate) kubelet: u16,
}

/// What is to be taken from a Node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// What it may go on to declare, where it declares our feature and its kubelet does not.
    pub(crate) declares: Option<Vec<String>>,
    /// The kubelet's port, where it names the agent's.
    pub(crate) port: Option<u16>,
}

impl Left {
    /// Whether there is nothing.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// The merge patch of the Node's status. A Node that somebody else wrote meanwhile refuses it,
    /// since the whole list is replaced.
    pub(crate) fn patch(&self, node: &Node) -> Value {
        let mut status = Map::new();
        if let Some(rest) = &self.declares {
            // An empty list is stored as none.
            let rest = if rest.is_empty() {
                Value::Null
            } else {
                json!(rest)
            };
            status.insert("declaredFeatures".to_owned(), rest);
        }
        if let Some(port) = self.port {
            let endpoint = json!({"kubeletEndpoint": {"Port": port}});
            status.insert("daemonEndpoints".to_owned(), endpoint);
        }
        json!({
            "metadata": {"resourceVersion": node.metadata.resource_version},
            "status": status,
        })
    }
}

/// What `node` has of ours. A kubelet of 1.36 and later says itself what it can, every ten seconds;
/// an older one never takes away what was declared for it.
pub(crate) fn left_behind(node: &Node, ports: Ports) -> Left {
    let Some(status) = &node.status else {
        return Left::default();
    };
    let kubelet = status
        .node_info
        .as_ref()
        .map_or("", |info| &info.kubelet_version);
    let declared = status.declared_features.as_deref().unwrap_or_default();
    let is_ours = |feature: &String| feature == names::FEATURE;
    let cannot = minor(kubelet).is_none_or(|minor| minor < 36);
    let endpoint = status.daemon_endpoints.as_ref();
    let endpoint = endpoint.and_then(|all| all.kubelet_endpoint.as_ref());
    Left {
        declares: (cannot && declared.iter().any(is_ours)).then(|| {
            declared
                .iter()
                .filter(|feature| !is_ours(feature))
                .cloned()
                .collect()
        }),
        port: endpoint
            .filter(|endpoint| endpoint.port == i32::from(ports.agent))
            .map(|_| ports.kubelet),
    }
}

/// The minor version of `v1.34.4`; none of what is written otherwise, or of another major.
fn minor(version: &str) -> Option<u32> {
    let mut parts = version.strip_prefix('v')?.split('.');
    let major = parts.next()?;
    let minor = parts.next()?.parse().ok()?;
    (major == "1").then_some(minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Ports = Ports {
        agent: 10350,
        kubelet: 10250,
    };

    fn node(version: &str, declared: &[&str], port: u16) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "one", "resourceVersion": "7"},
            "status": {
                "nodeInfo": {
                    "kubeletVersion": version, "architecture": "", "bootID": "",
                    "containerRuntimeVersion": "", "kernelVersion": "", "kubeProxyVersion": "",
                    "machineID": "", "operatingSystem": "", "osImage": "", "systemUUID": "",
                },
                "declaredFeatures": declared,
                "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            },
        }))
        .unwrap()
    }

    #[test]
    fn what_is_ours_and_what_is_not() {
        let feature = names::FEATURE;
        for (version, declared, port, rest, back) in [
            ("v1.34.4", &[feature][..], 10250, Some(&[][..]), None),
            (
                "v1.35.0",
                &["A", feature, "Z"],
                10250,
                Some(&["A", "Z"]),
                None,
            ),
            ("v1.35.9-eks-1", &["A"], 10250, None, None),
            ("v1.36.3", &[feature], 10250, None, None),
            ("v1.37.0+k3s1", &[feature], 10350, None, Some(10250)),
            ("v1.34.4", &[feature], 10350, Some(&[]), Some(10250)),
            ("v1.34.4", &[], 10255, None, None),
            // What cannot be read is taken for old: a kubelet that can says so again.
            ("", &[feature], 10250, Some(&[]), None),
        ] {
            let rest = rest.map(|rest| rest.iter().map(|&own| own.to_owned()).collect());
            let left = Left {
                declares: rest,
                port: back,
            };
            assert_eq!(
                left_behind(&node(version, declared, port), PORTS),
                left,
                "{version}"
            );
        }
        assert!(left_behind(&Node::default(), PORTS).is_nothing());
    }

    #[test]
    fn the_patch_names_what_it_saw() {
        let node = node("v1.34.4", &[names::FEATURE], 10350);
        assert_eq!(
            left_behind(&node, PORTS).patch(&node),
            json!({
                "metadata": {"resourceVersion": "7"},
                "status": {
                    "declaredFeatures": null,
                    "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
                },
            })
        );
    }
}
