//! What is wanted of each node: a cache of NodeStreamings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use kube::runtime::reflector::{ObjectRef, Store, reflector, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use streamway_crds::NodeStreaming;
use streamway_daemon::admin::Condition;

use crate::metrics::Metrics;

/// The cache; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Wishes {
    store: Store<NodeStreaming>,
    filled: Arc<AtomicBool>,
}

impl Wishes {
    /// Begins to watch. `filled` is met once everything was seen; from then on the last that was seen
    /// holds, also while the API server is away.
    pub(crate) fn watch(client: Client, filled: Condition, metrics: Metrics) -> Self {
        let (store, writer) = store();
        let events = watcher(
            Api::<NodeStreaming>::all(client),
            watcher::Config::default(),
        )
        .default_backoff()
        .modify(trim);
        let mut events = reflector(writer, events).boxed();
        let this = Self {
            store,
            filled: Arc::default(),
        };
        let seen = Arc::clone(&this.filled);
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => {
                        metrics.cache_updated(seconds(SystemTime::now()));
                        if matches!(event, watcher::Event::InitDone) {
                            seen.store(true, Ordering::Release);
                            filled.met();
                        }
                    }
                    Err(error) => {
                        metrics.cache_failed();
                        tracing::warn!(%error, "NodeStreamings cannot be watched; the last ones hold");
                    }
                }
            }
        });
        this
    }

    /// What is wanted of the node `name`.
    pub(crate) fn of(&self, name: &str) -> Wish {
        if !self.filled.load(Ordering::Acquire) {
            return Wish::NotKnownYet;
        }
        match self.store.get(&ObjectRef::new(name)) {
            Some(node) => Wish::Known(node),
            None => Wish::None,
        }
    }
}

#[cfg(test)]
impl Default for Wishes {
    /// A cache that is never filled.
    fn default() -> Self {
        let (store, _) = store();
        Self {
            store,
            filled: Arc::default(),
        }
    }
}

/// What the cache says of a node.
#[derive(Debug, Clone)]
pub enum Wish {
    /// The cache is not filled yet.
    NotKnownYet,
    /// There is no NodeStreaming of that name.
    None,
    /// There is one.
    Known(Arc<NodeStreaming>),
}

/// Only the spec is looked at, and there may be thousands.
fn trim(node: &mut NodeStreaming) {
    node.status = None;
    node.metadata.managed_fields = None;
    node.metadata.annotations = None;
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
