//! When sessions are tried, and on which nodes first.

use jiff::{SignedDuration, Timestamp};
use streamway_crds::{NodeState, ProbeResult, Prober};

use super::actions::{Plan, ProbeOrder};
use super::view::View;

/// So many are ordered at once in the whole cluster, so that a node that has just been switched does not
/// wait behind thousands that have long been over.
const AT_ONCE: usize = 64;

/// After a probe that failed, or could not be made.
const AGAIN: SignedDuration = SignedDuration::from_secs(2);

/// Probes that are due, to be put in order.
#[derive(Debug, Default)]
pub(super) struct Due {
    running: usize,
    /// Those that are waited for first, then by when they became due.
    orders: Vec<((bool, Timestamp), ProbeOrder)>,
}

impl Due {
    /// Counts what is under way.
    pub(super) fn count_running(&mut self, view: &View<'_>) {
        self.running += usize::from(view.seen.probes.running);
    }

    /// A node whose sessions are to be tried every so often, and now if its switches are not proved.
    pub(super) fn add(
        &mut self,
        view: &View<'_>,
        prober: &Prober,
        now: Timestamp,
        plan: &mut Plan,
    ) {
        let Some(pod) = view.ready_pod().filter(|_| !view.seen.probes.running) else {
            return;
        };
        let due = due(view, prober);
        if now < due {
            return plan.wake(due);
        }
        let settled = view.state() == NodeState::On && view.is_over();
        let order = ProbeOrder {
            node: view.name.to_owned(),
            pod: pod.to_owned(),
            generation: view.generation(),
            timeout: prober.timeout.get(),
        };
        self.orders.push(((settled, due), order));
    }

    /// Orders what there is room for.
    pub(super) fn order(mut self, plan: &mut Plan) {
        self.orders.sort_by_key(|(urgency, _)| *urgency);
        let room = AT_ONCE.saturating_sub(self.running);
        let orders = self.orders.into_iter().take(room);
        plan.probes = orders.map(|(_, order)| order).collect();
    }
}

fn due(view: &View<'_>, prober: &Prober) -> Timestamp {
    let last = view.seen.probes.last.as_ref();
    let Some(last) = last.filter(|last| last.generation == view.generation()) else {
        return Timestamp::MIN;
    };
    let interval = SignedDuration::try_from(prober.interval.get()).unwrap_or(SignedDuration::MAX);
    let pause = match last.result.result {
        ProbeResult::Passed => interval,
        ProbeResult::Failed | ProbeResult::Error => interval.min(AGAIN),
    };
    last.result
        .time
        .0
        .saturating_add(pause)
        .unwrap_or(Timestamp::MAX)
}
