//! One step of one rollout: what its waves do, and what its status says.
//!
//! ```text
//!            approved, in a window           all over             watched long enough
//! Pending ──────────────────▶ Progressing ──────────▶ Baking ──────────────────────▶ Complete
//!    ▲                             │ failed              │ failed
//!    │ Retry                       ▼                     ▼
//!    └──────────── Failed (onFailure: Pause) or RolledBack
//! ```
//!
//! A wave begins only when all before it are Complete. Where it is is in the status and nowhere else.

mod conditions;
mod failing;
mod verbs;
mod waves;

use std::collections::HashSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use streamway_crds::{
    Approval, NextTransition, RolloutAction, StreamingRolloutStatus, WavePhase, WaveStatus,
};

use super::actions::Event;
use super::calendar::Gate;
use super::membership::Followed;
use super::observed::Measured;
use super::standing::Standing;
use super::view::View;

pub(super) use verbs::{Answer, oldest_unanswered};

/// What a rollout's step is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round<'a> {
    pub(super) followed: &'a Followed<'a>,
    pub(super) views: &'a [View<'a>],
    pub(super) standings: &'a [Standing],
    pub(super) measured: Option<&'a Measured>,
    /// Its oldest action that was not answered.
    pub(super) action: Option<&'a RolloutAction>,
    /// Why nothing at all can be begun in this cluster, and whether that passes by itself.
    pub(super) obstacle: Option<(&'a str, bool)>,
    /// Whether every Node has a NodeStreaming.
    pub(super) all_nodes_known: bool,
    pub(super) now: Timestamp,
}

/// What comes of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) status: StreamingRolloutStatus,
    pub(super) events: Vec<Event>,
    pub(super) answer: Option<Answer>,
    /// The nodes whose turn it is, by their places among the views.
    pub(super) begins: HashSet<usize>,
    pub(super) wake: Option<Timestamp>,
    /// Why the revision failed, if it did so in this step.
    failure: Option<String>,
}

/// What holds a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hold {
    Paused(String),
    Window(Option<Timestamp>, String),
    /// Nothing can be begun in this cluster now; whether that passes by itself.
    Obstacle(String, bool),
    /// The spec cannot be followed.
    Spec(String),
}

/// The next step.
pub(super) fn advance(round: &Round<'_>) -> Outcome {
    let mut outcome = Outcome {
        status: round.followed.rollout.status.clone().unwrap_or_default(),
        ..Outcome::default()
    };
    outcome.status.observed_generation = round.followed.rollout.metadata.generation;
    if !round.followed.is_adopted() {
        adopt(round, &mut outcome);
        return outcome;
    }
    verbs::carry_out(round, &mut outcome);
    let hold = hold(round, &mut outcome);
    if failing::has_failed(round, &outcome.status) {
        failing::advance(round, &mut outcome);
    } else {
        waves::advance(round, hold.as_ref(), &mut outcome);
    }
    if hold.is_none() {
        outcome.begins = begins(round);
    }
    conditions::describe(round, hold.as_ref(), &mut outcome);
    outcome
}

/// A revision is followed once every node's wave is written down: until then nothing is begun, and
/// whoever takes over places the nodes alike.
fn adopt(round: &Round<'_>, outcome: &mut Outcome) {
    let followed = round.followed;
    let waves = &followed.rollout.spec.waves;
    let placed = followed.members.iter().all(|member| {
        let spec = round.views.get(member.node).map(|view| view.spec);
        let wave = waves.get(member.wave).map(|wave| wave.name.as_str());
        spec.is_some_and(|spec| {
            spec.rollout.as_deref() == Some(followed.name) && spec.wave.as_deref() == wave
        })
    });
    if placed && round.all_nodes_known {
        let status = &mut outcome.status;
        status.revision = Some(followed.revision.clone());
        status.analysis = None;
        status.waves = waves
            .iter()
            .map(|wave| WaveStatus {
                name: wave.name.clone(),
                phase: WavePhase::Pending,
                nodes: Default::default(),
                approved: wave.approval == Approval::Automatic,
                started_at: None,
                progressed_at: None,
                bake_until: None,
                completed_at: None,
            })
            .collect();
        outcome.events.push(Event {
            warning: false,
            reason: "RevisionAdopted",
            message: format!("nodes are brought to revision {}", followed.revision),
        });
    }
    conditions::describe(round, None, outcome);
}

/// What keeps further nodes from being begun now.
fn hold(round: &Round<'_>, outcome: &mut Outcome) -> Option<Hold> {
    let spec = &round.followed.rollout.spec;
    let gate = match super::calendar::gate(&spec.windows, &spec.blackouts, round.now) {
        Ok(gate) => gate,
        Err(error) => return Some(Hold::Spec(format!("windows and blackouts: {error}"))),
    };
    if let Gate::Open(Some(time)) | Gate::Closed(Some(time), _) = gate {
        outcome.wakes(time);
    }
    let status = &outcome.status;
    let analysis = status.analysis.as_ref();
    if let Some((why, passes)) = round.obstacle {
        Some(Hold::Obstacle(why.to_owned(), passes))
    } else if spec.paused {
        Some(Hold::Paused("the spec says paused".to_owned()))
    } else if status.paused_by_action {
        Some(Hold::Paused(
            "a RolloutAction Pause holds it; Resume lets it go on".to_owned(),
        ))
    } else if let Some(why) =
        analysis.and_then(|analysis| super::analysis::cannot_tell(&spec.analysis, analysis))
    {
        Some(Hold::Paused(why))
    } else if let Gate::Closed(until, why) = gate {
        Some(Hold::Window(until, why))
    } else {
        None
    }
}

/// The nodes whose turn it is: in waves that have begun, as many as may be unavailable.
fn begins(round: &Round<'_>) -> HashSet<usize> {
    use super::standing::Stage;
    let followed = round.followed;
    let Some(status) = &followed.rollout.status else {
        return HashSet::new();
    };
    let mut begins = HashSet::new();
    if failing::has_failed(round, status) {
        return begins;
    }
    for (index, wave) in followed.rollout.spec.waves.iter().enumerate() {
        let phase = super::goals::phase(status, followed, index);
        if !matches!(
            phase,
            Some(WavePhase::Progressing | WavePhase::Baking | WavePhase::Complete)
        ) {
            continue;
        }
        let writing = |one: &Standing| {
            round
                .views
                .get(one.node)
                .is_some_and(|view| view.seen.writing)
        };
        let members = || round.standings.iter().filter(|one| one.wave == index);
        let unavailable = members()
            .filter(|one| one.unavailable || writing(one))
            .count();
        let room = wave
            .max_unavailable
            .of(members().count())
            .saturating_sub(unavailable);
        let pending = || members().filter(|one| one.stage == Stage::Pending && !writing(one));
        let standing = pending().filter(|one| !one.unavailable).take(room);
        // One that is on its way already, by an older revision or back, makes no further one unavailable.
        let moving = pending().filter(|one| one.unavailable);
        begins.extend(standing.chain(moving).map(|one| one.node));
    }
    begins
}

impl Outcome {
    fn wakes(&mut self, time: Timestamp) {
        self.wake = Some(self.wake.map_or(time, |other| other.min(time)));
    }

    fn tells(&mut self, warning: bool, reason: &'static str, message: String) {
        self.events.push(Event {
            warning,
            reason,
            message,
        });
    }

    fn fails(&mut self, why: String) {
        self.failure = Some(why);
    }

    fn next(&mut self, time: Timestamp, what: String) {
        self.wakes(time);
        self.status.next = Some(NextTransition {
            time: Time(time),
            what,
        });
    }
}
