//! From SIGTERM to exit, in phases that cut no session that could have ended by itself.
//!
//! ```text
//! Running ──signal──▶ Draining ──delay──▶ Closing ──sessions ended, or grace──▶ Ended
//!    │                    └──────────second signal──────────┬───────────────────▶
//! ```
//!
//! While draining, the process reports not-ready and goes on accepting: whoever balances load needs
//! that long to notice (kube-apiserver's `--shutdown-delay-duration`). While closing it accepts no
//! more; sessions run on. A second signal ends at once.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::exit::ExitError;

/// Where a process is between start and exit, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// Not ready, still accepting.
    Draining,
    /// No new connections and no new requests; open sessions run on.
    Closing,
    /// Everything that is left is cut.
    Ended,
}

/// The process's phase, to wait for and to ask; clones are the same.
#[derive(Debug, Clone)]
pub struct Shutdown {
    phase: watch::Sender<Phase>,
    sessions: TaskTracker,
    delay: Duration,
    grace: Duration,
}

impl Shutdown {
    /// Starts in [`Phase::Running`]. `delay` is the length of [`Phase::Draining`]
    /// (`--shutdown-delay-duration`), `grace` the longest that [`Phase::Closing`] may take
    /// (`--shutdown-grace-period`).
    pub fn new(delay: Duration, grace: Duration) -> Self {
        Self {
            phase: watch::Sender::new(Phase::Running),
            sessions: TaskTracker::new(),
            delay,
            grace,
        }
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Whether new work is wanted: true while [`Phase::Running`].
    pub fn is_ready(&self) -> bool {
        self.phase() == Phase::Running
    }

    /// Waits until `phase` is reached or passed. Cancel safe.
    pub async fn reached(&self, phase: Phase) {
        let mut now = self.phase.subscribe();
        // The sender lives as long as `self`: the wait cannot fail.
        let _ = now.wait_for(|now| *now >= phase).await;
    }

    /// Where sessions are spawned, so that closing waits for them.
    pub fn tracker(&self) -> &TaskTracker {
        &self.sessions
    }

    /// Waits for SIGTERM or SIGINT and goes through the phases; returns when they are
    /// [`Phase::Ended`].
    ///
    /// # Errors
    /// [`ExitError`] (1) where signals cannot be listened to.
    pub async fn on_signals(&self) -> Result<(), ExitError> {
        let failed = |error| {
            ExitError::failure(format_args!(
                "cannot listen for signals: {error}; check seccomp"
            ))
        };
        let mut term = signal(SignalKind::terminate()).map_err(failed)?;
        let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
        let name = either(&mut term, &mut int).await;
        tracing::info!(signal = name, delay = ?self.delay, "draining");
        let again = async {
            let name = either(&mut term, &mut int).await;
            tracing::warn!(
                signal = name,
                open = self.sessions.len(),
                "second signal, ending now"
            );
        };
        self.run(again).await;
        Ok(())
    }

    /// Goes through the phases without a signal; `at_once` cuts them short.
    pub async fn run(&self, at_once: impl Future<Output = ()>) {
        self.advance(Phase::Draining);
        let phases = async {
            tokio::time::sleep(self.delay).await;
            self.advance(Phase::Closing);
            self.sessions.close();
            let open = self.sessions.len();
            tracing::info!(open, grace = ?self.grace, "closing");
            if tokio::time::timeout(self.grace, self.sessions.wait())
                .await
                .is_err()
            {
                let open = self.sessions.len();
                tracing::warn!(open, grace = ?self.grace, "grace period is over, cutting sessions");
            }
        };
        tokio::select! {
            () = phases => {}
            () = at_once => {}
        }
        self.advance(Phase::Ended);
    }

    fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let forward = *now < phase;
            if forward {
                *now = phase;
            }
            forward
        });
    }
}

async fn either(term: &mut Signal, int: &mut Signal) -> &'static str {
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::oneshot;

    use super::*;

    const DELAY: Duration = Duration::from_secs(5);
    const GRACE: Duration = Duration::from_secs(30);

    /// A shutdown whose phases have begun, and the second signal.
    fn begun(shutdown: &Shutdown) -> oneshot::Sender<()> {
        let (again, second) = oneshot::channel();
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            let second = async {
                if second.await.is_err() {
                    pending::<()>().await;
                }
            };
            shutdown.run(second).await;
        });
        again
    }

    #[tokio::test(start_paused = true)]
    async fn phases_come_in_order_and_sessions_are_waited_for() {
        let shutdown = Shutdown::new(DELAY, GRACE);
        let (end, session) = oneshot::channel::<()>();
        shutdown.tracker().spawn(session);
        assert!(shutdown.is_ready());

        let start = tokio::time::Instant::now();
        let _again = begun(&shutdown);
        shutdown.reached(Phase::Draining).await;
        assert_eq!(
            (shutdown.phase(), start.elapsed()),
            (Phase::Draining, Duration::ZERO)
        );
        assert!(!shutdown.is_ready());
        shutdown.reached(Phase::Closing).await;
        assert_eq!((shutdown.phase(), start.elapsed()), (Phase::Closing, DELAY));
        end.send(()).unwrap();
        shutdown.reached(Phase::Ended).await;
        assert!(
            start.elapsed() < DELAY + GRACE,
            "ended with the session, not with the grace"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_grace_period_ends_what_does_not_end_itself() {
        let shutdown = Shutdown::new(DELAY, GRACE);
        shutdown.tracker().spawn(pending::<()>());
        let start = tokio::time::Instant::now();
        let _again = begun(&shutdown);
        shutdown.reached(Phase::Ended).await;
        assert_eq!(start.elapsed(), DELAY + GRACE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_at_once() {
        let shutdown = Shutdown::new(DELAY, GRACE);
        shutdown.tracker().spawn(pending::<()>());
        let start = tokio::time::Instant::now();
        let again = begun(&shutdown);
        shutdown.reached(Phase::Draining).await;
        again.send(()).unwrap();
        shutdown.reached(Phase::Ended).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn without_sessions_and_delay_it_ends_at_once() {
        let shutdown = Shutdown::new(Duration::ZERO, GRACE);
        let start = tokio::time::Instant::now();
        let _again = begun(&shutdown);
        shutdown.reached(Phase::Ended).await;
        // Tokio's timers have a resolution of a millisecond.
        assert!(start.elapsed() <= Duration::from_millis(1));
    }
}
