//! One reading of everything, for a plan.

use std::collections::{BTreeMap, HashMap};

use streamway_crds::names;

use super::Control;
use crate::apply::Queue;
use crate::plan::{AgentPod, Chain, Observed, ObservedNode, Subject};
use crate::withdraw::Ports;

impl Control {
    /// What is seen now, while `queue` is being written.
    pub(super) fn observe(&self, queue: &Queue<Subject, Chain>) -> Observed {
        let mut pods = self.agents_pods();
        let streamings = self.caches.streamings.all().into_iter();
        let mut streamings: HashMap<String, _> = streamings
            .filter_map(|one| Some((one.metadata.name.clone()?, one)))
            .collect();
        let nodes = self.caches.nodes.all().into_iter().filter_map(|node| {
            let name = node.metadata.name.clone()?;
            let observed = ObservedNode {
                streaming: streamings.remove(&name),
                heartbeat: self.beats.of(&name),
                pods: pods.remove(&name).unwrap_or_default(),
                probes: self.probing.of(&name),
                writing: queue.is_under_way(&Subject::Node(name.clone())),
                node,
            };
            Some((name, observed))
        });
        let nodes: BTreeMap<_, _> = nodes.collect();
        Observed {
            api_server: self.server.oldest(),
            obstacle: self.server.obstacle(),
            ports: Ports {
                agent: self.args.installation.agent_port,
                kubelet: names::KUBELET_PORT,
            },
            nodes,
            rollouts: self.caches.rollouts.all(),
            actions: self.caches.actions.all(),
            measured: self.measures.measured(),
        }
    }

    /// Agents' pods by node.
    fn agents_pods(&self) -> HashMap<String, Vec<AgentPod>> {
        let mut pods: HashMap<String, Vec<AgentPod>> = HashMap::new();
        for pod in self.caches.pods.all() {
            let Some(spec) = &pod.spec else { continue };
            let account = spec.service_account_name.as_deref();
            if account != Some(&self.args.agent_service_account) {
                continue;
            }
            if let Some(node) = &spec.node_name {
                pods.entry(node.clone())
                    .or_default()
                    .push(AgentPod::of(&pod));
            }
        }
        pods
    }
}
