//! The API server's objects, and what a write does to them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::api::ObjectMeta;
use serde_json::{from_value, json};
use streamway_crds::{
    AgentStatus, NodeStreaming, NodeStreamingSpec, NodeStreamingStatus, RolloutAction,
    RolloutActionSpec, StreamingRollout, Verb, names,
};

use super::machine::Machine;
use crate::plan::{Event, Write};

/// Ports as they stand in Nodes.
pub(in crate::plan) const AGENT_PORT: u16 = 10350;
pub(in crate::plan) const KUBELET_PORT: u16 = 10250;

/// Every object, and what was told about them.
#[derive(Debug, Clone, Default)]
pub(in crate::plan) struct Api {
    pub(in crate::plan) nodes: BTreeMap<String, Node>,
    pub(in crate::plan) streamings: BTreeMap<String, NodeStreaming>,
    pub(in crate::plan) rollouts: BTreeMap<String, StreamingRollout>,
    pub(in crate::plan) actions: BTreeMap<String, RolloutAction>,
    pub(in crate::plan) events: Vec<(String, Event)>,
    version: u64,
}

/// Why a write was refused.
#[derive(Debug)]
pub(super) struct Refused;

impl Api {
    /// Changes with every change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// An object is gone.
    pub(super) fn removed(&mut self) {
        self.version += 1;
    }

    fn bump(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    pub(super) fn join(&mut self, name: &str, uid: &str, version: &str) {
        let node = from_value(json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "uid": uid, "resourceVersion": self.bump(), "labels": {"name": name}},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "nodeInfo": {
                    "kubeletVersion": version, "architecture": "", "bootID": "", "containerRuntimeVersion": "",
                    "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "",
                    "osImage": "", "systemUUID": "",
                },
                "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
            },
        }));
        self.nodes.insert(name.to_owned(), node.unwrap());
    }

    pub(super) fn apply_rollout(&mut self, mut rollout: StreamingRollout, now: Timestamp) {
        let name = rollout.metadata.name.clone().unwrap();
        let version = self.bump();
        rollout.metadata.resource_version = Some(version.clone());
        match self.rollouts.get(&name) {
            Some(before) => {
                rollout.metadata.uid = before.metadata.uid.clone();
                rollout.metadata.creation_timestamp = before.metadata.creation_timestamp.clone();
                rollout.metadata.generation = before.metadata.generation.map(|one| one + 1);
                rollout.status = before.status.clone();
            }
            None => {
                rollout.metadata.uid = Some(format!("rollout-{version}"));
                rollout.metadata.creation_timestamp = Some(Time(now));
                rollout.metadata.generation = Some(1);
            }
        }
        self.rollouts.insert(name, rollout);
    }

    pub(super) fn act(&mut self, rollout: &str, verb: Verb, now: Timestamp) -> String {
        let version = self.bump();
        let name = format!("action-{version:0>6}");
        let mut action = RolloutAction::new(
            &name,
            RolloutActionSpec {
                rollout: rollout.to_owned(),
                verb,
                reason: Some("a test".to_owned()),
                by: Some("tester".to_owned()),
            },
        );
        action.metadata.uid = Some(format!("uid-{version}"));
        action.metadata.creation_timestamp = Some(Time(now));
        self.actions.insert(name.clone(), action);
        name
    }

    /// Does what a write asks, as the API server would.
    pub(super) fn write(&mut self, write: &Write) -> Result<(), Refused> {
        let version = self.bump();
        match write {
            Write::Create { node, uid } => self.create(node, uid, version),
            Write::Delete { node, uid } => {
                let same = |one: &NodeStreaming| one.metadata.uid.as_ref() == Some(uid);
                if self.streamings.get(node).is_some_and(same) {
                    self.streamings.remove(node);
                }
                Ok(())
            }
            Write::Spec {
                node,
                resource_version,
                spec,
            } => {
                let streaming = self.streamings.get_mut(node).ok_or(Refused)?;
                if streaming.metadata.resource_version != *resource_version {
                    return Err(Refused);
                }
                if streaming.spec != *spec {
                    streaming.spec = spec.clone();
                    streaming.metadata.generation =
                        streaming.metadata.generation.map(|one| one + 1);
                }
                streaming.metadata.resource_version = Some(version);
                Ok(())
            }
            Write::Node { node, patch } => {
                let node = self.nodes.get_mut(node).ok_or(Refused)?;
                node.metadata.resource_version = Some(version);
                if let Some(declared) = patch.declared {
                    declare(node, declared);
                }
                if let Some(port) = patch.port {
                    set_port(node, port);
                }
                Ok(())
            }
            Write::Status {
                node,
                status,
                events,
            } => {
                let streaming = self.streamings.get_mut(node).ok_or(Refused)?;
                let agent = streaming.status.take().and_then(|status| status.agent);
                streaming.status = Some(NodeStreamingStatus {
                    agent,
                    ..(**status).clone()
                });
                streaming.metadata.resource_version = Some(version);
                self.tell(node, events);
                Ok(())
            }
            Write::Rollout {
                rollout: name,
                resource_version,
                status,
                events,
            } => {
                let rollout = self.rollouts.get_mut(name).ok_or(Refused)?;
                if rollout.metadata.resource_version != *resource_version {
                    return Err(Refused);
                }
                rollout.status = Some((**status).clone());
                rollout.metadata.resource_version = Some(version);
                self.tell(name, events);
                Ok(())
            }
            Write::Answer { action, status } => {
                let action = self.actions.get_mut(action).ok_or(Refused)?;
                action.status = Some(status.clone());
                action.metadata.resource_version = Some(version);
                Ok(())
            }
        }
    }

    fn create(&mut self, node: &str, uid: &str, version: String) -> Result<(), Refused> {
        let of = self.nodes.get(node).ok_or(Refused)?;
        if of.metadata.uid.as_deref() != Some(uid) || self.streamings.contains_key(node) {
            return Err(Refused);
        }
        let mut streaming = NodeStreaming::new(node, NodeStreamingSpec::default());
        streaming.metadata = ObjectMeta {
            name: Some(node.to_owned()),
            uid: Some(format!("streaming-{version}")),
            generation: Some(1),
            resource_version: Some(version),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: node.to_owned(),
                uid: uid.to_owned(),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        };
        self.streamings.insert(node.to_owned(), streaming);
        Ok(())
    }

    fn tell(&mut self, about: &str, events: &[Event]) {
        let events = events.iter().cloned();
        self.events
            .extend(events.map(|event| (about.to_owned(), event)));
    }

    /// Somebody else's change of a Node.
    pub(super) fn change_node(&mut self, name: &str, change: impl FnOnce(&mut Node)) {
        let mut node = self.nodes[name].clone();
        change(&mut node);
        if node != self.nodes[name] {
            node.metadata.resource_version = Some(self.bump());
            self.nodes.insert(name.to_owned(), node);
        }
    }

    /// The agent's part of a status.
    pub(super) fn agent_reports(&mut self, name: &str, agent: &AgentStatus) {
        let Some(mut streaming) = self.streamings.remove(name) else {
            return;
        };
        let status = streaming.status.get_or_insert_default();
        if status.agent.as_ref() != Some(agent) {
            status.agent = Some(agent.clone());
            streaming.metadata.resource_version = Some(self.bump());
        }
        self.streamings.insert(name.to_owned(), streaming);
    }

    pub(super) fn story(&self, machines: &BTreeMap<String, Machine>) -> String {
        let mut story = String::new();
        for (name, rollout) in &self.rollouts {
            let status = rollout.status.clone().unwrap_or_default();
            story += &format!("rollout {name}: {:?} {:?}\n", status.phase, status.message);
            for wave in &status.waves {
                story += &format!("  {} {:?} {:?}\n", wave.name, wave.phase, wave.nodes);
            }
            story += &format!("  {:?}\n", status.analysis);
        }
        for (name, streaming) in &self.streamings {
            let spec = &streaming.spec;
            let status = streaming.status.clone().unwrap_or_default();
            story += &format!(
                "{name}: {:?} traffic {:?} feature {:?} way {:?} mode {:?} wave {:?} revision {:?}; declared {:?}, {:?}, generation {:?}/{:?}\n  {:?}\n  {:?}\n",
                status.state,
                spec.traffic,
                spec.feature,
                spec.way,
                spec.mode,
                spec.wave,
                spec.revision,
                self.nodes.get(name).map(declares),
                status.message,
                status.observed_generation,
                streaming.metadata.generation,
                status.agent,
                machines.get(name),
            );
        }
        story
    }
}

pub(in crate::plan) fn declares(node: &Node) -> bool {
    let status = node.status.as_ref().unwrap();
    let features = status.declared_features.iter().flatten();
    features
        .into_iter()
        .any(|feature| feature == names::FEATURE)
}

pub(super) fn declare(node: &mut Node, declared: bool) {
    let status = node.status.as_mut().unwrap();
    status.declared_features = declared.then(|| vec![names::FEATURE.to_owned()]);
}

pub(super) fn port(node: &Node) -> u16 {
    let endpoints = node
        .status
        .as_ref()
        .unwrap()
        .daemon_endpoints
        .as_ref()
        .unwrap();
    u16::try_from(endpoints.kubelet_endpoint.as_ref().unwrap().port).unwrap()
}

pub(super) fn set_port(node: &mut Node, port: u16) {
    let endpoints = node
        .status
        .as_mut()
        .unwrap()
        .daemon_endpoints
        .as_mut()
        .unwrap();
    endpoints.kubelet_endpoint.as_mut().unwrap().port = port.into();
}

pub(super) fn set_ready(node: &mut Node, ready: bool) {
    for condition in node
        .status
        .as_mut()
        .unwrap()
        .conditions
        .iter_mut()
        .flatten()
    {
        condition.status = if ready { "True" } else { "False" }.to_owned();
    }
}
