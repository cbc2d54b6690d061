//! Which write is next. Pure: the time is an argument.
//!
//! A plan is made of the whole cluster each time, so what an older plan still had to write is dropped
//! when a newer one is made. One object is written by one write at a time; what failed is left alone
//! for a while, longer each time.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// After a first failure.
const FIRST: Duration = Duration::from_millis(500);

/// However often it failed.
const LONGEST: Duration = Duration::from_secs(30);

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done.
    Settled,
    /// Somebody else was there first, and the next plan sees what they did.
    Overtaken,
    /// It failed, and may fail again.
    Failed,
}

/// Writes to come, under way, and to be left alone for now.
#[derive(Debug)]
pub(crate) struct Queue<K, W> {
    limit: usize,
    pending: VecDeque<(K, W)>,
    under_way: HashSet<K>,
    failed: HashMap<K, Failed>,
}

#[derive(Debug, Clone, Copy)]
struct Failed {
    times: u32,
    until: Instant,
}

impl<K: Clone + Eq + Hash, W> Queue<K, W> {
    /// At most `limit` under way at once.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            pending: VecDeque::new(),
            under_way: HashSet::new(),
            failed: HashMap::new(),
        }
    }

    /// A new plan's writes, most urgent first. What is under way is planned again by the plan that
    /// sees its end.
    pub(crate) fn plan(&mut self, writes: impl IntoIterator<Item = (K, W)>, now: Instant) {
        self.failed
            .retain(|_, failed| now < failed.until + 2 * LONGEST);
        self.pending = writes
            .into_iter()
            .filter(|(key, _)| !self.under_way.contains(key) && !self.is_held(key, now))
            .collect();
    }

    /// The next write to begin, if one may.
    pub(crate) fn begin(&mut self) -> Option<(K, W)> {
        if self.under_way.len() >= self.limit {
            return None;
        }
        // Of two writes of one object the second waits for the plan that sees the first.
        let (key, write) = loop {
            let (key, write) = self.pending.pop_front()?;
            if !self.under_way.contains(&key) {
                break (key, write);
            }
        };
        self.under_way.insert(key.clone());
        Some((key, write))
    }

    /// A write came to its end. What was planned for the object before is out of date.
    pub(crate) fn end(&mut self, key: &K, outcome: Outcome, now: Instant) {
        self.under_way.remove(key);
        self.pending.retain(|(pending, _)| pending != key);
        match outcome {
            Outcome::Settled => {
                self.failed.remove(key);
            }
            Outcome::Overtaken | Outcome::Failed => {
                let times = self.failed.get(key).map_or(0, |failed| failed.times);
                // Being overtaken once is nobody's fault, and costs no time.
                let wait = if outcome == Outcome::Overtaken && times == 0 {
                    Duration::ZERO
                } else {
                    FIRST.saturating_mul(1 << times.min(10)).min(LONGEST)
                };
                let failed = Failed {
                    times: times + 1,
                    until: now + wait,
                };
                self.failed.insert(key.clone(), failed);
            }
        }
    }

    /// Whether a write about it is under way.
    pub(crate) fn is_under_way(&self, key: &K) -> bool {
        self.under_way.contains(key)
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// When something that failed may be tried again.
    pub(crate) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let waits = self.failed.values().map(|failed| failed.until);
        waits.filter(|until| *until > now).min()
    }

    fn is_held(&self, key: &K, now: Instant) -> bool {
        self.failed
            .get(key)
            .is_some_and(|failed| now < failed.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(queue: &mut Queue<&'static str, u8>) -> Vec<(&'static str, u8)> {
        std::iter::from_fn(|| queue.begin()).collect()
    }

    #[test]
    fn so_many_at_once_in_order() {
        let (mut queue, now) = (Queue::new(2), Instant::now());
        queue.plan([("a", 1), ("b", 1), ("c", 1)], now);
        assert_eq!(begun(&mut queue), [("a", 1), ("b", 1)]);
        queue.end(&"a", Outcome::Settled, now);
        assert_eq!(begun(&mut queue), [("c", 1)]);
        queue.end(&"b", Outcome::Settled, now);
        queue.end(&"c", Outcome::Settled, now);
        assert!(queue.is_idle());
    }

    #[test]
    fn a_newer_plan_takes_the_older_ones_place() {
        let (mut queue, now) = (Queue::new(1), Instant::now());
        queue.plan([("a", 1), ("b", 1)], now);
        assert_eq!(begun(&mut queue), [("a", 1)]);
        // Made before the end of a's write was seen: a's is out of date, b's is the newer one.
        queue.plan([("a", 2), ("b", 2)], now);
        queue.end(&"a", Outcome::Settled, now);
        assert_eq!(begun(&mut queue), [("b", 2)]);
    }

    #[test]
    fn one_object_is_written_once_for_each_plan() {
        let (mut queue, now) = (Queue::new(4), Instant::now());
        queue.plan([("a", 1), ("a", 2)], now);
        assert_eq!(begun(&mut queue), [("a", 1)]);
        queue.end(&"a", Outcome::Settled, now);
        assert_eq!(begun(&mut queue), []);
    }

    #[test]
    fn who_is_overtaken_waits_from_the_second_time_on() {
        let (mut queue, now) = (Queue::new(1), Instant::now());
        for (times, held) in [(1, false), (2, true)] {
            queue.plan([("a", 1)], now);
            assert_eq!(begun(&mut queue), [("a", 1)]);
            queue.end(&"a", Outcome::Overtaken, now);
            assert_eq!(queue.wake_at(now).is_some(), held, "{times}");
        }
    }

    #[test]
    fn what_failed_waits_longer_each_time() {
        let (mut queue, mut now) = (Queue::new(1), Instant::now());
        for wait in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            queue.plan([("a", 1)], now);
            assert_eq!(begun(&mut queue), [("a", 1)]);
            queue.end(&"a", Outcome::Failed, now);
            let until = now + Duration::from_millis(wait);
            assert_eq!(queue.wake_at(now), Some(until));
            queue.plan([("a", 1)], until - Duration::from_millis(1));
            assert_eq!(begun(&mut queue), []);
            now = until;
        }
        queue.plan([("a", 1)], now);
        assert_eq!(begun(&mut queue), [("a", 1)]);
        queue.end(&"a", Outcome::Settled, now);
        assert_eq!(queue.wake_at(now), None);
    }
}
