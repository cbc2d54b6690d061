//! Where each node is to be, by where its rollout and its wave are.
//!
//! Read from the rollout's status as it was read back, never from what is written now: a node is begun
//! only in a wave that is known to have begun.

use jiff::Timestamp;
use streamway_crds::{Adopt, Mode, StreamingRolloutStatus, WavePhase};

use super::membership::Followed;
use super::mode;
use super::standing::Standing;
use super::switch::{Goal, On};
use super::view::View;

/// Where a node of a rollout is to be. `begins` when it is its turn.
pub(super) fn goal<'a>(
    view: &View<'a>,
    followed: &'a Followed<'_>,
    standing: &Standing,
    begins: bool,
    now: Timestamp,
) -> Goal<'a> {
    let status = followed.rollout.status.as_ref();
    let phase = status
        .filter(|_| followed.is_adopted())
        .and_then(|status| phase(status, followed, standing.wave));
    if phase == Some(WavePhase::RolledBack) && (view.is_begun() || view.is_off()) {
        return Goal::Off;
    }
    let begun = view.spec.revision.as_deref() == Some(&followed.revision);
    let unfit = standing.mode.as_ref().err();
    if let Some(unfit) = unfit.filter(|_| begun || !view.is_begun() && !view.is_off()) {
        return Goal::Released(Some(unfit.clone()));
    }
    match &standing.mode {
        Ok(mode) if begun || begins => Goal::On(On {
            mode: *mode,
            way: followed.rollout.spec.way,
            revision: &followed.revision,
            retry: phase != Some(WavePhase::Failed),
            mode_until: standing.mode_until,
        }),
        _ => stays(view, followed, phase, now),
    }
}

/// Its turn has not come: it stays where it is.
fn stays<'a>(
    view: &View<'a>,
    followed: &Followed<'_>,
    phase: Option<WavePhase>,
    now: Timestamp,
) -> Goal<'a> {
    if let Some(revision) = view.spec.revision.as_deref() {
        // Over by an older revision, or on its way there; a kubelet that changes is still followed.
        let mode = if view.spec.mode == Some(streamway_crds::NodeMode::Proxied) {
            Mode::Proxied
        } else {
            Mode::Auto
        };
        let mode = if view.has_changed_kind() {
            Mode::Auto
        } else {
            mode
        };
        return match mode::resolve(view, mode, false, now) {
            (Ok(mode), mode_until) => Goal::On(On {
                mode,
                way: view.spec.way,
                revision,
                retry: true,
                mode_until,
            }),
            (Err(unfit), _) => Goal::Released(Some(unfit)),
        };
    }
    if view.is_off() {
        return Goal::Off;
    }
    let resets = followed.rollout.spec.adopt == Adopt::Reset && phase.is_some();
    if resets && view.declared {
        Goal::Off
    } else {
        Goal::Released(None)
    }
}

/// The phase of a wave by its place.
pub(super) fn phase(
    status: &StreamingRolloutStatus,
    followed: &Followed<'_>,
    wave: usize,
) -> Option<WavePhase> {
    let name = &followed.rollout.spec.waves.get(wave)?.name;
    let wave = status.waves.get(wave).filter(|wave| wave.name == *name)?;
    Some(wave.phase)
}
