//! Named conditions that all have to be met before a process is ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The conditions of a process; clones are the same.
///
/// Ready means that every condition is met. A process without conditions is ready.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<BTreeMap<&'static str, Option<String>>>>,
}

impl Readiness {
    /// No conditions: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition that is not met yet. A second one of the same name takes the first's place.
    pub fn condition(&self, name: &'static str) -> Condition {
        let condition = Condition {
            name,
            readiness: self.clone(),
        };
        condition.unmet("not yet");
        condition
    }

    /// Whether every condition is met.
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(Option::is_none)
    }

    /// Every condition by name, with the reason where it is not met.
    pub fn checks(&self) -> Vec<(&'static str, Option<String>)> {
        self.lock()
            .iter()
            .map(|(name, failure)| (*name, failure.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Option<String>>> {
        // Nothing panics while it is held, and a map is whole between calls.
        self.conditions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// One condition, held by whoever knows whether it is met.
#[derive(Debug, Clone)]
pub struct Condition {
    name: &'static str,
    readiness: Readiness,
}

impl Condition {
    /// The condition is met.
    pub fn met(&self) {
        self.readiness.lock().insert(self.name, None);
    }

    /// The condition is not met, because of `reason`.
    pub fn unmet(&self, reason: impl Into<String>) {
        self.readiness.lock().insert(self.name, Some(reason.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_all_are_met() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let (listener, kubelet) = (
            readiness.condition("listener"),
            readiness.condition("kubelet"),
        );
        listener.met();
        assert!(!readiness.is_ready());
        kubelet.met();
        assert!(readiness.is_ready());
        listener.clone().unmet("draining");
        assert!(!readiness.is_ready());
        let failed = ("listener", Some("draining".to_owned()));
        assert_eq!(readiness.checks(), [("kubelet", None), failed]);
    }
}
