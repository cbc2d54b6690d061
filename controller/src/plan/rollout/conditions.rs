//! What a rollout's status says in words and numbers.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use streamway_crds::conditions::{
    self, DEGRADED, PAUSED, PROGRESSING, READY, RECONCILING, ROLLED_BACK, STALLED,
};
use streamway_crds::{ExcludedNode, NodeCounts, Phase, WavePhase, WaveStatus};

use super::{Hold, Outcome, Round, failing, waves};
use crate::plan::analysis;
use crate::plan::standing::{Stage, Standing};

/// As many as the status names.
const EXCLUDED: usize = 20;

/// Reason of the condition whose message says why the revision failed.
const FAILED: &str = "RevisionFailed";
const FAILED_BEFORE: &str = "this revision failed before";

impl Outcome {
    /// Why the revision failed, in this step or in one before it.
    pub(super) fn failure(&self) -> Option<String> {
        let degraded = self
            .status
            .conditions
            .iter()
            .find(|one| one.type_ == DEGRADED);
        let before = degraded.filter(|degraded| degraded.reason == FAILED);
        let before = || before.map(|degraded| degraded.message.clone());
        self.failure.clone().or_else(before)
    }
}

/// Counts nodes, and says where the rollout is and what it waits for.
pub(super) fn describe(round: &Round<'_>, hold: Option<&Hold>, outcome: &mut Outcome) {
    count(round, outcome);
    outcome.status.next = None;
    let current = outcome
        .status
        .waves
        .iter()
        .position(|wave| wave.phase != WavePhase::Complete);
    let waves = outcome.status.waves.len();
    let wave = current
        .and_then(|index| outcome.status.waves.get(index))
        .cloned();
    outcome.status.current_wave = wave.as_ref().map(|wave| wave.name.clone());
    outcome.status.progress = (waves > 0).then(|| {
        let place = current.map_or(waves, |index| index + 1);
        format!("{place}/{waves}")
    });
    let (phase, message) = phase(round, hold, current.zip(wave.as_ref()), outcome);
    let was = outcome.status.phase.replace(phase);
    if was != Some(phase)
        && matches!(
            phase,
            Phase::Paused | Phase::WaitingForApproval | Phase::RolledBack
        )
    {
        let warning = phase == Phase::RolledBack;
        outcome.tells(warning, phase.as_str(), message.clone());
    }
    outcome.status.message = Some(message.clone());
    set(round, phase, &message, hold, outcome);
}

fn count(round: &Round<'_>, outcome: &mut Outcome) {
    let status = &mut outcome.status;
    status.nodes = NodeCounts::default();
    for wave in &mut status.waves {
        wave.nodes = NodeCounts::default();
    }
    status.excluded.clear();
    for one in round.standings {
        let wave = status.waves.get_mut(one.wave);
        let left_out = wave
            .as_ref()
            .is_some_and(|wave| matches!(wave.phase, WavePhase::Baking | WavePhase::Complete));
        one.count(&mut status.nodes, left_out);
        if let Some(wave) = wave {
            one.count(&mut wave.nodes, left_out);
        }
        if status.excluded.len() < EXCLUDED {
            status.excluded.extend(excluded(round, one, left_out));
        }
    }
}

fn excluded(round: &Round<'_>, one: &Standing, left_out: bool) -> Option<ExcludedNode> {
    let unfit = match (&one.stage, &one.mode) {
        (Stage::Excluded, Err(unfit)) => unfit,
        (Stage::Waits(unfit), _) if left_out => unfit,
        _ => return None,
    };
    Some(ExcludedNode {
        node: round.views.get(one.node)?.name.to_owned(),
        reason: unfit.message.clone(),
    })
}

fn phase(
    round: &Round<'_>,
    hold: Option<&Hold>,
    wave: Option<(usize, &WaveStatus)>,
    outcome: &mut Outcome,
) -> (Phase, String) {
    if let Some(Hold::Spec(why)) = hold {
        return (
            Phase::Stalled,
            format!("the spec cannot be followed: {why}"),
        );
    }
    if !round.followed.is_adopted() {
        let adopted = outcome.status.revision.as_deref() == Some(&round.followed.revision);
        let message = if adopted {
            "nodes were placed in waves"
        } else {
            "nodes are placed in waves"
        };
        return (Phase::Pending, message.to_owned());
    }
    if failing::has_failed(round, &outcome.status) {
        return failed(round, outcome);
    }
    let Some((index, wave)) = wave else {
        return complete(round);
    };
    let name = &wave.name;
    let waiting = |what: &str| format!("wave {name} waits for {what}");
    let nodes = wave.nodes;
    let held = matches!(wave.phase, WavePhase::Pending | WavePhase::Progressing);
    if wave.phase == WavePhase::Pending && !wave.approved {
        let message = waiting("approval: create a RolloutAction Promote");
        return (Phase::WaitingForApproval, message);
    }
    match hold.filter(|_| held) {
        Some(Hold::Paused(why)) => return (Phase::Paused, why.clone()),
        Some(Hold::Obstacle(why, true)) => return (Phase::Pending, why.clone()),
        Some(Hold::Obstacle(why, false)) => return (Phase::Stalled, why.clone()),
        Some(Hold::Window(until, why)) => {
            if let Some(until) = *until {
                outcome.next(until, format!("nodes may be begun: {why}"));
            }
            return (Phase::WaitingForWindow, waiting(why));
        }
        _ => {}
    }
    match (wave.phase, &wave.bake_until) {
        (WavePhase::Baking, Some(until)) if round.now < until.0 => {
            outcome.next(until.0, format!("bake of wave {name} ends"));
            let message = format!("wave {name} is over and is watched until {}", until.0);
            (Phase::Baking, message)
        }
        (WavePhase::Baking, _) => judged(round, index, wave, outcome),
        (WavePhase::Pending, _) => (Phase::Progressing, format!("wave {name} begins")),
        _ => {
            let over = nodes.updated;
            let message = format!("wave {name}: {over} of {} nodes are over", nodes.total);
            (Phase::Progressing, message)
        }
    }
}

/// A wave whose bake is over.
fn judged(
    round: &Round<'_>,
    index: usize,
    wave: &WaveStatus,
    outcome: &mut Outcome,
) -> (Phase, String) {
    let (status, name) = (&outcome.status, &wave.name);
    let next = waves::measured_next(round, index, status);
    let next = next.filter(|next| *next > round.now);
    let analysis = status.analysis.as_ref();
    let spec = &round.followed.rollout.spec.analysis;
    let measured = analysis.and_then(|analysis| analysis.measured_at.as_ref());
    let why = analysis.and_then(|analysis| analysis.message.as_deref());
    let why = why.unwrap_or("it was not measured yet");
    let passed = analysis.is_some_and(analysis::has_passed);
    let mut members = waves::members(round, index);
    let more = members.any(|one| one.is_begun() || one.stage == Stage::Pending);
    let told = if measured.is_some() && !passed && !more {
        let message = format!(
            "wave {name} has no nodes any more, and when it was last measured: {why}; a RolloutAction Promote goes on"
        );
        (Phase::Paused, message)
    } else if let Some(why) = analysis.and_then(|one| analysis::cannot_tell(spec, one)) {
        let message = format!("wave {name} was watched long enough and is not done: {why}");
        (Phase::Paused, message)
    } else if measured
        .zip(wave.bake_until.as_ref())
        .is_some_and(|(last, until)| last.0 < waves::seen(round, until.0))
    {
        let message =
            format!("wave {name} was watched long enough and is measured once more; so far: {why}");
        (Phase::Baking, message)
    } else {
        let message = format!("wave {name} was watched long enough and is judged: {why}");
        (Phase::Baking, message)
    };
    if let Some(next) = next {
        outcome.next(next, format!("wave {name} is measured"));
    }
    told
}

fn failed(round: &Round<'_>, outcome: &Outcome) -> (Phase, String) {
    let rolled_back = outcome
        .status
        .waves
        .iter()
        .any(|wave| wave.phase == WavePhase::RolledBack);
    let failed = outcome
        .status
        .waves
        .iter()
        .any(|wave| wave.phase == WavePhase::Failed);
    let why = outcome
        .failure()
        .unwrap_or_else(|| FAILED_BEFORE.to_owned());
    let retry = "a RolloutAction Retry or another spec tries again";
    if !rolled_back {
        let left = if failed {
            "; nodes that work were left as they are"
        } else {
            ""
        };
        (Phase::Stalled, format!("{why}{left}; {retry}"))
    } else if failing::is_back(round, &outcome.status) {
        (
            Phase::RolledBack,
            format!("{why}; nodes were taken back; {retry}"),
        )
    } else {
        (
            Phase::RollingBack,
            format!("{why}; nodes are being taken back"),
        )
    }
}

/// All waves are done; nodes that join later, or that fail, are still looked after.
fn complete(round: &Round<'_>) -> (Phase, String) {
    let mut counts = NodeCounts::default();
    for one in round.standings {
        one.count(&mut counts, true);
    }
    let left = counts.total - counts.updated - counts.excluded;
    if counts.failed > 0 {
        let message = format!("{} of {} nodes failed", counts.failed, counts.total);
        (Phase::Complete, message)
    } else if left > 0 {
        let message = format!(
            "{left} of {} nodes came later and are brought over",
            counts.total
        );
        (Phase::Progressing, message)
    } else {
        let message = format!("{} of {} nodes are over", counts.updated, counts.total);
        (Phase::Complete, message)
    }
}

fn set(round: &Round<'_>, phase: Phase, message: &str, hold: Option<&Hold>, outcome: &mut Outcome) {
    let failed = failing::has_failed(round, &outcome.status);
    let rolled_back = matches!(phase, Phase::RollingBack | Phase::RolledBack);
    let why = outcome.failure();
    let status = &mut outcome.status;
    let nodes_failed = status.nodes.failed > 0;
    let ready = phase == Phase::Complete && !nodes_failed;
    let stalled = matches!(phase, Phase::Stalled | Phase::RolledBack);
    let generation = round.followed.rollout.metadata.generation.unwrap_or(0);
    let now = Time(round.now);
    let all = &mut status.conditions;
    let mut set = |kind, status, reason, message: &str| {
        conditions::set(all, kind, status, reason, message, generation, &now);
    };
    let reason = phase.as_str();
    set(READY, ready, reason, message);
    set(RECONCILING, !ready && !stalled, reason, message);
    set(STALLED, stalled, reason, message);
    set(
        PROGRESSING,
        matches!(phase, Phase::Progressing | Phase::Baking),
        reason,
        message,
    );
    match hold {
        Some(Hold::Paused(why)) => set(PAUSED, true, "Paused", why),
        _ if phase == Phase::Paused => set(PAUSED, true, "Paused", message),
        _ => set(PAUSED, false, "NotPaused", ""),
    }
    if failed {
        set(
            DEGRADED,
            true,
            FAILED,
            why.as_deref().unwrap_or(FAILED_BEFORE),
        );
    } else if nodes_failed {
        let message = format!("{} nodes failed", status.nodes.failed);
        set(DEGRADED, true, "NodesFailed", &message);
    } else {
        set(DEGRADED, false, "AsWanted", "");
    }
    let rolled_back_reason = if rolled_back { reason } else { "NotRolledBack" };
    set(ROLLED_BACK, rolled_back, rolled_back_reason, "");
}
