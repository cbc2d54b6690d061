//! When to ping the upstream, when its silence is death, and when the client is owed a Pong.
//!
//! Never more than SPDY had: client-go's SPDY client pings every 5 s, so at most one ping in 5 s
//! goes upstream, and none while it talks anyway.

use std::time::{Duration, Instant};

/// An upstream that was quiet for so long is pinged (client-go `transport/spdy/spdy.go`: 5 s).
const PING_AFTER: Duration = Duration::from_secs(5);

/// An upstream that answers no ping for so long, and has no reason not to, is dead.
const SILENT_AFTER: Duration = Duration::from_secs(30);

/// client-go gives up after 61 s without a Pong. Its own pings may stand behind an upload that the
/// upstream does not take, so it gets a Pong unasked when it had none for so long.
const PONG_AFTER: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct Heartbeat {
    last_heard: Instant,
    /// When a ping was last sent, or was due and could not be sent.
    last_try: Instant,
    last_ping: Option<Ping>,
    /// When the first ping since something was heard went out.
    unanswered_since: Option<Instant>,
    last_pong: Instant,
    /// Content bytes given to the upstream, ever.
    sent: u64,
    /// As much of `sent` as the upstream's reader has certainly passed: a pong came for a ping that
    /// was sent after it. While this is behind, a consumer that stalls may hold up the reader.
    passed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Ping {
    id: u32,
    sent: u64,
}

impl Heartbeat {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last_heard: now,
            last_try: now,
            last_ping: None,
            unanswered_since: None,
            last_pong: now,
            sent: 0,
            passed: 0,
        }
    }

    pub(super) fn due(&self) -> Instant {
        (self.last_pong + PONG_AFTER).min(self.next_ping())
    }

    fn next_ping(&self) -> Instant {
        self.last_heard.max(self.last_try) + PING_AFTER
    }

    pub(super) fn note_heard(&mut self, now: Instant) {
        self.last_heard = now;
        self.unanswered_since = None;
    }

    pub(super) fn note_sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    pub(super) fn note_ping(&mut self, id: u32, now: Instant) {
        self.last_ping = Some(Ping {
            id,
            sent: self.sent,
        });
        self.unanswered_since.get_or_insert(now);
    }

    pub(super) fn note_upstream_pong(&mut self, id: u32) {
        if let Some(ping) = self.last_ping.filter(|ping| ping.id == id) {
            self.passed = ping.sent;
        }
    }

    pub(super) fn note_client_ping(&mut self, now: Instant) {
        self.last_pong = now;
    }

    /// Whether a Pong is due now; if so it counts as sent.
    pub(super) fn pong_due(&mut self, now: Instant) -> bool {
        let due = now >= self.last_pong + PONG_AFTER;
        if due {
            self.last_pong = now;
        }
        due
    }

    /// Whether a ping is due now; if so it counts as tried.
    pub(super) fn ping_due(&mut self, now: Instant) -> bool {
        let due = now >= self.next_ping();
        if due {
            self.last_try = now;
        }
        due
    }

    pub(super) fn upstream_is_silent(&self, now: Instant) -> bool {
        let caught_up = self.passed == self.sent;
        caught_up
            && self
                .unanswered_since
                .is_some_and(|since| now >= since + SILENT_AFTER)
    }
}
