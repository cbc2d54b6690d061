//! Pauses between tries, and other chances.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Pauses that double, each up to a half longer by chance: agents that lost the same API server do not
/// come back to it together.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// From `first` to `most`, chance not counted.
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            next: first,
        }
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }

    /// Waits. Cancel safe, but for the doubling.
    pub(super) async fn pause(&mut self) {
        let pause = self.next.mul_f64(1.0 + chance() / 2.0);
        self.next = (self.next * 2).min(self.most);
        tokio::time::sleep(pause).await;
    }
}

/// A number from 0 to 1, another each time. Not for secrets.
pub(super) fn chance() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 32;
    // 32 bits: exact.
    #[allow(clippy::cast_precision_loss)]
    let number = bits as f64;
    number / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_a_most() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(3));
        for wanted in [1, 2, 3, 3] {
            let start = tokio::time::Instant::now();
            backoff.pause().await;
            let (paused, wanted) = (start.elapsed(), Duration::from_secs(wanted));
            assert!(
                paused >= wanted && paused <= wanted * 3 / 2 + Duration::from_millis(1),
                "{paused:?}"
            );
        }
        backoff.reset();
        assert_eq!(backoff.next, Duration::from_secs(1));
        let chances: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(chances.iter().all(|chance| (0.0..=1.0).contains(chance)));
        assert!(chances.iter().any(|chance| *chance < 0.5));
        assert!(chances.iter().any(|chance| *chance > 0.5));
    }
}
