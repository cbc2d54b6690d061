//! Leader election by a Lease, as `client-go@v0.36.3/tools/leaderelection` does it: one holder acts,
//! renews, and stops acting before anybody else may begin.
//!
//! ```text
//! candidate ──got it──▶ leader ──told to stop──▶ released
//!     ▲ │                  └──no renewal for the deadline, or another holds it──▶ lost: the process ends
//!     └─┘ each retry period
//! ```
//!
//! No clock is compared with another machine's: a Lease is free once it did not change for its
//! duration, by the watcher's own clock.

mod record;

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::random;
use record::{Candidate, Wish};

/// The times of an election.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// How long a holder that says nothing keeps the Lease.
    pub(crate) lease: Duration,
    /// How long the holder tries to renew.
    pub(crate) deadline: Duration,
    /// Between two tries.
    pub(crate) retry: Duration,
}

/// The Lease was lost: whoever acts on it must stop at once.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// Nothing was heard for the deadline.
    #[error("the Lease could not be renewed for {0:?}: {1}")]
    Silence(Duration, String),
    /// It is another's.
    #[error("the Lease was taken by {0}")]
    Taken(String),
}

/// One who wants to lead.
#[derive(Debug)]
pub(crate) struct Election {
    leases: Api<Lease>,
    name: String,
    times: Times,
    candidate: Candidate,
    leading: watch::Sender<bool>,
}

impl Election {
    /// Of the Lease `name`, under an identity that nobody else has.
    pub(crate) fn new(
        client: &Client,
        (namespace, name): (&str, &str),
        identity: String,
        times: Times,
    ) -> Self {
        Self {
            leases: Api::namespaced(client.clone(), namespace),
            name: name.to_owned(),
            times,
            candidate: Candidate::new(identity, times.lease),
            leading: watch::Sender::new(false),
        }
    }

    /// Whether it leads now, to ask and to wait for.
    pub(crate) fn leading(&self) -> watch::Receiver<bool> {
        self.leading.subscribe()
    }

    /// Candidate, then leader, until `stop`; then the Lease is released, so that the next need not
    /// wait for it. Whoever acts must have stopped acting before `stop`.
    ///
    /// # Errors
    ///
    /// The Lease was lost while it was held.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Lost> {
        let Some(since) = stop.run_until_cancelled(self.acquire()).await else {
            return Ok(());
        };
        tracing::info!(
            lease = self.name,
            identity = self.candidate.identity(),
            "leading"
        );
        self.leading.send_replace(true);
        let ended = stop.run_until_cancelled(self.hold(since)).await;
        self.leading.send_replace(false);
        match ended {
            Some(lost) => Err(lost),
            None => {
                self.release().await;
                Ok(())
            }
        }
    }

    /// Tries until it holds the Lease: since when.
    async fn acquire(&mut self) -> Instant {
        loop {
            let sent = Instant::now();
            match timeout(self.times.deadline, self.step()).await {
                Ok(Ok(Wish::Hold)) => return sent,
                Ok(Ok(Wish::Wait(holder))) => {
                    tracing::debug!(lease = self.name, holder, "another leads");
                }
                Ok(Err(error)) => tracing::warn!(lease = self.name, %error, "cannot get the Lease"),
                Err(_) => tracing::warn!(lease = self.name, "cannot get the Lease: no answer"),
            }
            sleep(random::jittered(self.times.retry)).await;
        }
    }

    /// Renews until it is lost.
    async fn hold(&mut self, mut renewed: Instant) -> Lost {
        loop {
            sleep(random::jittered(self.times.retry)).await;
            let deadline = renewed + self.times.deadline;
            let mut why = "no answer".to_owned();
            // Tried again and again until the deadline, and not a moment longer.
            let again = async {
                loop {
                    // What was written counts from before it was sent: the API server may have
                    // taken it at any moment since.
                    let sent = Instant::now();
                    // One request that hangs must not take all the time that there is.
                    match timeout(self.times.deadline / 3, self.step()).await {
                        Ok(Ok(Wish::Hold)) => return Ok(sent),
                        Ok(Ok(Wish::Wait(holder))) => return Err(Lost::Taken(holder)),
                        Ok(Err(error)) => {
                            tracing::warn!(lease = self.name, %error, "cannot renew the Lease");
                            why = error.to_string();
                            sleep(self.times.retry).await;
                        }
                        Err(_) => tracing::warn!(lease = self.name, "no answer; asking again"),
                    }
                }
            };
            match tokio::time::timeout_at(deadline, again).await {
                Ok(Ok(sent)) => renewed = sent,
                Ok(Err(lost)) => return lost,
                Err(_) => return Lost::Silence(self.times.deadline, why),
            }
        }
    }

    /// Looks at the Lease and writes what the candidate wishes.
    async fn step(&mut self) -> Result<Wish, kube::Error> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            let mut lease = Lease::default();
            lease.metadata.name = Some(self.name.clone());
            lease.spec = Some(self.candidate.first());
            let made = self.leases.create(&PostParams::default(), &lease).await?;
            self.candidate.saw(made.spec.as_ref(), Instant::now());
            return Ok(Wish::Hold);
        };
        let now = Instant::now();
        self.candidate.saw(lease.spec.as_ref(), now);
        if let Some(holder) = self.candidate.other_holder(now) {
            return Ok(Wish::Wait(holder.to_owned()));
        }
        lease.spec = Some(self.candidate.next(lease.spec.as_ref()));
        lease.managed_fields_mut().clear();
        // With the resourceVersion that was read: of two who see it free, one gets it.
        let written = self
            .leases
            .replace(&self.name, &PostParams::default(), &lease)
            .await?;
        self.candidate.saw(written.spec.as_ref(), Instant::now());
        Ok(Wish::Hold)
    }

    async fn release(&mut self) {
        let released = async {
            let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
                return Ok(());
            };
            self.candidate.saw(lease.spec.as_ref(), Instant::now());
            if self.candidate.holds() {
                lease.spec = Some(self.candidate.released(lease.spec.as_ref()));
                self.leases
                    .replace(&self.name, &PostParams::default(), &lease)
                    .await?;
            }
            Ok::<_, kube::Error>(())
        };
        match timeout(self.times.deadline, released).await {
            Ok(Ok(())) => tracing::info!(lease = self.name, "released the Lease"),
            Ok(Err(error)) => tracing::warn!(lease = self.name, %error, "cannot release the Lease"),
            Err(_) => tracing::warn!(lease = self.name, "cannot release the Lease: no answer"),
        }
    }
}

#[cfg(test)]
mod tests;
