//! Which of several servers a client's connection is served by.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A choice that is kept, and may be made anew. Requests of one connection that choose at once may
/// choose differently; the last choice stays.
#[derive(Debug)]
pub(crate) struct Lane(AtomicUsize);

impl Default for Lane {
    fn default() -> Self {
        Self(AtomicUsize::new(usize::MAX))
    }
}

impl Lane {
    /// The server's number, once there is one.
    pub(crate) fn chosen(&self) -> Option<usize> {
        Some(self.0.load(Ordering::Relaxed)).filter(|number| *number != usize::MAX)
    }

    /// Keeps a choice.
    pub(crate) fn choose(&self, number: usize) {
        self.0.store(number, Ordering::Relaxed);
    }
}
