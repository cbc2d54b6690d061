//! What is known of the API servers: versions, the gate, and what they counted.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Client;
use streamway_crds::names;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::plan::Version;
use crate::scrape::{self, ApiServer, Counts};

/// How often they are asked.
const PERIOD: Duration = Duration::from_secs(30);

/// How long one may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// An API server that was not met for so long is gone: one of several is met in this time.
const GONE: Duration = Duration::from_mins(10);

/// The API servers, behind one address; clones are the same.
#[derive(Clone)]
pub(crate) struct Server {
    client: Client,
    changed: Arc<Notify>,
    known: Arc<Mutex<Known>>,
}

/// What was learned, of one after the other, as they were met.
#[derive(Debug, Default)]
struct Known {
    versions: BTreeMap<Version, Instant>,
    /// By when each process started, which is the only name it tells.
    processes: HashMap<String, Process>,
    /// What all counted since the first look at each.
    total: Counts,
    error: Option<String>,
}

#[derive(Debug)]
struct Process {
    counts: Counts,
    /// Whether it sends WebSockets to nodes that declare the feature.
    gate: Option<bool>,
    met: Instant,
}

impl Server {
    /// `changed` is told when a plan may change by what was learned.
    pub(crate) fn new(client: &Client, changed: Arc<Notify>) -> Self {
        Self {
            client: client.clone(),
            changed,
            known: Arc::default(),
        }
    }

    /// Asks for ever.
    pub(crate) async fn run(&self) {
        let mut ticks = tokio::time::interval(PERIOD);
        loop {
            ticks.tick().await;
            self.ask().await;
        }
    }

    async fn ask(&self) {
        match timeout(PATIENCE, self.client.apiserver_version()).await {
            Ok(Ok(info)) => {
                let text = format!("{}.{}", info.major, info.minor);
                if let Some(version) = Version::parse(&text) {
                    self.lock().met(version, Instant::now());
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "the API server's version cannot be read"),
            Err(_) => tracing::warn!("the API server's version cannot be read: no answer"),
        }
        // What is not told here is counted as seldom as an analysis measures, not lost.
        let read = timeout(PATIENCE, scrape::api_server(&self.client)).await;
        let read = read.map_or_else(
            |_| Err("no answer".to_owned()),
            |read| read.map_err(|error| error.to_string()),
        );
        self.lock().read(read, Instant::now());
        self.changed.notify_one();
    }

    /// The oldest that was met.
    pub(crate) fn oldest(&self) -> Option<Version> {
        self.lock().versions.keys().min().copied()
    }

    /// Why no node can be brought over, whichever it is.
    pub(crate) fn obstacle(&self) -> Option<String> {
        let known = self.lock();
        let off = known.processes.values().any(|one| one.gate == Some(false));
        off.then(|| {
            format!(
                "an API server has the feature gate {0} off: start it with --feature-gates={0}=true, \
                 or without the flag",
                names::FEATURE
            )
        })
    }

    /// What they translated themselves, or why that is not known.
    pub(crate) fn counted(&self) -> Result<Counts, String> {
        let known = self.lock();
        match &known.error {
            Some(error) => Err(error.clone()),
            None => Ok(known.total),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // It is whole between calls.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn met(&mut self, version: Version, now: Instant) {
        self.versions.insert(version, now);
        self.versions.retain(|_, at| now.duration_since(*at) < GONE);
    }

    fn read(&mut self, read: Result<ApiServer, String>, now: Instant) {
        let read = match read {
            Ok(read) => read,
            Err(error) => {
                if self.error.is_none() {
                    tracing::warn!(error, "the API server's metrics cannot be read");
                }
                self.error = Some(error);
                return;
            }
        };
        self.error = None;
        if let Some(before) = self.processes.get(&read.started) {
            self.total = self.total.plus(read.counts.since(before.counts));
        }
        let process = Process {
            counts: read.counts,
            gate: read.gate,
            met: now,
        };
        self.processes.insert(read.started, process);
        self.processes
            .retain(|_, one| now.duration_since(one.met) < GONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrape::Tally;

    fn one(started: &str, good: u64, gate: Option<bool>) -> Result<ApiServer, String> {
        let total = good;
        let counts = Counts {
            upgrades: Tally { good, total },
            ..Counts::default()
        };
        Ok(ApiServer {
            started: started.to_owned(),
            counts,
            gate,
            create_check: None,
        })
    }

    #[test]
    fn each_process_counts_for_itself() {
        let (mut known, now) = (Known::default(), Instant::now());
        for (read, total) in [
            // What was before the first look is nobody's wave.
            (one("a", 100, None), 0),
            (one("b", 7, None), 0),
            (one("a", 105, None), 5),
            (one("b", 8, None), 6),
            // Started anew under another name.
            (one("c", 50, None), 6),
            (one("c", 51, None), 7),
        ] {
            known.read(read, now);
            assert_eq!(known.total.upgrades.total, total);
        }
        known.read(Err("no".into()), now);
        assert_eq!(known.error.as_deref(), Some("no"));
    }

    #[test]
    fn one_that_is_not_met_any_more_is_forgotten() {
        let (mut known, now) = (Known::default(), Instant::now());
        known.met(Version::new(35), now);
        known.met(Version::new(36), now + GONE / 2);
        assert_eq!(known.versions.keys().min(), Some(&Version::new(35)));
        known.met(Version::new(36), now + GONE);
        assert_eq!(known.versions.keys().min(), Some(&Version::new(36)));
    }
}
