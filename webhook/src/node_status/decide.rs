//! What is made of an update of a Node's status. Pure.
//!
//! The controller switches; the webhook keeps others from undoing that:
//!
//! | wish | an update that | becomes one that |
//! |---|---|---|
//! | feature Withdrawn | says the feature | does not |
//! | feature Declared, kubelet 1.35 or later | takes the feature away | does not |
//! | traffic Agent, way Port | changes the port from the agent's | does not |
//!
//! The last two look at the Node before the update, because they are what could do harm: a replica
//! that missed a change of the wish must not declare a feature, or move a port, that the controller
//! took back. Withdrawn can do none: the API server translates again. Kubelets before 1.35 do not
//! know the list and leave it alone, so a withdrawal by hand holds against this webhook, too.

use serde::Serialize;
use serde_json::{Value, json};
use streamway_crds::names::FEATURE;
use streamway_crds::{Feature, NodeStreamingSpec, Traffic, Way};

use super::node::Node;

/// The first kubelets that write `declaredFeatures` themselves
/// (`pkg/kubelet/kubelet_node_status.go`).
const DECLARES: (u32, u32) = (1, 35);

/// What this webhook may change, by its flags.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// `--agent-port`.
    pub agent_port: u16,
    /// Whether what Nodes declare is looked at: gate `ExtendWebSocketsToKubelet`.
    pub features: bool,
}

/// A change of an update, and its JSON patch (RFC 6902).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patch {
    /// What is changed; never empty in a patch that [`decide`] gives.
    pub changes: Vec<Change>,
    /// How.
    pub operations: Vec<Operation>,
}

/// One thing that a patch changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The feature stays declared.
    AddFeature,
    /// The feature stays withdrawn.
    RemoveFeature,
    /// The port stays the agent's.
    SetPort,
}

impl Change {
    /// For metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AddFeature => "add_feature",
            Self::RemoveFeature => "remove_feature",
            Self::SetPort => "set_port",
        }
    }
}

/// One operation of a JSON patch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation {
    /// Sets a member, whether it exists or not.
    Add {
        /// Where.
        path: &'static str,
        /// To what.
        value: Value,
    },
    /// Removes a member that exists.
    Remove {
        /// Which.
        path: &'static str,
    },
}

/// What has to be changed in the update from `old` to `new` of a Node's status; `None` where the
/// update stays as it is.
pub fn decide(wish: &NodeStreamingSpec, old: &Node, new: &Node, policy: Policy) -> Option<Patch> {
    let mut patch = Patch::default();
    if policy.features {
        keep_feature(wish.feature, old, new, &mut patch);
    }
    if (wish.traffic, wish.way) == (Traffic::Agent, Way::Port) {
        keep_port(policy.agent_port, old, new, &mut patch);
    }
    (!patch.changes.is_empty()).then_some(patch)
}

fn keep_feature(wanted: Feature, old: &Node, new: &Node, patch: &mut Patch) {
    let declares = |node: &Node| node.declared().iter().any(|feature| feature == FEATURE);
    match wanted {
        Feature::Withdrawn if declares(new) => {
            let others = new.declared().iter().filter(|feature| *feature != FEATURE);
            patch.features(others.map(String::as_str).collect());
            patch.changes.push(Change::RemoveFeature);
        }
        Feature::Declared if declares(old) && !declares(new) && writes_the_list(new) => {
            let mut list: Vec<&str> = new.declared().iter().map(String::as_str).collect();
            list.push(FEATURE);
            patch.parents_of_status(new);
            patch.features(list);
            patch.changes.push(Change::AddFeature);
        }
        Feature::Kubelet | Feature::Declared | Feature::Withdrawn => {}
    }
}

fn writes_the_list(node: &Node) -> bool {
    node.kubelet_version()
        .is_some_and(|version| version >= DECLARES)
}

fn keep_port(agent_port: u16, old: &Node, new: &Node, patch: &mut Patch) {
    let wanted = i32::from(agent_port);
    if old.port() != wanted || new.port() == wanted {
        return;
    }
    patch.parents_of_status(new);
    let endpoints = new
        .status
        .as_ref()
        .and_then(|status| status.daemon_endpoints.as_ref());
    let missing = Operation::add;
    if endpoints.is_none() {
        patch
            .operations
            .push(missing("/status/daemonEndpoints", json!({})));
    }
    if endpoints.is_none_or(|endpoints| endpoints.kubelet_endpoint.is_none()) {
        let path = "/status/daemonEndpoints/kubeletEndpoint";
        patch.operations.push(missing(path, json!({})));
    }
    let path = "/status/daemonEndpoints/kubeletEndpoint/Port";
    patch.operations.push(Operation::add(path, json!(wanted)));
    patch.changes.push(Change::SetPort);
}

impl Patch {
    /// No API server sends a Node without a status; one that did would get no patch that fails.
    fn parents_of_status(&mut self, new: &Node) {
        if new.status.is_none() && self.operations.is_empty() {
            self.operations.push(Operation::add("/status", json!({})));
        }
    }

    /// Sets the list as the API server wants it: sorted, each once, absent rather than empty
    /// (`pkg/apis/core/validation` `validateDeclaredFeatures`).
    fn features(&mut self, mut list: Vec<&str>) {
        list.sort_unstable();
        list.dedup();
        let path = "/status/declaredFeatures";
        self.operations.push(if list.is_empty() {
            Operation::Remove { path }
        } else {
            Operation::add(path, json!(list))
        });
    }
}

impl Operation {
    fn add(path: &'static str, value: Value) -> Self {
        Self::Add { path, value }
    }
}

#[cfg(test)]
mod tests;
