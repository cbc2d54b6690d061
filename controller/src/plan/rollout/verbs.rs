//! RolloutActions: what each verb does, and when it is refused.
//!
//! An action's effect and the note that it was carried out are one write of the rollout's status; the
//! answer in the action's own status comes after it. So whoever takes over in between answers, and does
//! not carry it out again.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use streamway_crds::{
    ActionResult, Approval, LastAction, RolloutAction, RolloutActionStatus, StreamingRolloutStatus,
    Verb, WavePhase, WaveStatus,
};

use super::{Outcome, Round, failing, waves};
use crate::plan::analysis;

/// What an action is answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) action: String,
    pub(crate) status: RolloutActionStatus,
}

/// The action that is next: one at a time, in the order in which they were made.
pub(crate) fn oldest_unanswered<'a>(
    actions: impl Iterator<Item = &'a RolloutAction>,
) -> Option<&'a RolloutAction> {
    let unanswered = |action: &&RolloutAction| {
        let status = action.status.as_ref();
        status.is_none_or(|status| status.result.is_none())
    };
    actions.filter(unanswered).min_by_key(|action| {
        let metadata = &action.metadata;
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, metadata.name.clone())
    })
}

/// Carries the round's action out, or answers it.
pub(super) fn carry_out(round: &Round<'_>, outcome: &mut Outcome) {
    let Some(action) = round.action else {
        return;
    };
    let name = action.metadata.name.clone().unwrap_or_default();
    let uid = action.metadata.uid.clone().unwrap_or_default();
    let last = outcome.status.last_action.as_ref();
    let answer = |result, message: String, wave: Option<String>, time: Time| Answer {
        action: name.clone(),
        status: RolloutActionStatus {
            result: Some(result),
            message: Some(message),
            time: Some(time),
            wave,
            revision: Some(round.followed.revision.clone()),
        },
    };
    if let Some(last) = last.filter(|last| last.uid == uid) {
        let (message, wave) = (last.message.clone(), last.wave.clone());
        outcome.answer = Some(answer(ActionResult::Done, message, wave, last.time.clone()));
        return;
    }
    let wave = current(&outcome.status).map(|(_, name, _)| name);
    match effect(round, action.spec.verb, outcome) {
        Ok(message) => {
            outcome.tells(false, "ActionDone", told(action, &message));
            outcome.status.last_action = Some(LastAction {
                name,
                uid,
                verb: action.spec.verb,
                time: Time(round.now),
                message,
                wave,
            });
        }
        Err(why) => {
            outcome.answer = Some(answer(ActionResult::Refused, why, wave, Time(round.now)));
        }
    }
}

fn told(action: &RolloutAction, message: &str) -> String {
    let by = action.spec.by.as_deref().unwrap_or("somebody");
    let reason = action
        .spec
        .reason
        .as_deref()
        .map(|reason| format!(": {reason}"));
    let verb = action.spec.verb;
    format!("{verb:?} by {by}: {message}{}", reason.unwrap_or_default())
}

/// The first wave that is not Complete: its place, name and phase.
fn current(status: &StreamingRolloutStatus) -> Option<(usize, String, WavePhase)> {
    let mut waves = status.waves.iter().enumerate();
    let (index, wave) = waves.find(|(_, wave)| wave.phase != WavePhase::Complete)?;
    Some((index, wave.name.clone(), wave.phase))
}

/// Done and what, or refused and why.
fn effect(round: &Round<'_>, verb: Verb, outcome: &mut Outcome) -> Result<String, String> {
    let failed = failing::has_failed(round, &outcome.status);
    match verb {
        Verb::Promote if failed => Err(FAILED.to_owned()),
        Verb::Promote => promote(round, outcome),
        Verb::Pause => pause(outcome),
        Verb::Resume => resume(round, outcome),
        Verb::Retry if failed => Ok(retry(round, outcome)),
        Verb::Retry => {
            Err("the present revision has not failed: there is nothing to try again".to_owned())
        }
        Verb::Abort => abort(round, outcome),
        Verb::Rollback => rollback(round, outcome),
    }
}

const FAILED: &str = "the revision has failed: create a RolloutAction Retry first";

fn promote(round: &Round<'_>, outcome: &mut Outcome) -> Result<String, String> {
    let Some((index, name, phase)) = current(&outcome.status) else {
        return Err("all waves are done: there is none to promote to".to_owned());
    };
    match phase {
        WavePhase::Pending => {
            let wave = outcome
                .status
                .waves
                .get_mut(index)
                .filter(|wave| !wave.approved);
            let Some(wave) = wave else {
                return Err(format!(
                    "wave {name} needs no approval; the rollout's message says what it waits for"
                ));
            };
            wave.approved = true;
            Ok(format!("wave {name} may begin"))
        }
        WavePhase::Baking => {
            if let Some(wave) = round.followed.rollout.spec.waves.get(index) {
                waves::complete(round, index, wave, outcome);
            }
            let next = outcome.status.waves.get_mut(index + 1);
            if let Some(next) = next {
                next.approved = true;
            }
            Ok(format!("wave {name} is watched no longer"))
        }
        _ => Err(format!(
            "wave {name} is still being brought over: wait for it, or create a RolloutAction Abort"
        )),
    }
}

fn pause(outcome: &mut Outcome) -> Result<String, String> {
    if outcome.status.paused_by_action {
        return Err("it is paused already".to_owned());
    }
    outcome.status.paused_by_action = true;
    Ok("no further node is begun".to_owned())
}

fn resume(round: &Round<'_>, outcome: &mut Outcome) -> Result<String, String> {
    let spec = &round.followed.rollout.spec;
    let was_paused = std::mem::take(&mut outcome.status.paused_by_action);
    let analysis = outcome.status.analysis.as_mut();
    let undecided =
        analysis.filter(|status| analysis::cannot_tell(&spec.analysis, status).is_some());
    let was_undecided = undecided.is_some();
    if let Some(analysis) = undecided {
        (analysis.inconclusive, analysis.errors) = (0, 0);
    }
    match (was_paused || was_undecided, spec.paused) {
        (true, false) => Ok("nodes are begun again".to_owned()),
        (true, true) => Ok("it goes on when the spec no longer says paused".to_owned()),
        (false, true) => Err("the spec says paused: set spec.paused to false".to_owned()),
        (false, false) => Err("it is not paused".to_owned()),
    }
}

fn retry(round: &Round<'_>, outcome: &mut Outcome) -> String {
    let status = &mut outcome.status;
    status.failed_revision = None;
    status.analysis = None;
    let again =
        |wave: &&mut WaveStatus| matches!(wave.phase, WavePhase::Failed | WavePhase::RolledBack);
    let waves = &round.followed.rollout.spec.waves;
    for (index, wave) in status.waves.iter_mut().filter(again).enumerate() {
        let spec = waves.iter().find(|spec| spec.name == wave.name);
        // Whoever asks for it wants the first to begin; what was said of the others was said before
        // the failure.
        wave.approved = index == 0 || spec.is_some_and(|spec| spec.approval == Approval::Automatic);
        wave.phase = WavePhase::Pending;
        (wave.started_at, wave.progressed_at, wave.completed_at) = (None, None, None);
    }
    "the revision is tried again".to_owned()
}

fn abort(round: &Round<'_>, outcome: &mut Outcome) -> Result<String, String> {
    let Some((index, name, phase)) = current(&outcome.status) else {
        return Err(
            "all waves are done: create a RolloutAction Rollback to take nodes back".to_owned(),
        );
    };
    let scope = round.followed.rollout.spec.rollback_scope;
    if phase == WavePhase::RolledBack {
        return Err("nodes are taken back already".to_owned());
    }
    outcome.status.failed_revision = Some(round.followed.revision.clone());
    failing::roll_back(
        scope,
        Some(index),
        format!("aborted in wave {name}"),
        outcome,
    );
    Ok(match scope {
        streamway_crds::RollbackScope::Wave => format!("wave {name} is taken back"),
        streamway_crds::RollbackScope::All => "all waves are taken back".to_owned(),
    })
}

fn rollback(round: &Round<'_>, outcome: &mut Outcome) -> Result<String, String> {
    let waves = &outcome.status.waves;
    if waves.iter().all(|wave| wave.phase == WavePhase::RolledBack) {
        return Err("all waves are taken back already".to_owned());
    }
    let begun = |node: usize| round.views.get(node).is_some_and(super::View::is_begun);
    if !round.standings.iter().any(|one| begun(one.node)) {
        return Err("no node was brought over: there is nothing to take back".to_owned());
    }
    outcome.status.failed_revision = Some(round.followed.revision.clone());
    let scope = streamway_crds::RollbackScope::All;
    failing::roll_back(scope, None, "rolled back by an action".to_owned(), outcome);
    Ok("all waves are taken back".to_owned())
}
