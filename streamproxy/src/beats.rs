//! Whether the threads that serve still do: each says so four times a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a thread says that it lives.
const EVERY: Duration = Duration::from_millis(250);

/// A thread that has not said so for this long does not serve.
const STALE_MS: u64 = 1200;

/// What the threads of a process said last. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Beats {
    since: Instant,
    /// By thread, milliseconds after `since`.
    threads: Arc<Mutex<Vec<Arc<AtomicU64>>>>,
}

impl Beats {
    /// No threads.
    pub(crate) fn new() -> Self {
        Self {
            since: Instant::now(),
            threads: Arc::default(),
        }
    }

    /// Adds a thread: it lives as long as its runtime goes on with this.
    pub(crate) fn thread(&self) -> impl Future<Output = ()> + Send + use<> {
        let (beats, last) = (self.clone(), Arc::new(AtomicU64::new(self.now())));
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.push(Arc::clone(&last));
        async move {
            loop {
                last.store(beats.now(), Ordering::Relaxed);
                tokio::time::sleep(EVERY).await;
            }
        }
    }

    /// Whether there are threads and all of them live.
    pub(crate) fn are_fresh(&self) -> bool {
        let now = self.now();
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh =
            |last: &Arc<AtomicU64>| now.saturating_sub(last.load(Ordering::Relaxed)) < STALE_MS;
        !threads.is_empty() && threads.iter().all(fresh)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
