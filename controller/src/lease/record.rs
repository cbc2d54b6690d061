//! What a candidate makes of a Lease. Pure: the time is an argument.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

/// What a look at the Lease came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// It is ours.
    Hold,
    /// It is this other's.
    Wait(String),
}

/// One who wants the Lease, and what they saw of it.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    duration: Duration,
    seen: Option<(LeaseSpec, Instant)>,
}

impl Candidate {
    pub(super) fn new(identity: String, duration: Duration) -> Self {
        Self {
            identity,
            duration,
            seen: None,
        }
    }

    pub(super) fn identity(&self) -> &str {
        &self.identity
    }

    /// Remembers the Lease, and when it last changed by our own clock.
    pub(super) fn saw(&mut self, spec: Option<&LeaseSpec>, now: Instant) {
        let spec = spec.cloned().unwrap_or_default();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != spec) {
            self.seen = Some((spec, now));
        }
    }

    /// Whether the Lease names us.
    pub(super) fn holds(&self) -> bool {
        self.holder() == Some(&*self.identity)
    }

    /// Who else has it, and has not been silent for its duration.
    pub(super) fn other_holder(&self, now: Instant) -> Option<&str> {
        let (spec, at) = self.seen.as_ref()?;
        let holder = self.holder().filter(|holder| *holder != self.identity)?;
        // The holder's own word on how long it is to be waited for.
        let duration = spec
            .lease_duration_seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(self.duration, Duration::from_secs);
        (now < *at + duration).then_some(holder)
    }

    /// A Lease that nobody had before.
    pub(super) fn first(&self) -> LeaseSpec {
        self.next(None)
    }

    /// The Lease, renewed or taken.
    pub(super) fn next(&self, old: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let old = old.cloned().unwrap_or_default();
        let renewed = old.holder_identity.as_deref() == Some(&self.identity);
        let seconds = i32::try_from(self.duration.as_secs()).unwrap_or(i32::MAX);
        let transitions = old.lease_transitions.unwrap_or(0);
        LeaseSpec {
            acquire_time: if renewed {
                old.acquire_time
            } else {
                Some(now.clone())
            },
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(seconds.max(1)),
            lease_transitions: Some(if renewed {
                transitions
            } else {
                transitions + 1
            }),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }

    /// The Lease, given back: free at once, as client-go writes it.
    pub(super) fn released(&self, old: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            acquire_time: Some(now.clone()),
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            lease_transitions: old.and_then(|old| old.lease_transitions),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }

    fn holder(&self) -> Option<&str> {
        let (spec, _) = self.seen.as_ref()?;
        spec.holder_identity
            .as_deref()
            .filter(|holder| !holder.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    fn candidates() -> (Candidate, Candidate) {
        (
            Candidate::new("a".into(), LEASE),
            Candidate::new("b".into(), LEASE),
        )
    }

    #[test]
    fn a_silent_holder_is_waited_for_by_the_watchers_own_clock() {
        let (a, mut b) = candidates();
        let mut held = a.first();
        // Whatever the holder's clock says.
        held.renew_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
        let start = Instant::now();
        b.saw(Some(&held), start);
        assert_eq!(b.other_holder(start), Some("a"));
        assert_eq!(
            b.other_holder(start + LEASE - Duration::from_millis(1)),
            Some("a")
        );
        // Seen again unchanged: it does not begin anew.
        b.saw(Some(&held), start + Duration::from_secs(10));
        assert_eq!(b.other_holder(start + LEASE), None);
    }

    #[test]
    fn a_renewal_begins_anew() {
        let (a, mut b) = candidates();
        let held = a.first();
        let start = Instant::now();
        b.saw(Some(&held), start);
        let mut renewed = a.next(Some(&held));
        renewed.renew_time = Some(MicroTime(Timestamp::MAX));
        b.saw(Some(&renewed), start + Duration::from_secs(14));
        assert_eq!(b.other_holder(start + LEASE), Some("a"));
        assert_eq!(
            b.other_holder(start + Duration::from_secs(14) + LEASE),
            None
        );
    }

    #[test]
    fn what_is_released_is_free_at_once() {
        let (a, mut b) = candidates();
        let held = a.first();
        let now = Instant::now();
        b.saw(Some(&a.released(Some(&held))), now);
        assert_eq!(b.other_holder(now), None);
    }

    #[test]
    fn a_renewal_keeps_since_when_and_a_change_of_holder_is_counted() {
        let (a, b) = candidates();
        let first = a.first();
        assert_eq!(first.lease_transitions, Some(1));
        assert_eq!(first.lease_duration_seconds, Some(15));
        let renewed = a.next(Some(&first));
        assert_eq!(renewed.acquire_time, first.acquire_time);
        assert_eq!(renewed.lease_transitions, Some(1));
        let taken = b.next(Some(&renewed));
        assert_eq!(taken.lease_transitions, Some(2));
        assert_eq!(taken.holder_identity.as_deref(), Some("b"));
    }

    #[test]
    fn ones_own_lease_is_held_however_old() {
        let (mut a, _) = candidates();
        let now = Instant::now();
        a.saw(Some(&a.first()), now);
        assert!(a.holds());
        assert_eq!(a.other_holder(now + 10 * LEASE), None);
    }
}
