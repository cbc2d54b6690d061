//! Conditions as kstatus reads them, which is what Flux, Argo CD and `kubectl wait` go by.
//!
//! A rollout that is done is `Ready=True`; while it works it is `Reconciling=True`; when it needs
//! somebody it is `Stalled=True`. Never are two of the three true at once.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// All is as the spec says.
pub const READY: &str = "Ready";
/// On the way there.
pub const RECONCILING: &str = "Reconciling";
/// Not on the way there, and will not be without somebody's doing.
pub const STALLED: &str = "Stalled";
/// A wave is being brought over, or bakes.
pub const PROGRESSING: &str = "Progressing";
/// Paused, by spec or by an action.
pub const PAUSED: &str = "Paused";
/// Some nodes are not as wanted; which, the message says.
pub const DEGRADED: &str = "Degraded";
/// Nodes were taken back.
pub const ROLLED_BACK: &str = "RolledBack";
/// Of a NodeStreaming: its node can take the mode that is wanted; if not, the reason says why.
pub const ELIGIBLE: &str = "Eligible";
/// Of a NodeStreaming: real sessions through the API server work.
pub const PROBED: &str = "Probed";

/// Set one condition: its transition time moves only when its status does, as kstatus wants it.
///
/// ```
/// use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
/// use streamway_crds::conditions::{self, READY};
/// let mut all = Vec::new();
/// let (first, later) = (Time("2026-01-01T00:00:00Z".parse()?), Time("2026-01-02T00:00:00Z".parse()?));
/// conditions::set(&mut all, READY, false, "Waiting", "wave 1 bakes", 1, &first);
/// conditions::set(&mut all, READY, false, "Waiting", "wave 2 bakes", 1, &later);
/// assert_eq!(all[0].last_transition_time, first);
/// conditions::set(&mut all, READY, true, "Complete", "all nodes are over", 1, &later);
/// assert_eq!(all[0].last_transition_time, later);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn set(
    conditions: &mut Vec<Condition>,
    kind: &str,
    status: bool,
    reason: &str,
    message: &str,
    generation: i64,
    now: &Time,
) {
    let status = if status { "True" } else { "False" };
    let mut next = Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: Some(generation),
        last_transition_time: now.clone(),
    };
    match conditions
        .iter_mut()
        .find(|condition| condition.type_ == kind)
    {
        Some(old) => {
            if old.status == next.status {
                next.last_transition_time = old.last_transition_time.clone();
            }
            *old = next;
        }
        None => conditions.push(next),
    }
}

/// Whether a condition is there and true.
#[must_use]
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    conditions
        .iter()
        .any(|condition| condition.type_ == kind && condition.status == "True")
}
