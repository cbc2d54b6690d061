//! What must hold at every moment, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use streamway_crds::conditions::{READY, RECONCILING, STALLED, is_true};
use streamway_crds::{NodeState, StreamingRolloutStatus, Traffic, WavePhase, Way};

use super::TICK;
use super::api::{self, Api, KUBELET_PORT};
use super::machine::Machine;
use crate::plan::Write;

/// A Node may declare a feature that nobody behind it has for so long, while a controller is there: an
/// agent that hangs is asked after a second, waited for two, and then there are a plan and two writes.
const DETECTED_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// A node's writes by the controller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::plan) struct Writes {
    pub(in crate::plan) specs: u32,
    pub(in crate::plan) nodes: u32,
    pub(in crate::plan) statuses: u32,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(in crate::plan) struct Checks {
    /// How much longer may pass before a Node that misleads must be found out: more after a leader
    /// died, or with more lag.
    pub(in crate::plan) patience: SignedDuration,
    /// Since when Nodes mislead, in the time of controllers.
    misleads: BTreeMap<String, SignedDuration>,
    pub(in crate::plan) longest_misled: SignedDuration,
    revisions: BTreeMap<String, Option<String>>,
    /// Nodes that the controller began and that were not over since.
    on_their_way: BTreeSet<String>,
    pub(in crate::plan) most_on_their_way: usize,
    pub(in crate::plan) writes: BTreeMap<String, Writes>,
    pub(in crate::plan) rollout_writes: u32,
    /// When each wave of each revision last began.
    began: BTreeMap<(String, String, String), Timestamp>,
    /// How often waves began.
    pub(in crate::plan) beginnings: u32,
    /// What NodeStreamings said, in order.
    pub(in crate::plan) statuses: Vec<String>,
    /// What was written to switch nodes, in order.
    pub(in crate::plan) switches: Vec<String>,
}

impl Checks {
    /// A write was done.
    pub(super) fn wrote(&mut self, write: &Write, api: &Api) {
        match write {
            Write::Create { node, .. } => {
                self.revisions.remove(node);
                self.on_their_way.remove(node);
            }
            Write::Spec { node, spec, .. } => {
                let (traffic, feature) = (spec.traffic, spec.feature);
                self.switches
                    .push(format!("{node}: traffic {traffic:?}, feature {feature:?}"));
                self.writes.entry(node.clone()).or_default().specs += 1;
                let before = self.revisions.insert(node.clone(), spec.revision.clone());
                let begins = spec.revision.is_some() && before.flatten() != spec.revision;
                if begins {
                    self.begins(node, api);
                } else if spec.revision.is_none() {
                    self.on_their_way.remove(node);
                }
            }
            Write::Node { node, patch } => {
                let declared = patch
                    .declared
                    .map(|declared| format!(" declared {declared}"));
                let port = patch.port.map(|port| format!(" port {port}"));
                let (declared, port) = (declared.unwrap_or_default(), port.unwrap_or_default());
                self.switches.push(format!("{node}: Node{declared}{port}"));
                self.writes.entry(node.clone()).or_default().nodes += 1;
            }
            Write::Status { node, status, .. } => {
                let (state, message) = (status.state.unwrap(), status.message.clone());
                self.statuses.push(format!(
                    "{node}: {state:?}, {}",
                    message.unwrap_or_default()
                ));
                self.writes.entry(node.clone()).or_default().statuses += 1;
            }
            Write::Rollout {
                rollout, status, ..
            } => {
                self.rollout_writes += 1;
                self.waves(rollout, status);
            }
            _ => {}
        }
    }

    /// A node is begun: its wave has begun, all before it are done, and not too many are on their way.
    fn begins(&mut self, node: &str, api: &Api) {
        let spec = &api.streamings[node].spec;
        let rollout = &api.rollouts.get(spec.rollout.as_ref().unwrap());
        // It was deleted while the write was on its way.
        let Some(rollout) = rollout else { return };
        let wave = spec.wave.as_deref().unwrap();
        let waves = &rollout.spec.waves;
        // The spec was changed while the write was on its way.
        let Some(index) = waves.iter().position(|one| one.name == wave) else {
            return;
        };
        let status = rollout.status.as_ref().unwrap();
        if status.revision != spec.revision {
            return;
        }
        assert!(
            status.waves[..index]
                .iter()
                .all(|wave| wave.phase == WavePhase::Complete),
            "{node} of wave {wave} was begun before the waves before it were done: {status:?}"
        );
        self.on_their_way.insert(node.to_owned());
        let same_wave = |name: &&String| {
            let one = api.streamings.get(*name);
            one.is_some_and(|one| one.spec.wave.as_deref() == Some(wave))
        };
        let moving = self.on_their_way.iter().filter(same_wave).count();
        self.most_on_their_way = self.most_on_their_way.max(moving);
        let members = api.streamings.values();
        let total = members
            .filter(|one| one.spec.wave.as_deref() == Some(wave))
            .count();
        let most = waves[index].max_unavailable.of(total);
        assert!(
            moving <= most,
            "{moving} nodes of wave {wave} are on their way, {most} may be"
        );
    }

    /// No wave begins before the one before it is done, and none twice without a Retry.
    fn waves(&mut self, rollout: &str, status: &StreamingRolloutStatus) {
        let revision = status.revision.clone().unwrap_or_default();
        for (index, wave) in status.waves.iter().enumerate() {
            let Some(started) = &wave.started_at else {
                continue;
            };
            let key = (rollout.to_owned(), revision.clone(), wave.name.clone());
            let before = self.began.insert(key, started.0);
            if before == Some(started.0) {
                continue;
            }
            self.beginnings += 1;
            assert!(
                status.waves[..index]
                    .iter()
                    .all(|before| before.phase == WavePhase::Complete),
                "wave {} began too early: {status:?}",
                wave.name
            );
        }
    }

    /// Looks at the whole cluster.
    pub(super) fn look(
        &mut self,
        api: &Api,
        machines: &BTreeMap<String, Machine>,
        is_led: bool,
        now: Timestamp,
    ) {
        self.on_their_way.retain(|name| {
            let one = api.streamings.get(name);
            one.is_some_and(|one| {
                let status = one.status.as_ref();
                let over = status.is_some_and(|status| {
                    status.state == Some(NodeState::On)
                        && status.observed_generation == one.metadata.generation
                });
                !over
            })
        });
        for streaming in api.streamings.values() {
            let conditions = streaming.status.as_ref().map(|status| &status.conditions);
            assert_one_of_kstatus(conditions);
        }
        for rollout in api.rollouts.values() {
            assert_one_of_kstatus(rollout.status.as_ref().map(|status| &status.conditions));
        }
        for (name, machine) in machines {
            let node = &api.nodes[name];
            // What was there before any rollout, or came after the last one, is not ours to change.
            let misleads = machine.misleads(node) && !api.rollouts.is_empty();
            if !misleads {
                self.misleads.remove(name);
                continue;
            }
            let since = self.misleads.entry(name.clone()).or_default();
            if is_led {
                *since += TICK;
            }
            self.longest_misled = self.longest_misled.max(*since);
            let most = DETECTED_WITHIN + self.patience;
            assert!(
                *since <= most,
                "at {now} {name} has declared for {since:?} what nobody behind it can\n{}",
                api.story(machines)
            );
        }
    }
}

/// Ready, Reconciling and Stalled: exactly one of them, once anything was said.
fn assert_one_of_kstatus(conditions: Option<&Vec<Condition>>) {
    let Some(conditions) = conditions.filter(|conditions| !conditions.is_empty()) else {
        return;
    };
    let said = [READY, RECONCILING, STALLED];
    let said = said.iter().filter(|kind| is_true(conditions, kind)).count();
    assert_eq!(said, 1, "{conditions:?}");
}

/// Every Node is as its kubelet wants it, and nothing of ours is left.
pub(in crate::plan) fn assert_untouched(api: &Api, machines: &BTreeMap<String, Machine>) {
    for (name, machine) in machines {
        let node = &api.nodes[name];
        let story = || api.story(machines);
        assert_eq!(
            api::declares(node),
            machine.takes_websockets(),
            "{name}\n{}",
            story()
        );
        assert_eq!(api::port(node), KUBELET_PORT, "{name}\n{}", story());
        assert!(!machine.agent.table, "{name}\n{}", story());
        let spec = &api.streamings[name].spec;
        assert_eq!(
            *spec,
            streamway_crds::NodeStreamingSpec::default(),
            "{name}"
        );
    }
}

/// Every node that can be is over, in the right mode and by the right way.
pub(in crate::plan) fn assert_over(api: &Api, machines: &BTreeMap<String, Machine>) {
    for (name, machine) in machines {
        let story = || api.story(machines);
        let streaming = &api.streamings[name];
        let state = streaming.status.as_ref().unwrap().state;
        assert_eq!(state, Some(NodeState::On), "{name}\n{}", story());
        let node = &api.nodes[name];
        assert!(api::declares(node), "{name}\n{}", story());
        if machine.takes_websockets() {
            assert_eq!(
                streaming.spec.traffic,
                Traffic::Kubelet,
                "{name}\n{}",
                story()
            );
            assert!(!machine.is_at_agent(node), "{name}\n{}", story());
        } else {
            assert!(machine.is_at_agent(node), "{name}\n{}", story());
            let by_port = streaming.spec.way == Way::Port;
            assert_eq!(machine.agent.table, !by_port, "{name}\n{}", story());
        }
    }
}
