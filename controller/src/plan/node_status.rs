//! A NodeStreaming's status: what a step makes of it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use streamway_crds::conditions::{self, ELIGIBLE, PROBED, READY, RECONCILING, STALLED};
use streamway_crds::{NodeState, NodeStreamingStatus, ProbeResult, Transition};

use super::actions::Event;
use super::mode::Unfit;
use super::switch::Step;
use super::version::Version;
use super::view::View;

/// As many as the schema lets be.
const TRANSITIONS: usize = 5;

/// The status after a step, and what is to be told; none where it is as it was.
pub(super) fn after(
    view: &View<'_>,
    step: &Step,
    eligible: Option<Result<(), &Unfit>>,
    api_server: Option<Version>,
    now: Timestamp,
) -> Option<(NodeStreamingStatus, Vec<Event>)> {
    // What a switch comes to is said when it was read back; until then only where the node goes.
    if step.writes(view) && step.state == view.state() && view.streaming.status.is_some() {
        return None;
    }
    let mut status = NodeStreamingStatus {
        state: Some(step.state),
        mode: view.mode_in_effect(api_server),
        declared: Some(view.declared),
        port: view.port(),
        message: Some(step.message.clone()).filter(|message| !message.is_empty()),
        ..view.status.clone()
    };
    if !step.keeps_version {
        status.kubelet_version = Some(view.kubelet_version().to_owned());
    }
    if step.done {
        status.observed_generation = Some(view.generation());
    }
    let events = transition(view, step, &mut status, now);
    probed(view, step, &mut status);
    set_conditions(view, step, eligible, &mut status, now);
    if status == *view.status {
        return None;
    }
    // The agent's part is the agent's to write.
    status.agent = None;
    Some((status, events))
}

fn transition(
    view: &View<'_>,
    step: &Step,
    status: &mut NodeStreamingStatus,
    now: Timestamp,
) -> Vec<Event> {
    let from = view.state();
    if from == step.state {
        return Vec::new();
    }
    let transition = Transition {
        time: Time(now),
        from,
        to: step.state,
        reason: step.message.clone(),
    };
    status.transitions.insert(0, transition);
    status.transitions.truncate(TRANSITIONS);
    vec![Event {
        warning: step.state == NodeState::Failed,
        reason: step.reason,
        message: step.message.clone(),
    }]
}

/// A probe that says what the one before it said is not written again.
fn probed(view: &View<'_>, step: &Step, status: &mut NodeStreamingStatus) {
    let Some(last) = &view.seen.probes.last else {
        return;
    };
    let same = status
        .last_probe
        .as_ref()
        .is_some_and(|before| before.result == last.result.result);
    let proves = step.done && status.observed_generation != view.status.observed_generation;
    if !same || proves {
        status.last_probe = Some(last.result.clone());
    }
}

fn set_conditions(
    view: &View<'_>,
    step: &Step,
    eligible: Option<Result<(), &Unfit>>,
    status: &mut NodeStreamingStatus,
    now: Timestamp,
) {
    let (reason, message) = (step.reason, step.message.as_str());
    // With the spec that is written before it.
    let generation = view.generation() + i64::from(step.spec != *view.spec);
    let now = Time(now);
    let moves = matches!(step.state, NodeState::TurningOn | NodeState::TurningOff) || !step.done;
    let stalled = step.state == NodeState::Failed;
    let all = &mut status.conditions;
    let mut set = |kind, status, reason, message: &str| {
        conditions::set(all, kind, status, reason, message, generation, &now);
    };
    set(READY, !moves && !stalled, reason, message);
    set(RECONCILING, moves && !stalled, reason, message);
    set(STALLED, stalled, reason, message);
    match eligible {
        Some(Ok(())) => set(ELIGIBLE, true, "TakesItsMode", "the node can take its mode"),
        Some(Err(unfit)) => set(ELIGIBLE, false, unfit.reason, &unfit.message),
        None => {}
    }
    if let Some(probe) = &status.last_probe {
        let message = probe.message.as_deref().unwrap_or_default();
        let (passed, reason) = match probe.result {
            ProbeResult::Passed => (true, "Passed"),
            ProbeResult::Failed => (false, "Failed"),
            ProbeResult::Error => (false, "Error"),
        };
        set(PROBED, passed, reason, message);
    }
    if eligible.is_none() {
        all.retain(|condition| condition.type_ != ELIGIBLE);
    }
}
