//! The controller's other half: caches that lag, heartbeats, probes, counts, and writes that take time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use streamway_crds::{LastProbe, ProbeResult};

use super::World;
use super::api::{self, AGENT_PORT, Api, KUBELET_PORT};
use crate::agents::Heartbeat;
use crate::plan::{
    AgentPod, Counted, Measure, Measured, Observed, ObservedNode, Plan, Probed, Probes, Subject,
    Version, Write, plan,
};
use crate::scrape::Tally;
use crate::withdraw::Ports;

/// An agent is asked so often; one that hangs is waited for twice as long.
const BEAT: SignedDuration = SignedDuration::from_secs(1);

/// What one controller has in memory. It is lost with it.
#[derive(Debug)]
pub(in crate::plan) struct Controller {
    /// What its watches have told it.
    cache: Api,
    /// What they will tell it, and when.
    coming: Vec<(Timestamp, Api)>,
    told: u64,
    /// With when each agent is asked next, and whether one is waited for.
    beats: BTreeMap<String, (Heartbeat, Timestamp, bool)>,
    probes: BTreeMap<String, Probes>,
    probing: Vec<(Timestamp, String, i64)>,
    /// Tallies of nodes that left stay.
    measures: BTreeMap<String, (Measure, BTreeMap<String, Tally>)>,
    began: Timestamp,
    /// Chains that are being written: when the next write is done, and what is left.
    writing: Vec<(Timestamp, Subject, Vec<Write>)>,
    wake_at: Option<Timestamp>,
    /// Whether something was seen that the last plan did not know.
    changed: bool,
    /// Agents' pods, and whether they are ready.
    pods: BTreeMap<String, (Option<String>, bool)>,
    api_server: Option<Version>,
    pub(in crate::plan) plans: usize,
    pub(in crate::plan) last: Plan,
}

impl Controller {
    pub(super) fn new(api: &Api, now: Timestamp) -> Self {
        Self {
            cache: api.clone(),
            coming: Vec::new(),
            told: api.version(),
            beats: BTreeMap::new(),
            probes: BTreeMap::new(),
            probing: Vec::new(),
            measures: BTreeMap::new(),
            began: now,
            writing: Vec::new(),
            wake_at: Some(now),
            changed: true,
            pods: BTreeMap::new(),
            api_server: None,
            plans: 0,
            last: Plan::default(),
        }
    }

    /// The writes that were sent and not answered.
    pub(super) fn on_the_wire(self) -> Vec<(Timestamp, Write)> {
        let first = |(time, _, writes): (Timestamp, Subject, Vec<Write>)| {
            Some((time, writes.into_iter().next()?))
        };
        self.writing.into_iter().filter_map(first).collect()
    }

    pub(super) fn observe(
        &self,
        machines: &BTreeMap<String, super::Machine>,
        api_server: Option<Version>,
    ) -> Observed {
        let cache = &self.cache;
        let busy: BTreeSet<_> = self
            .writing
            .iter()
            .map(|(_, about, _)| about.clone())
            .collect();
        let node = |(name, node): (&String, &_)| {
            let machine = machines.get(name);
            let pods = machine.iter().filter_map(|machine| {
                Some(AgentPod {
                    name: machine.agent.pod.clone()?,
                    ready: machine.serves(),
                })
            });
            let observed = ObservedNode {
                node: Arc::new(Clone::clone(node)),
                streaming: cache.streamings.get(name).cloned().map(Arc::new),
                heartbeat: self.beats.get(name).map(|(beat, ..)| beat.clone()),
                pods: pods.collect(),
                probes: self.probes.get(name).cloned().unwrap_or_default(),
                writing: busy.contains(&Subject::Node(name.clone())),
            };
            (name.clone(), observed)
        };
        Observed {
            api_server,
            obstacle: None,
            ports: Ports {
                agent: AGENT_PORT,
                kubelet: KUBELET_PORT,
            },
            nodes: cache.nodes.iter().map(node).collect(),
            rollouts: cache.rollouts.values().cloned().map(Arc::new).collect(),
            actions: cache.actions.values().cloned().map(Arc::new).collect(),
            measured: self.measured(),
        }
    }

    fn measured(&self) -> BTreeMap<String, Measured> {
        let counted = |tally: &Tally| Counted {
            upgrades: Some(*tally),
            sessions: Some(*tally),
            probes: Some(*tally),
            ..Counted::default()
        };
        let one = |(name, (measure, tallies)): (&String, &(Measure, BTreeMap<String, Tally>))| {
            let (nodes, left): (Vec<_>, Vec<_>) = tallies
                .iter()
                .partition(|(node, _)| measure.nodes.contains(*node));
            let left = left.iter().map(|(_, tally)| counted(tally));
            let measured = Measured {
                since: measure.since,
                count: self.began.to_string(),
                left: left.fold(Counted::default(), Counted::plus),
                nodes: nodes
                    .into_iter()
                    .map(|(node, tally)| (node.clone(), counted(tally)))
                    .collect(),
                baseline: None,
            };
            (name.clone(), measured)
        };
        self.measures.iter().map(one).collect()
    }

    fn count(&mut self, node: &str, passed: bool) {
        for (measure, tallies) in self.measures.values_mut() {
            if measure.nodes.contains(node) {
                let tally = tallies.entry(node.to_owned()).or_default();
                *tally = tally.plus(Tally {
                    good: u64::from(passed),
                    total: 1,
                });
            }
        }
    }

    fn follow(&mut self, plan: &Plan, now: Timestamp) {
        self.beats.retain(|node, _| plan.follow.contains(node));
        for node in &plan.follow {
            self.beats.entry(node.clone()).or_insert_with(|| {
                let beat = Heartbeat {
                    since: now,
                    heard: None,
                    ready: Err("not asked yet".to_owned()),
                };
                (beat, now, false)
            });
        }
        self.measures.retain(|rollout, (measure, _)| {
            plan.measure
                .get(rollout)
                .is_some_and(|wanted| wanted.since == measure.since)
        });
        for (rollout, measure) in &plan.measure {
            let entry = self.measures.entry(rollout.clone());
            entry
                .or_insert_with(|| (measure.clone(), BTreeMap::new()))
                .0 = measure.clone();
        }
    }
}

impl World {
    pub(super) fn run_controller(&mut self) {
        let Some(mut controller) = self.controller.take() else {
            return;
        };
        self.watch(&mut controller);
        self.beat(&mut controller);
        self.probe(&mut controller);
        self.carry_out(&mut controller);
        let pods = self.machines.iter();
        let pods: BTreeMap<_, _> = pods
            .map(|(name, machine)| (name.clone(), (machine.agent.pod.clone(), machine.serves())))
            .collect();
        controller.changed |= controller.pods != pods || controller.api_server != self.api_server;
        controller.pods = pods;
        controller.api_server = self.api_server;
        let due = controller.wake_at.is_some_and(|time| time <= self.now);
        if due || std::mem::take(&mut controller.changed) {
            let observed = controller.observe(&self.machines, self.api_server);
            let mut plan = plan(&observed, self.now);
            (self.sabotage)(&mut plan, &observed);
            controller.plans += 1;
            controller.follow(&plan, self.now);
            controller.wake_at = plan.wake_at;
            for order in &plan.probes {
                let takes =
                    SignedDuration::from_millis(300) + self.random.up_to(self.weather.write);
                let order = (self.now + takes, order.node.clone(), order.generation);
                controller
                    .probes
                    .entry(order.1.clone())
                    .or_default()
                    .running = true;
                controller.probing.push(order);
            }
            for chain in &plan.chains {
                if controller
                    .writing
                    .iter()
                    .any(|(_, about, _)| *about == chain.about)
                {
                    continue;
                }
                let takes = self.random.up_to(self.weather.write);
                let writes = chain.writes.clone();
                controller
                    .writing
                    .push((self.now + takes, chain.about.clone(), writes));
            }
            controller.last = plan;
        }
        self.controller = Some(controller);
    }

    /// Watches tell late, each kind in its order; whole snapshots stand for them here.
    fn watch(&mut self, controller: &mut Controller) {
        let lag = self.random.up_to(self.weather.lag);
        let after = controller.coming.last().map(|(time, _)| *time);
        let at = (self.now + lag).max(after.unwrap_or(self.now));
        if controller.told != self.api.version() {
            controller.told = self.api.version();
            controller.coming.push((at, self.api.clone()));
        }
        let now = self.now;
        for (_, told) in controller.coming.extract_if(.., |(time, _)| *time <= now) {
            // What the controller wrote itself it knows already.
            controller.cache.catch_up(told);
            controller.changed = true;
        }
    }

    fn beat(&mut self, controller: &mut Controller) {
        for (name, (beat, next, asked)) in &mut controller.beats {
            if self.now < *next {
                continue;
            }
            controller.changed = true;
            let machine = self.machines.get(name);
            let hangs = machine.is_some_and(|machine| machine.agent.hangs_since.is_some());
            if hangs && beat.ready.is_ok() && !*asked {
                // It is asked, and waited for.
                *asked = true;
                *next = self.now + BEAT + BEAT;
                continue;
            }
            *asked = false;
            *next = self.now + BEAT;
            if machine.is_some_and(super::Machine::serves) {
                beat.heard = Some(self.now);
                beat.ready = Ok(());
            } else {
                let why = if hangs {
                    "no answer within 2s"
                } else {
                    "connection refused"
                };
                beat.ready = Err(why.to_owned());
            }
        }
    }

    fn probe(&mut self, controller: &mut Controller) {
        let now = self.now;
        let ended: Vec<_> = controller
            .probing
            .extract_if(.., |(time, ..)| *time <= now)
            .collect();
        for (_, name, generation) in ended {
            let Some(machine) = self.machines.get(&name) else {
                continue;
            };
            let Some(node) = self.api.nodes.get(&name) else {
                continue;
            };
            let websocket = api::declares(node);
            let fails = machine.down
                || (websocket && machine.broken)
                || machine.misleads(node)
                || (machine.is_at_agent(node) && !machine.serves());
            controller.changed = true;
            let probes = controller.probes.entry(name.clone()).or_default();
            probes.running = false;
            let before = probes
                .last
                .take()
                .filter(|last| last.generation == generation);
            let failures = before.map_or(0, |last| last.failures);
            let result = if fails {
                ProbeResult::Failed
            } else {
                ProbeResult::Passed
            };
            probes.last = Some(Probed {
                generation,
                result: LastProbe {
                    time: Time(self.now),
                    result,
                    message: fails.then(|| "exec: no Success".to_owned()),
                    durations: None,
                },
                failures: if fails { failures + 1 } else { 0 },
            });
            controller.count(&name, !fails);
        }
    }

    fn carry_out(&mut self, controller: &mut Controller) {
        let now = self.now;
        let mut due: Vec<_> = controller
            .writing
            .extract_if(.., |(time, ..)| *time <= now)
            .collect();
        // In any order.
        for index in (1..due.len()).rev() {
            let other = usize::try_from(self.random.below(index as u64 + 1)).unwrap();
            due.swap(index, other);
        }
        for (_, about, mut writes) in due {
            controller.changed = true;
            let write = writes.remove(0);
            let fails = self.random.happens(self.weather.failing_writes);
            // One that failed may have been done: who knows?
            let done = !fails || self.random.happens(500);
            let answered = done && self.api.write(&write).is_ok();
            if answered {
                self.checks.wrote(&write, &self.api);
            }
            if fails || !answered {
                continue;
            }
            controller.cache.copy(&write, &self.api);
            if !writes.is_empty() {
                let takes = self.random.up_to(self.weather.write);
                controller.writing.push((self.now + takes, about, writes));
            }
        }
    }
}

impl Api {
    /// Takes over what is newer than what was written here.
    fn catch_up(&mut self, told: Self) {
        fn merge<K: kube::Resource>(
            mine: &mut BTreeMap<String, K>,
            told: BTreeMap<String, K>,
            at: u64,
        ) {
            let version = |object: &K| -> u64 {
                let version = object.meta().resource_version.as_deref();
                version
                    .and_then(|version| version.parse().ok())
                    .unwrap_or(0)
            };
            mine.retain(|_, own| version(own) > at);
            for (name, object) in told {
                mine.entry(name).or_insert(object);
            }
        }
        let at = told.version();
        merge(&mut self.nodes, told.nodes, at);
        merge(&mut self.streamings, told.streamings, at);
        merge(&mut self.rollouts, told.rollouts, at);
        merge(&mut self.actions, told.actions, at);
    }

    /// What a write answered.
    fn copy(&mut self, write: &Write, from: &Self) {
        fn take<K: Clone>(mine: &mut BTreeMap<String, K>, from: &BTreeMap<String, K>, name: &str) {
            if let Some(object) = from.get(name) {
                mine.insert(name.to_owned(), object.clone());
            } else {
                mine.remove(name);
            }
        }
        match write {
            Write::Node { node, .. } => take(&mut self.nodes, &from.nodes, node),
            Write::Create { node, .. }
            | Write::Delete { node, .. }
            | Write::Spec { node, .. }
            | Write::Status { node, .. } => take(&mut self.streamings, &from.streamings, node),
            Write::Rollout { rollout, .. } => take(&mut self.rollouts, &from.rollouts, rollout),
            Write::Answer { action, .. } => take(&mut self.actions, &from.actions, action),
        }
    }
}
