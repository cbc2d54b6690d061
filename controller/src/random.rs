//! Numbers that nobody else has, for names, nonces and jitter. Not for secrets.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// 64 bits.
pub(crate) fn number() -> u64 {
    // Its keys come from the operating system, and differ each time.
    RandomState::new().hash_one(())
}

/// `period`, or up to a fifth more: client-go's JitterFactor of 1.2, so that several do not ask in
/// step.
pub(crate) fn jittered(period: Duration) -> Duration {
    let thousandth = u32::try_from(number() % 200).unwrap_or_default();
    period + period * thousandth / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_a_fifth_at_most() {
        let period = Duration::from_secs(10);
        for _ in 0..1000 {
            let jittered = jittered(period);
            assert!(
                (period..Duration::from_secs(12)).contains(&jittered),
                "{jittered:?}"
            );
        }
    }
}
