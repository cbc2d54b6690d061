//! A simulated cluster for tests: API objects, kubelets, agents, a webhook, and a controller that sees
//! late, writes late, dies between two writes and is followed by another that knows only the objects.
//!
//! Time goes in ticks. Everything that happens by chance follows from a seed.

pub(super) mod api;
pub(super) mod checks;
mod controller;
mod machine;
mod random_runs;
mod sabotage;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use streamway_crds::{
    ActionResult, NodeState, NodeStreaming, Phase, StreamingRollout, StreamingRolloutStatus, Verb,
};

use super::version::Version;
pub(super) use api::Api;
use checks::Checks;
use controller::Controller;
use machine::Machine;

/// The simulation's clock goes in such steps.
pub(super) const TICK: SignedDuration = SignedDuration::from_millis(200);

/// How late and how unreliable everything is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    /// How long a write may take.
    pub(super) write: SignedDuration,
    /// How late a watch may tell.
    pub(super) lag: SignedDuration,
    /// Writes that fail, of a thousand.
    pub(super) failing_writes: u64,
}

impl Weather {
    /// Everything is there with the next tick.
    pub(super) const FAIR: Self = Self {
        write: SignedDuration::ZERO,
        lag: SignedDuration::ZERO,
        failing_writes: 0,
    };
    pub(super) const FOUL: Self = Self {
        write: SignedDuration::from_millis(800),
        lag: SignedDuration::from_millis(1000),
        failing_writes: 30,
    };
}

/// A cluster and who acts in it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) random: Random,
    pub(super) weather: Weather,
    pub(super) api: Api,
    pub(super) machines: std::collections::BTreeMap<String, Machine>,
    pub(super) webhook_is_up: bool,
    pub(super) api_server: Option<Version>,
    /// None while no controller holds the Lease.
    pub(super) controller: Option<Controller>,
    /// Writes of a controller that died while they were on their way.
    late: Vec<(Timestamp, super::Write)>,
    pub(super) checks: Checks,
    /// What is done to each plan before it is carried out; nothing, but where checks are checked.
    sabotage: fn(&mut super::Plan, &super::Observed),
}

impl World {
    /// With a controller, and nodes `n0`, `n1` … of these kubelets.
    pub(super) fn new(seed: u64, kubelets: &[&str]) -> Self {
        let mut world = Self {
            now: "2026-06-01T00:00:00Z".parse().unwrap(),
            random: Random(seed),
            weather: Weather::FAIR,
            api: Api::default(),
            machines: std::collections::BTreeMap::new(),
            webhook_is_up: true,
            api_server: Some(Version::new(36)),
            controller: None,
            late: Vec::new(),
            checks: Checks::default(),
            sabotage: |_, _| {},
        };
        for (index, version) in kubelets.iter().enumerate() {
            world.join(&format!("n{index}"), version);
        }
        world.elect();
        world
    }

    /// A node comes.
    pub(super) fn join(&mut self, name: &str, version: &str) {
        let machine = Machine::new(version);
        let uid = format!("{:016x}", self.random.next());
        self.api.join(name, &uid, version);
        self.machines.insert(name.to_owned(), machine);
        self.report(name);
    }

    /// A node goes, and what it owned.
    pub(super) fn leave(&mut self, name: &str) {
        self.api.nodes.remove(name);
        self.api.streamings.remove(name);
        self.api.removed();
        self.machines.remove(name);
    }

    /// Another controller takes over; it knows nothing but the objects.
    pub(super) fn elect(&mut self) {
        self.controller = Some(Controller::new(&self.api, self.now));
    }

    /// The controller dies. What it had sent may still arrive.
    pub(super) fn kill_controller(&mut self) {
        if let Some(controller) = self.controller.take() {
            self.late.extend(controller.on_the_wire());
        }
    }

    /// What a controller that comes now sees.
    pub(super) fn observed(&self) -> super::Observed {
        Controller::new(&self.api, self.now).observe(&self.machines, self.api_server)
    }

    /// Applies a rollout.
    pub(super) fn rollout(&mut self, name: &str, spec: Value) {
        let parsed: StreamingRollout = serde_json::from_value(json!({
            "apiVersion": "streamway.dev/v1alpha1",
            "kind": "StreamingRollout",
            "metadata": {"name": name},
            "spec": spec,
        }))
        .unwrap();
        self.api.apply_rollout(parsed, self.now);
    }

    pub(super) fn delete_rollout(&mut self, name: &str) {
        self.api.rollouts.remove(name);
        self.api.removed();
    }

    /// An operator's verb; its name.
    pub(super) fn act(&mut self, rollout: &str, verb: Verb) -> String {
        self.api.act(rollout, verb, self.now)
    }

    /// One step of time.
    pub(super) fn tick(&mut self) {
        self.now += TICK;
        let due = |(time, _): &mut (Timestamp, super::Write)| *time <= self.now;
        let late: Vec<_> = self.late.extract_if(.., due).collect();
        for (_, write) in late {
            if self.api.write(&write).is_ok() {
                self.checks.wrote(&write, &self.api);
            }
        }
        self.run_machines();
        self.run_controller();
        self.checks.look(
            &self.api,
            &self.machines,
            self.controller.is_some(),
            self.now,
        );
    }

    /// Lets time go by.
    pub(super) fn run(&mut self, seconds: i64) {
        let end = self.now + SignedDuration::from_secs(seconds);
        while self.now < end {
            self.tick();
        }
    }

    /// Lets time go by until something holds; says what if it does not within a while.
    pub(super) fn until(&mut self, seconds: i64, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = self.now + SignedDuration::from_secs(seconds);
        while !holds(self) {
            assert!(
                self.now < end,
                "not within {seconds} s: {what}\n{}",
                self.story()
            );
            self.tick();
        }
    }

    pub(super) fn streaming(&self, node: &str) -> &NodeStreaming {
        &self.api.streamings[node]
    }

    pub(super) fn state(&self, node: &str) -> Option<NodeState> {
        self.api.streamings.get(node)?.status.as_ref()?.state
    }

    /// Nodes in that state.
    pub(super) fn nodes_in(&self, state: NodeState) -> Vec<&str> {
        let names = self.api.streamings.keys().map(String::as_str);
        names
            .filter(|name| self.state(name) == Some(state))
            .collect()
    }

    /// The only rollout's status.
    pub(super) fn status(&self) -> StreamingRolloutStatus {
        let rollout = self.api.rollouts.values().next().unwrap();
        rollout.status.clone().unwrap_or_default()
    }

    pub(super) fn is_in(&self, phase: Phase) -> bool {
        self.status().phase == Some(phase)
    }

    /// Has an action carried out; what came of it.
    pub(super) fn acts(&mut self, verb: Verb) -> (ActionResult, String) {
        let rollout = self.api.rollouts.keys().next().unwrap().clone();
        let name = self.act(&rollout, verb);
        let answered = |world: &Self| world.api.actions[&name].status.is_some();
        self.until(30, "the action is answered", answered);
        let status = self.api.actions[&name].status.clone().unwrap();
        (status.result.unwrap(), status.message.unwrap())
    }

    /// Reasons of the events about one object.
    pub(super) fn told(&self, about: &str) -> Vec<&'static str> {
        let events = self.api.events.iter().filter(|(name, _)| name == about);
        events.map(|(_, event)| event.reason).collect()
    }

    /// How things stand, for a test that fails.
    pub(super) fn story(&self) -> String {
        self.api.story(&self.machines)
    }
}

/// SplitMix64.
#[derive(Debug, Clone)]
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// In so many cases of a thousand.
    pub(super) fn happens(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// Anything up to that long.
    pub(super) fn up_to(&mut self, most: SignedDuration) -> SignedDuration {
        let millis = u64::try_from(most.as_millis()).unwrap();
        SignedDuration::from_millis(i64::try_from(self.below(millis + 1)).unwrap())
    }
}
