//! One step of one node toward where it is to be, from what was read back.
//!
//! ```text
//! over:  traffic to the agent ─▶ it has arrived ─▶ feature declared ─▶ Node says so ─▶ probe passed
//! back:  feature withdrawn ─▶ Node says so ─▶ traffic to the kubelet ─▶ it has left ─▶ feature as the kubelet has it
//! ```
//!
//! A node whose kubelet takes WebSockets itself has only the feature's part. Between any two arrows the
//! controller may die: the next one sees where it stopped, and no WebSocket can meet a kubelet that does
//! not speak it.

mod off;
mod on;

use jiff::Timestamp;
use streamway_crds::{Feature, NodeMode, NodeState, NodeStreamingSpec, Prober, Traffic, Way};

use super::actions::NodePatch;
use super::mode::Unfit;
use super::view::View;

/// Where a node is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Goal<'a> {
    /// Over.
    On(On<'a>),
    /// Taken back, and kept from declaring the feature.
    Off,
    /// As its kubelet wants it; with the reason, if a rollout wanted it otherwise.
    Released(Option<Unfit>),
}

/// How a node is to be over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct On<'a> {
    pub(super) mode: NodeMode,
    pub(super) way: Way,
    pub(super) revision: &'a str,
    /// Whether it is tried again when its probes failed.
    pub(super) retry: bool,
    /// When `mode` may become another by time alone.
    pub(super) mode_until: Option<Timestamp>,
}

/// What else a step depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) now: Timestamp,
    /// None where no sessions are tried.
    pub(super) prober: Option<&'a Prober>,
    /// The rollout that the node follows, and the wave that it is in.
    pub(super) rollout: Option<&'a str>,
    pub(super) wave: Option<&'a str>,
}

/// A step, and where it leaves the node.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    /// Written where it is another than the present one; the Node's patch after it.
    pub(super) spec: NodeStreamingSpec,
    pub(super) patch: NodePatch,
    pub(super) state: NodeState,
    /// One word in CamelCase.
    pub(super) reason: &'static str,
    /// A sentence.
    pub(super) message: String,
    /// Whether nothing remains to be done for the present spec.
    pub(super) done: bool,
    /// Whether sessions are to be tried now.
    pub(super) probe: bool,
    /// Whether clients may fail until it is made.
    pub(super) urgent: bool,
    /// Whether the status must go on naming the kubelet that was there before.
    pub(super) keeps_version: bool,
    pub(super) wake: Option<Timestamp>,
}

/// The next step toward `goal`.
pub(super) fn step(view: &View<'_>, goal: &Goal<'_>, context: &Context<'_>) -> Step {
    let mut step = Step::begin(view, context);
    match goal {
        Goal::On(on) => on::step(view, on, context, &mut step),
        Goal::Off => off::off(view, &mut step),
        Goal::Released(unfit) => off::release(view, unfit.as_ref(), &mut step),
    }
    step
}

impl Step {
    /// Nothing changes but who the node belongs to.
    fn begin(view: &View<'_>, context: &Context<'_>) -> Self {
        let mut spec = view.spec.clone();
        spec.rollout = context.rollout.map(str::to_owned);
        spec.wave = context.wave.map(str::to_owned);
        Self {
            spec,
            patch: NodePatch::default(),
            state: view.state(),
            reason: "AsWanted",
            message: String::new(),
            done: false,
            probe: false,
            urgent: false,
            keeps_version: false,
            wake: None,
        }
    }

    fn says(&mut self, state: NodeState, reason: &'static str, message: impl Into<String>) {
        self.state = state;
        self.reason = reason;
        self.message = message.into();
    }

    /// Whether anything is switched, or written for it.
    pub(super) fn writes(&self, view: &View<'_>) -> bool {
        self.spec != *view.spec || self.patch != NodePatch::default()
    }

    /// Takes the next part back of what is ours, the feature before the traffic; false when nothing is
    /// left. With `force` a feature is taken back too that the kubelet may have declared.
    fn takes_back(&mut self, view: &View<'_>, force: bool) -> bool {
        let declared_by_us = self.spec.feature == Feature::Declared
            || (view.declared && (force || !view.speaks_for_itself()))
            || (view.declared && self.spec.feature == Feature::Withdrawn);
        if declared_by_us || (force && self.spec.feature != Feature::Withdrawn) {
            self.spec.feature = Feature::Withdrawn;
            if view.declared {
                self.patch.declared = Some(false);
            }
            self.says(
                NodeState::TurningOff,
                "TurningOff",
                "the feature is being withdrawn",
            );
            return true;
        }
        if self.spec.traffic == Traffic::Agent || view.at_agents_port() {
            self.spec.traffic = Traffic::Kubelet;
            if view.at_agents_port() {
                self.patch.port = Some(view.ports.kubelet);
            }
            self.says(
                NodeState::TurningOff,
                "TurningOff",
                "traffic goes back to the kubelet",
            );
            return true;
        }
        if !view.traffic_has_arrived() {
            self.says(
                NodeState::TurningOff,
                "TurningOff",
                "the agent is to let go of the traffic",
            );
            return true;
        }
        false
    }
}
