//! When to read a client whose bytes the upstream does not take.
//!
//! A client's write has 60 s (client-go, `tools/remotecommand/websocket.go`): reading that stops
//! altogether ends an upload whose consumer merely pauses. So reading goes on in steps until the
//! session's budget is full, and the steps grow rarer as it fills.

use std::time::{Duration, Instant};

/// What a session may hold for an upstream that does not take it: 1 MiB.
pub const BUDGET: usize = 1 << 20;

/// One read: 64 KiB, which also is what loopback's TCP wants freed before it opens its window again.
pub const READ: usize = 64 << 10;

/// Pause between two reads while bytes wait. 15 steps of 20 s fill the budget in five minutes, and
/// every pause is well inside the client's 60 s.
pub const TRICKLE: Duration = Duration::from_secs(20);

/// Whether a leg may be read now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Permit {
    /// Up to so many bytes.
    Read(usize),
    /// Not before this time.
    Wait(Instant),
    /// Not until something has been written.
    Full,
}

/// The rule for one client.
#[derive(Debug, Clone, Copy)]
pub struct Trickle {
    last_read: Option<Instant>,
}

impl Trickle {
    /// A client that was never read.
    pub fn new() -> Self {
        Self { last_read: None }
    }

    /// Notes a read.
    pub fn note_read(&mut self, now: Instant) {
        self.last_read = Some(now);
    }

    /// `held` bytes of the client wait in its buffer for the upstream.
    pub fn permit(&self, held: usize, now: Instant) -> Permit {
        if held == 0 {
            return Permit::Read(READ);
        }
        let room = BUDGET.saturating_sub(held);
        if room == 0 {
            return Permit::Full;
        }
        match self.last_read.map(|at| at + TRICKLE) {
            Some(due) if due > now => Permit::Wait(due),
            _ => Permit::Read(room.min(READ)),
        }
    }
}

impl Default for Trickle {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch() -> Instant {
        // The one place in this crate's tests where a clock is read: an Instant has no constant.
        #[allow(clippy::disallowed_methods)]
        Instant::now()
    }

    #[test]
    fn a_stalled_upload_is_read_in_steps_for_five_minutes() {
        let start = epoch();
        let mut trickle = Trickle::new();
        let (mut held, mut now, mut steps) = (0, start, 0);
        loop {
            match trickle.permit(held, now) {
                Permit::Read(bytes) => {
                    held += bytes;
                    trickle.note_read(now);
                    steps += 1;
                }
                Permit::Wait(due) => {
                    assert!(
                        due - now <= Duration::from_secs(30),
                        "a client's write has 60 s"
                    );
                    now = due;
                }
                Permit::Full => break,
            }
        }
        assert_eq!(held, BUDGET);
        assert_eq!(steps, BUDGET / READ);
        assert!(now - start >= Duration::from_secs(280));
    }

    #[test]
    fn a_flowing_upload_is_read_at_once() {
        let now = epoch();
        let mut trickle = Trickle::new();
        trickle.note_read(now);
        assert_eq!(trickle.permit(0, now), Permit::Read(READ));
    }
}
