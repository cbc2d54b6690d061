//! A wave that fails: why, and what becomes of it.

use streamway_crds::{OnFailure, RollbackScope, StreamingRolloutStatus, WavePhase};

use super::{Outcome, Round, waves};
use crate::plan::standing::Stage;
use crate::plan::view::View;

/// Whether the present revision has failed, and nobody asked for another try.
pub(super) fn has_failed(round: &Round<'_>, status: &StreamingRolloutStatus) -> bool {
    status.failed_revision.as_deref() == Some(&round.followed.revision)
}

/// Why a wave has failed, if it has.
pub(super) fn why(
    round: &Round<'_>,
    index: usize,
    status: &StreamingRolloutStatus,
    held: bool,
) -> Option<String> {
    let spec = &round.followed.rollout.spec;
    for one in waves::members(round, index) {
        if let Stage::Failed(Some(why)) = &one.stage {
            let name = round.views.get(one.node).map_or("", |view| view.name);
            return Some(format!("node {name}: {why}"));
        }
    }
    if let Some(analysis) = &status.analysis
        && analysis.failures > spec.analysis.failure_limit
    {
        let message = analysis.message.as_deref().unwrap_or_default();
        let failures = analysis.failures;
        return Some(format!("{failures} measurements failed: {message}"));
    }
    let progressing = status
        .waves
        .get(index)
        .is_some_and(|wave| wave.phase == WavePhase::Progressing);
    let late = waves::deadline(round, index, status).is_some_and(|time| time <= round.now);
    if !progressing || !late || held {
        return None;
    }
    let left = waves::members(round, index)
        .find(|one| !matches!(one.stage, Stage::Over | Stage::Excluded | Stage::Waits(_)))?;
    let view = round.views.get(left.node)?;
    let why = match &left.stage {
        Stage::Pending => {
            let down = waves::members(round, index)
                .filter(|one| one.unavailable)
                .count();
            format!("is not begun while {down} others are unavailable")
        }
        _ => view.status.message.clone().unwrap_or_default(),
    };
    Some(format!(
        "no node came over for {}: node {}: {why}",
        spec.progress_deadline, view.name
    ))
}

/// Ends the present revision.
pub(super) fn fail(round: &Round<'_>, index: usize, why: &str, outcome: &mut Outcome) {
    let spec = &round.followed.rollout.spec;
    let name = spec.waves.get(index).map_or("", |wave| wave.name.as_str());
    let why = format!("wave {name} failed: {why}");
    outcome.tells(true, "WaveFailed", why.clone());
    if let Some(wave) = outcome.status.waves.get_mut(index) {
        wave.phase = WavePhase::Failed;
        wave.bake_until = None;
    }
    outcome.status.failed_revision = Some(round.followed.revision.clone());
    match spec.on_failure {
        OnFailure::Pause => outcome.fails(why),
        OnFailure::Rollback => roll_back(spec.rollback_scope, Some(index), why, outcome),
    }
}

/// Has nodes taken back: those of one wave, or of all.
pub(super) fn roll_back(
    scope: RollbackScope,
    index: Option<usize>,
    why: String,
    outcome: &mut Outcome,
) {
    for (place, wave) in outcome.status.waves.iter_mut().enumerate() {
        if scope == RollbackScope::All || Some(place) == index {
            wave.phase = WavePhase::RolledBack;
            wave.bake_until = None;
        }
    }
    outcome.tells(true, "RollingBack", why.clone());
    outcome.fails(why);
}

/// A revision that has failed: what it began is taken back or left, and nothing more is begun.
pub(super) fn advance(round: &Round<'_>, outcome: &mut Outcome) {
    let spec = &round.followed.rollout.spec;
    // Somebody changed onFailure to Rollback meanwhile.
    if spec.on_failure != OnFailure::Rollback {
        return;
    }
    let waves = &outcome.status.waves;
    if let Some(index) = waves
        .iter()
        .position(|wave| wave.phase == WavePhase::Failed)
    {
        let why = outcome
            .failure()
            .unwrap_or_else(|| "onFailure is Rollback".to_owned());
        roll_back(spec.rollback_scope, Some(index), why, outcome);
    }
}

/// Whether all that is to be taken back is back.
pub(super) fn is_back(round: &Round<'_>, status: &StreamingRolloutStatus) -> bool {
    use streamway_crds::NodeState::{Excluded, Off, Untouched};
    let rolled_back = |wave: usize| {
        let wave = status.waves.get(wave);
        wave.is_some_and(|wave| wave.phase == WavePhase::RolledBack)
    };
    round
        .standings
        .iter()
        .filter(|one| rolled_back(one.wave))
        .all(|one| {
            let view = round.views.get(one.node);
            // What the spec says is not there before the status says so too.
            let rests = |view: &View<'_>| matches!(view.state(), Off | Untouched | Excluded);
            view.is_none_or(|view| !view.is_begun() && rests(view))
        })
}
