//! The way over, and staying there.

use streamway_crds::{Feature, NodeMode, NodeState, ProbeResult, Traffic, Way};

use super::{Context, On, Step};
use crate::plan::faults::{self, Fault};
use crate::plan::view::{Health, View};

/// One step over, or back where something is wrong.
pub(super) fn step(view: &View<'_>, on: &On<'_>, context: &Context<'_>, step: &mut Step) {
    step.spec.revision = Some(on.revision.to_owned());
    step.wake = on.mode_until;
    if view.has_changed_kind() {
        return another_kubelet(view, step);
    }
    if let Some(fault) = faults::fault(view, on, context.now) {
        return fail(view, &fault, step);
    }
    if view.state() == NodeState::Failed && rests(view, on, context, step) {
        return;
    }
    match on.mode {
        NodeMode::Native => native(view, on, context, step),
        _ => proxied(view, on, context, step),
    }
}

/// What the kubelet takes is found out anew: all of ours is taken back, and then it is heard.
fn another_kubelet(view: &View<'_>, step: &mut Step) {
    let found_out = view.spec.mode.is_some();
    step.urgent = found_out && view.declared && !view.speaks_for_itself();
    if found_out && step.takes_back(view, true) {
        step.keeps_version = true;
        return;
    }
    // The status names the new kubelet only when no mode of the old one is left.
    step.keeps_version = found_out;
    step.spec.mode = None;
    step.spec.feature = Feature::Kubelet;
    let version = view.kubelet_version();
    let message = format!("the kubelet is {version} now; what it takes is found out");
    step.says(NodeState::TurningOn, "KubeletChanged", message);
}

/// Out of the path.
fn fail(view: &View<'_>, fault: &Fault, step: &mut Step) {
    step.urgent = view.declared;
    step.takes_back(view, true);
    // One that is dead answers nobody at its port either: both go at once.
    if step.patch.declared.is_some() && view.at_agents_port() {
        step.patch.port = Some(view.ports.kubelet);
    }
    // What an agent that is gone answers changes from second to second; the first answer stands.
    let (reason, message) = faults::last(view);
    if view.state() == NodeState::Failed && reason == fault.reason() {
        step.says(NodeState::Failed, reason, message);
    } else {
        step.says(NodeState::Failed, fault.reason(), fault.message());
    }
}

/// Whether a node that failed is left alone for now. What is not back yet goes on to be taken back.
fn rests(view: &View<'_>, on: &On<'_>, context: &Context<'_>, step: &mut Step) -> bool {
    let (reason, message) = faults::last(view);
    step.says(NodeState::Failed, reason, message);
    if step.takes_back(view, true) {
        step.says(NodeState::Failed, reason, message);
        return true;
    }
    if reason == faults::PROBE_FAILED && !on.retry {
        return true;
    }
    let until = faults::rests_until(view);
    if context.now < until {
        step.wake = Some(until);
        return true;
    }
    let Health::Unknown(known_at) = view.health(context.now) else {
        return false;
    };
    if on.mode == NodeMode::Native {
        return false;
    }
    step.wake = known_at;
    true
}

fn native(view: &View<'_>, on: &On<'_>, context: &Context<'_>, step: &mut Step) {
    let ours = view.spec.feature == Feature::Declared
        || view.spec.traffic == Traffic::Agent
        || !view.traffic_has_arrived();
    if ours && step.takes_back(view, false) {
        // A kubelet that is only thought to take WebSockets must say so itself.
        if step.spec.mode == Some(NodeMode::Proxied) {
            step.spec.mode = None;
        }
        return;
    }
    let known = view.spec.mode == Some(NodeMode::Native);
    let says_so = view.declared && view.spec.feature == Feature::Kubelet;
    step.spec.mode = (known || says_so).then_some(NodeMode::Native);
    step.spec.way = on.way;
    if step.spec.feature == Feature::Withdrawn {
        step.spec.feature = Feature::Kubelet;
        // It would say it again within ten seconds, if it was itself that said it before.
        step.patch.declared = (known && !view.declared).then_some(true);
        return step.says(
            NodeState::TurningOn,
            "TurningOn",
            "the feature is let through",
        );
    }
    if !view.declared {
        return step.says(
            NodeState::TurningOn,
            "NotDeclared",
            "the kubelet is to declare ExtendWebSocketsToKubelet",
        );
    }
    prove(view, context, step);
}

fn proxied(view: &View<'_>, on: &On<'_>, context: &Context<'_>, step: &mut Step) {
    let at_agent = view.spec.traffic == Traffic::Agent || view.at_agents_port();
    let other_way = at_agent && view.spec.way != on.way;
    let left_behind =
        view.declared && !view.speaks_for_itself() && view.spec.feature != Feature::Declared;
    if (other_way || left_behind) && step.takes_back(view, false) {
        step.urgent = left_behind;
        return;
    }
    step.spec.mode = Some(NodeMode::Proxied);
    step.spec.way = on.way;
    step.spec.traffic = Traffic::Agent;
    if on.way == Way::Port && !view.at_agents_port() {
        step.patch.port = Some(view.ports.agent);
    }
    let begins = view.spec.traffic != Traffic::Agent || view.spec.way != on.way;
    if begins || !view.traffic_has_arrived() && view.spec.feature != Feature::Declared {
        return step.says(
            NodeState::TurningOn,
            "TurningOn",
            "traffic is brought to the agent",
        );
    }
    if view.spec.feature != Feature::Declared {
        step.says(
            NodeState::TurningOn,
            "TurningOn",
            "the agent is asked how it is",
        );
        match view.health(context.now) {
            Health::Well => {
                step.spec.feature = Feature::Declared;
                step.patch.declared = (!view.declared).then_some(true);
                step.message = "traffic has arrived, the feature is declared".to_owned();
            }
            Health::Unknown(known_at) => step.wake = known_at,
            Health::Unwell(_) => {}
        }
        return;
    }
    if !view.declared {
        step.patch.declared = Some(true);
        return step.says(NodeState::TurningOn, "TurningOn", "the feature is declared");
    }
    prove(view, context, step);
}

/// The switches are in place; do sessions work?
fn prove(view: &View<'_>, context: &Context<'_>, step: &mut Step) {
    let proved = match context.prober {
        None => true,
        Some(_) => view.is_over() || passed(view),
    };
    if proved {
        step.done = !step.writes(view);
        let how = match step.spec.mode {
            Some(NodeMode::Native) => "the kubelet takes WebSockets itself",
            _ => "the agent takes WebSockets and speaks SPDY to the kubelet",
        };
        step.says(NodeState::On, "StreamsByWebSocket", how);
    } else {
        // One that was over, and whose switches are as they were, still is.
        let state = match view.state() {
            NodeState::On => NodeState::On,
            _ => NodeState::TurningOn,
        };
        step.says(state, "Probing", "sessions are tried");
    }
    step.probe = !step.writes(view) && context.prober.is_some();
}

fn passed(view: &View<'_>) -> bool {
    let last = view.seen.probes.last.as_ref();
    last.is_some_and(|last| {
        last.generation == view.generation() && last.result.result == ProbeResult::Passed
    })
}
