//! Where each node of a rollout stands, and how many stand where.

use jiff::Timestamp;
use streamway_crds::{NodeCounts, NodeMode, NodeState, ProbeResult};

use super::faults;
use super::membership::{Followed, Member};
use super::mode::{self, Unfit};
use super::view::View;

/// A node in its rollout.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) node: usize,
    pub(super) wave: usize,
    pub(super) stage: Stage,
    /// The mode that it is to have, or why it can have none.
    pub(super) mode: Result<NodeMode, Unfit>,
    /// When `mode` may become another by time alone.
    pub(super) mode_until: Option<Timestamp>,
    /// On its way, or not ready for any other reason.
    pub(super) unavailable: bool,
    /// Over, the Node Ready, and its last sessions worked.
    pub(super) ready: bool,
}

/// How far a node is with the present revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not begun, and it could be.
    Pending,
    /// Not begun, for a reason that passes.
    Waits(Unfit),
    /// Not begun, since it cannot take its mode.
    Excluded,
    OnTheWay,
    Over,
    /// Failed; with why, if its sessions did not work.
    Failed(Option<String>),
}

impl Standing {
    pub(super) fn of(
        view: &View<'_>,
        member: Member,
        followed: &Followed<'_>,
        now: Timestamp,
    ) -> Self {
        let spec = &followed.rollout.spec;
        let begun = view.spec.revision.as_deref() == Some(&followed.revision);
        let (mode, mode_until) = mode::resolve(view, spec.mode, !begun, now);
        let stage = if begun && mode.is_ok() {
            stage_of_begun(view)
        } else {
            match &mode {
                Err(_) => Stage::Excluded,
                Ok(mode) => mode::hindrance(view, *mode, spec.analysis.prober.enabled)
                    .map_or(Stage::Pending, Stage::Waits),
            }
        };
        let over = stage == Stage::Over;
        let moves = matches!(
            view.state(),
            NodeState::TurningOn | NodeState::TurningOff | NodeState::Failed
        );
        let up = view.is_ready();
        let probe = view.status.last_probe.as_ref();
        let works = probe.is_none_or(|probe| probe.result != ProbeResult::Failed);
        Self {
            node: member.node,
            wave: member.wave,
            mode,
            mode_until,
            unavailable: !up || moves || matches!(stage, Stage::OnTheWay | Stage::Failed(_)),
            ready: over && up && works,
            stage,
        }
    }

    /// Begun with the present revision.
    pub(super) fn is_begun(&self) -> bool {
        matches!(self.stage, Stage::OnTheWay | Stage::Over | Stage::Failed(_))
    }

    /// Adds it to counts; `left_out` when its wave no longer waits for it.
    pub(super) fn count(&self, counts: &mut NodeCounts, left_out: bool) {
        counts.total += 1;
        counts.updated += i32::from(self.stage == Stage::Over);
        counts.ready += i32::from(self.ready);
        counts.failed += i32::from(matches!(self.stage, Stage::Failed(_)));
        counts.unavailable += i32::from(self.unavailable);
        counts.excluded += i32::from(match self.stage {
            Stage::Excluded => true,
            Stage::Waits(_) => left_out,
            _ => false,
        });
    }
}

fn stage_of_begun(view: &View<'_>) -> Stage {
    if view.state() == NodeState::Failed {
        let (reason, why) = faults::last(view);
        Stage::Failed((reason == faults::PROBE_FAILED).then(|| why.to_owned()))
    } else if view.is_over() {
        Stage::Over
    } else {
        Stage::OnTheWay
    }
}
