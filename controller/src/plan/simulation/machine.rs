//! A node's machine: its kubelet and its agent.

use jiff::{SignedDuration, Timestamp};
use streamway_crds::{AgentStatus, Feature, NodeStreamingSpec, Traffic, Way};

use super::World;
use super::api::{self, AGENT_PORT, KUBELET_PORT};
use crate::plan::version::{SPEAKS_FOR_ITSELF, Version};

/// A kubelet writes its status so often.
const KUBELET_PERIOD: SignedDuration = SignedDuration::from_secs(10);

/// An agent that hangs lets go of its table after that.
const WATCHDOG: SignedDuration = SignedDuration::from_secs(2);

/// What runs on a node.
#[derive(Debug, Clone)]
pub(in crate::plan) struct Machine {
    pub(in crate::plan) version: String,
    /// The kubelet's feature gate, where its version has one.
    pub(in crate::plan) gate: bool,
    reports_at: Timestamp,
    pub(in crate::plan) agent: Agent,
    /// WebSockets do not work, wherever they go.
    pub(in crate::plan) broken: bool,
    pub(in crate::plan) down: bool,
}

/// An agent.
#[derive(Debug, Clone)]
pub(in crate::plan) struct Agent {
    /// Its pod; none where there is none.
    pub(in crate::plan) pod: Option<String>,
    pub(in crate::plan) alive: bool,
    pub(in crate::plan) hangs_since: Option<Timestamp>,
    /// Whether it holds its table.
    pub(in crate::plan) table: bool,
    /// The spec that it has seen, and when it acts on it.
    wish: Option<(Timestamp, NodeStreamingSpec)>,
}

impl Machine {
    pub(super) fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            gate: true,
            reports_at: Timestamp::MIN,
            agent: Agent {
                pod: Some("agent".to_owned()),
                alive: true,
                hangs_since: None,
                table: false,
                wish: None,
            },
            broken: false,
            down: false,
        }
    }

    /// Whether the kubelet declares the feature itself.
    pub(in crate::plan) fn takes_websockets(&self) -> bool {
        Version::parse(&self.version).unwrap() >= SPEAKS_FOR_ITSELF && self.gate
    }

    fn speaks_for_itself(&self) -> bool {
        Version::parse(&self.version).unwrap() >= SPEAKS_FOR_ITSELF
    }

    pub(in crate::plan) fn serves(&self) -> bool {
        self.agent.alive && self.agent.hangs_since.is_none() && !self.down
    }

    /// Whether what comes for the kubelet comes to an agent that serves.
    pub(super) fn is_at_agent(&self, node: &k8s_openapi::api::core::v1::Node) -> bool {
        self.serves() && (self.agent.table || api::port(node) == AGENT_PORT)
    }

    /// Whether a WebSocket would meet a kubelet that does not speak it.
    pub(super) fn misleads(&self, node: &k8s_openapi::api::core::v1::Node) -> bool {
        api::declares(node) && !self.takes_websockets() && !self.is_at_agent(node)
    }

    pub(in crate::plan) fn kill_agent(&mut self) {
        self.agent.alive = false;
        self.agent.table = false;
        self.agent.hangs_since = None;
    }

    /// The container starts again, or another pod does.
    pub(in crate::plan) fn start_agent(&mut self, pod: &str) {
        self.agent.alive = true;
        self.agent.table = false;
        self.agent.hangs_since = None;
        self.agent.wish = None;
        self.agent.pod = Some(pod.to_owned());
    }
}

impl World {
    pub(super) fn run_machines(&mut self) {
        let names: Vec<_> = self.machines.keys().cloned().collect();
        for name in names {
            let now = self.now;
            let machine = self.machines.get_mut(&name).unwrap();
            if now >= machine.reports_at && !machine.down {
                machine.reports_at = now + KUBELET_PERIOD;
                self.report(&name);
            }
            self.run_agent(&name);
        }
    }

    /// The kubelet writes the Node's status, through the webhook if there is one.
    pub(in crate::plan) fn report(&mut self, name: &str) {
        let machine = &self.machines[name];
        let spec = self.api.streamings.get(name).map(|one| one.spec.clone());
        let spec = spec.filter(|_| self.webhook_is_up).unwrap_or_default();
        let (speaks, takes) = (machine.speaks_for_itself(), machine.takes_websockets());
        let (version, down) = (machine.version.clone(), machine.down);
        self.api.change_node(name, |node| {
            if speaks {
                api::declare(node, takes);
            }
            match spec.feature {
                Feature::Withdrawn => api::declare(node, false),
                Feature::Declared if speaks => api::declare(node, true),
                Feature::Declared | Feature::Kubelet => {}
            }
            let moved = spec.traffic == Traffic::Agent && spec.way == Way::Port;
            api::set_port(node, if moved { AGENT_PORT } else { KUBELET_PORT });
            api::set_ready(node, !down);
            let info = node.status.as_mut().unwrap().node_info.as_mut().unwrap();
            info.kubelet_version = version;
        });
    }

    /// A kubelet of another version.
    pub(in crate::plan) fn upgrade(&mut self, name: &str, version: &str) {
        self.machines.get_mut(name).unwrap().version = version.to_owned();
        self.report(name);
    }

    /// The whole machine goes down or comes back; the node controller notices.
    pub(in crate::plan) fn set_down(&mut self, name: &str, down: bool) {
        let machine = self.machines.get_mut(name).unwrap();
        machine.down = down;
        if down {
            machine.kill_agent();
        } else {
            machine.start_agent("agent");
        }
        self.api
            .change_node(name, |node| api::set_ready(node, !down));
    }

    fn run_agent(&mut self, name: &str) {
        let (now, lag) = (self.now, self.weather.lag);
        let delay = self.random.up_to(lag);
        let machine = self.machines.get_mut(name).unwrap();
        let agent = &mut machine.agent;
        if agent
            .hangs_since
            .is_some_and(|since| now >= since + WATCHDOG)
        {
            agent.table = false;
        }
        let Some(pod) = agent.pod.clone() else {
            return;
        };
        if !agent.alive || agent.hangs_since.is_some() || machine.down {
            return;
        }
        let Some(streaming) = self.api.streamings.get(name) else {
            return;
        };
        match &agent.wish {
            Some((at, spec)) if *spec == streaming.spec => {
                if now >= *at {
                    agent.table = spec.traffic == Traffic::Agent && spec.way == Way::Redirect;
                }
            }
            _ => agent.wish = Some((now + delay, streaming.spec.clone())),
        }
        let traffic = if agent.table {
            Traffic::Agent
        } else {
            Traffic::Kubelet
        };
        let report = AgentStatus {
            traffic: Some(traffic),
            ready: Some(true),
            pod_name: Some(pod),
            ..AgentStatus::default()
        };
        self.api.agent_reports(name, &report);
    }
}
