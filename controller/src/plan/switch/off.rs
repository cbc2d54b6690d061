//! The way back.

use streamway_crds::{Feature, NodeMode, NodeState, NodeStreamingSpec};

use super::Step;
use crate::plan::mode::Unfit;
use crate::plan::view::View;

/// Back, and kept from declaring the feature.
pub(super) fn off(view: &View<'_>, step: &mut Step) {
    step.spec.revision = None;
    let speaks = view.speaks_for_itself();
    if step.takes_back(view, speaks) {
        step.keeps_version = view.has_changed_kind();
        return;
    }
    if !speaks {
        // Nobody but us would declare it.
        step.spec.feature = Feature::Kubelet;
        step.spec.mode = Some(NodeMode::Proxied);
    } else if view.has_changed_kind() {
        step.spec.mode = None;
    }
    step.keeps_version = view.has_changed_kind() && step.writes(view);
    step.done = !step.writes(view);
    step.says(
        NodeState::Off,
        "TakenBack",
        "taken back: the API server translates",
    );
}

/// Back, as the kubelet wants it.
pub(super) fn release(view: &View<'_>, unfit: Option<&Unfit>, step: &mut Step) {
    let untouched = NodeStreamingSpec {
        rollout: step.spec.rollout.take(),
        wave: step.spec.wave.take(),
        ..NodeStreamingSpec::default()
    };
    let was_touched = NodeStreamingSpec {
        rollout: view.spec.rollout.clone(),
        wave: view.spec.wave.clone(),
        ..NodeStreamingSpec::default()
    } != *view.spec;
    step.spec.rollout.clone_from(&view.spec.rollout);
    step.spec.wave.clone_from(&view.spec.wave);
    // A kubelet that took WebSockets left it behind, and the older one that came after it will not
    // take it away. Where no rollout is, that is not ours to do.
    if view.has_changed_kind()
        && view.declared
        && !view.speaks_for_itself()
        && untouched.rollout.is_some()
    {
        step.patch.declared = Some(false);
        step.keeps_version = true;
        step.urgent = true;
    }
    let on_its_way = was_touched || view.state() == NodeState::TurningOff;
    if on_its_way && step.takes_back(view, false) {
        return;
    }
    // A kubelet that was masked would say it again within ten seconds; clients need not wait for it.
    let masked =
        view.spec.feature == Feature::Withdrawn && view.spec.mode == Some(NodeMode::Native);
    if masked && view.speaks_for_itself() && !view.declared {
        step.patch.declared = Some(true);
    }
    step.spec = untouched;
    step.done = !step.writes(view);
    match unfit {
        Some(unfit) => step.says(NodeState::Excluded, unfit.reason, unfit.message.clone()),
        None => step.says(
            NodeState::Untouched,
            "AsTheKubeletWants",
            "as its kubelet wants it",
        ),
    }
}
