//! Named conditions that all have to be met before a process is ready.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The conditions of a process; clones are the same.
///
/// Ready means that every condition is met. A process without conditions is ready.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<BTreeMap<&'static str, Option<String>>>>,
    changed: Arc<watch::Sender<()>>,
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

    /// Waits until every condition is met. Cancel safe.
    pub async fn ready(&self) {
        let mut changes = self.changes();
        // The sender lives as long as `self`: the wait cannot fail.
        while !self.is_ready() && changes.changed().await.is_ok() {}
    }

    /// Tells that a condition changed, from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn set(&self, name: &'static str, failure: Option<String>) {
        let before = self.lock().insert(name, failure.clone());
        if before != Some(failure) {
            self.changed.send_replace(());
        }
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
        self.readiness.set(self.name, None);
    }

    /// The condition is not met, because of `reason`.
    pub fn unmet(&self, reason: impl Into<String>) {
        self.readiness.set(self.name, Some(reason.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn changes_are_told() {
        let readiness = Readiness::new();
        readiness.ready().await;
        let kubelet = readiness.condition("kubelet");
        let mut changes = readiness.changes();
        kubelet.unmet("not yet");
        assert!(!changes.has_changed().unwrap(), "nothing did change");
        let (ready, ()) = tokio::join!(
            async {
                readiness.ready().await;
                readiness.is_ready()
            },
            async { kubelet.met() }
        );
        assert!(ready);
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
    }

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
