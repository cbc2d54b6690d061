//! The way forward: one step of the first wave that is not Complete.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use streamway_crds::{AnalysisStatus, Duration, Phase, StreamingRolloutStatus, Wave, WavePhase};

use super::{Hold, Outcome, Round, failing};
use crate::plan::analysis;
use crate::plan::observed::Measured;
use crate::plan::standing::{Stage, Standing};

/// A wave waits so long for nodes that wait for something themselves, such as an agent that starts.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

pub(super) fn advance(round: &Round<'_>, hold: Option<&Hold>, outcome: &mut Outcome) {
    let waves = &outcome.status.waves;
    let Some(index) = waves
        .iter()
        .position(|wave| wave.phase != WavePhase::Complete)
    else {
        return;
    };
    let Some(wave) = round.followed.rollout.spec.waves.get(index) else {
        return;
    };
    match waves.get(index).map(|wave| wave.phase) {
        Some(WavePhase::Pending) => start(round, hold, index, wave, outcome),
        Some(WavePhase::Progressing) => progress(round, hold, index, wave, outcome),
        Some(WavePhase::Baking) => bake(round, hold, index, wave, outcome),
        _ => {}
    }
}

fn start(round: &Round<'_>, hold: Option<&Hold>, index: usize, wave: &Wave, outcome: &mut Outcome) {
    let status = &mut outcome.status;
    let Some(at) = status.waves.get_mut(index) else {
        return;
    };
    at.approved |= wave.approval == streamway_crds::Approval::Automatic;
    if !at.approved || hold.is_some() {
        return;
    }
    at.phase = WavePhase::Progressing;
    at.started_at = Some(Time(round.now));
    at.progressed_at = Some(Time(round.now));
    (at.bake_until, at.completed_at) = (None, None);
    status.analysis = Some(AnalysisStatus::default());
    outcome.tells(false, "WaveStarted", format!("wave {} begins", wave.name));
}

fn progress(
    round: &Round<'_>,
    hold: Option<&Hold>,
    index: usize,
    wave: &Wave,
    outcome: &mut Outcome,
) {
    let now = round.now;
    let over = members(round, index)
        .filter(|one| one.stage == Stage::Over)
        .count();
    if let Some(at) = outcome.status.waves.get_mut(index) {
        let before = usize::try_from(at.nodes.updated).unwrap_or(0);
        let was_held = matches!(
            outcome.status.phase,
            Some(Phase::Paused | Phase::WaitingForWindow | Phase::Stalled)
        );
        if over > before || (was_held && hold.is_none()) {
            at.progressed_at = Some(Time(now));
        }
    }
    judge(round, hold.is_some(), index, outcome);
    if let Some(why) = failing::why(round, index, &outcome.status, hold.is_some()) {
        return failing::fail(round, index, &why, outcome);
    }
    if !settled(round, index, outcome) {
        if let Some(deadline) = deadline(round, index, &outcome.status).filter(|_| hold.is_none()) {
            outcome.wakes(deadline);
        }
        return;
    }
    let nothing_counted = over == 0 && !has_left(round, index, &outcome.status);
    if nothing_counted || wave.bake.is_zero() {
        return complete(round, index, wave, outcome);
    }
    if let Some(at) = outcome.status.waves.get_mut(index) {
        at.phase = WavePhase::Baking;
        at.bake_until = Some(Time(after(now, wave.bake)));
    }
    let message = format!(
        "wave {} is over and is watched for {}",
        wave.name, wave.bake
    );
    outcome.tells(false, "WaveBaking", message);
}

fn bake(round: &Round<'_>, hold: Option<&Hold>, index: usize, wave: &Wave, outcome: &mut Outcome) {
    judge(round, hold.is_some(), index, outcome);
    if let Some(why) = failing::why(round, index, &outcome.status, hold.is_some()) {
        return failing::fail(round, index, &why, outcome);
    }
    let status = &outcome.status;
    let until = status
        .waves
        .get(index)
        .and_then(|at| at.bake_until.as_ref());
    let until = until.map_or(round.now, |time| time.0);
    if round.now < until {
        return outcome.wakes(until);
    }
    let counted = is_counted(round, index, status);
    let analysis = status.analysis.as_ref();
    let judged = match analysis.and_then(|one| Some((one, one.measured_at.as_ref()?))) {
        Some((one, last)) => {
            analysis::has_passed(one) && (!counted || last.0 >= seen(round, until))
        }
        None => !counted,
    };
    if judged && settled(round, index, outcome) {
        complete(round, index, wave, outcome);
    }
}

/// The wave is done; the next one may begin in the next step.
pub(super) fn complete(round: &Round<'_>, index: usize, wave: &Wave, outcome: &mut Outcome) {
    if let Some(at) = outcome.status.waves.get_mut(index) {
        at.phase = WavePhase::Complete;
        at.completed_at = Some(Time(round.now));
        at.bake_until = None;
    }
    outcome.tells(false, "WaveComplete", format!("wave {} is done", wave.name));
    if index + 1 == outcome.status.waves.len() {
        let over = round
            .standings
            .iter()
            .filter(|one| one.stage == Stage::Over)
            .count();
        let message = format!("all waves are done, {over} nodes are over");
        outcome.tells(false, "Complete", message);
    }
}

/// Measures, if it is time.
fn judge(round: &Round<'_>, held: bool, index: usize, outcome: &mut Outcome) {
    let spec = &round.followed.rollout.spec.analysis;
    let status = &mut outcome.status;
    let Some(due) = measured_next(round, index, status) else {
        return;
    };
    if round.now < due {
        return outcome.wakes(due);
    }
    let before = status.analysis.clone().unwrap_or_default();
    let measured = measured(round, index, status);
    let mut judged = analysis::measure(spec, &before, measured, round.now);
    if held {
        // Samples that do not come while no node is begun say nothing.
        judged.inconclusive = judged.inconclusive.min(before.inconclusive);
        judged.errors = judged.errors.min(before.errors);
    }
    if judged.failures > before.failures {
        let message = judged.message.clone().unwrap_or_default();
        outcome.tells(true, "AnalysisFailed", message);
    }
    outcome.status.analysis = Some(judged);
    outcome.wakes(after(round.now, spec.interval));
}

fn started(index: usize, status: &StreamingRolloutStatus) -> Option<Timestamp> {
    Some(status.waves.get(index)?.started_at.as_ref()?.0)
}

/// What was counted since the wave began.
fn measured<'a>(
    round: &Round<'a>,
    index: usize,
    status: &StreamingRolloutStatus,
) -> Option<&'a Measured> {
    let started = started(index, status);
    round.measured.filter(|one| Some(one.since) == started)
}

/// When a measurement has seen the last of a bake: agents are asked once an interval.
pub(super) fn seen(round: &Round<'_>, until: Timestamp) -> Timestamp {
    after(until, round.followed.rollout.spec.analysis.interval)
}

/// When a wave is to be measured next, if there is anything to measure.
pub(super) fn measured_next(
    round: &Round<'_>,
    index: usize,
    status: &StreamingRolloutStatus,
) -> Option<Timestamp> {
    if !is_counted(round, index, status) {
        return None;
    }
    let measured = status.analysis.as_ref();
    let measured = measured.and_then(|analysis| analysis.measured_at.as_ref());
    let last = measured.map_or(started(index, status)?, |time| time.0);
    // The clock of a leader before may have been ahead.
    Some(if last > round.now {
        round.now
    } else {
        after(last, round.followed.rollout.spec.analysis.interval)
    })
}

/// Whether there is a node on which something is counted, or was.
fn is_counted(round: &Round<'_>, index: usize, status: &StreamingRolloutStatus) -> bool {
    let mut begun = members(round, index).filter(|one| one.is_begun());
    begun.any(|one| one.stage != Stage::OnTheWay) || has_left(round, index, status)
}

/// Whether something was counted on nodes that are not in the wave any more, or that have just left it.
fn has_left(round: &Round<'_>, index: usize, status: &StreamingRolloutStatus) -> bool {
    let begun = members(round, index).filter(|one| one.is_begun());
    let begun: Vec<&str> = begun
        .filter_map(|one| Some(round.views.get(one.node)?.name))
        .collect();
    measured(round, index, status).is_some_and(|measured| {
        let mut nodes = measured.nodes.iter();
        !measured.left.is_empty()
            || nodes.any(|(name, counted)| !counted.is_empty() && !begun.contains(&name.as_str()))
    })
}

/// Whether every node of a wave is over, or is not waited for.
fn settled(round: &Round<'_>, index: usize, outcome: &mut Outcome) -> bool {
    let status = &outcome.status;
    let progressed = status
        .waves
        .get(index)
        .and_then(|at| at.progressed_at.as_ref());
    let until = progressed.map_or(round.now, |time| {
        let deadline = signed(round.followed.rollout.spec.progress_deadline);
        time.0
            .saturating_add(PATIENCE.min(deadline))
            .unwrap_or(Timestamp::MAX)
    });
    let mut settled = true;
    for one in members(round, index) {
        settled &= match one.stage {
            Stage::Over | Stage::Excluded => true,
            Stage::Waits(_) if until <= round.now => true,
            Stage::Waits(_) => {
                outcome.wakes(until);
                false
            }
            _ => false,
        };
    }
    settled
}

/// When a wave that brings no node over has failed.
pub(super) fn deadline(
    round: &Round<'_>,
    index: usize,
    status: &StreamingRolloutStatus,
) -> Option<Timestamp> {
    let progressed = status.waves.get(index)?.progressed_at.as_ref()?;
    Some(after(
        progressed.0,
        round.followed.rollout.spec.progress_deadline,
    ))
}

pub(super) fn members<'a>(
    round: &Round<'a>,
    index: usize,
) -> impl Iterator<Item = &'a Standing> + use<'a> {
    round.standings.iter().filter(move |one| one.wave == index)
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.saturating_add(signed(duration))
        .unwrap_or(Timestamp::MAX)
}

/// The schema lets a duration be a year at most.
fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration.get()).unwrap_or(SignedDuration::MAX)
}
