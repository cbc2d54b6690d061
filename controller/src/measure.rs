//! What analyses are made from: what agents, API servers and probes counted since a wave began.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Node;
use streamway_crds::{NodeStreaming, Traffic};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::http::Http;
use crate::observe::{Cache, address};
use crate::plan::{Counted, Measure, Measured};
use crate::probes::Probing;
use crate::random;
use crate::scrape::{Counts, Tally};
use crate::server::Server;

/// How many agents are asked at once.
const AT_ONCE: usize = 32;

/// How long one may take to tell.
const PATIENCE: Duration = Duration::from_secs(5);

/// Counts for rollouts; clones are the same.
#[derive(Clone)]
pub(crate) struct Measures {
    pub(crate) http: Http,
    /// Of agents' `/metrics`.
    pub(crate) port: u16,
    pub(crate) nodes: Cache<Node>,
    pub(crate) streamings: Cache<NodeStreaming>,
    pub(crate) probing: Probing,
    pub(crate) server: Server,
    /// Told when something was counted.
    pub(crate) changed: Arc<Notify>,
    pub(crate) counts: Arc<Mutex<BTreeMap<String, Count>>>,
    /// Told when other things are to be counted.
    pub(crate) wanted: Arc<Notify>,
}

/// One rollout's count.
#[derive(Debug)]
pub(crate) struct Count {
    wanted: Measure,
    due: Instant,
    /// Its name, which no other has.
    name: String,
    nodes: BTreeMap<String, OfNode>,
    /// What came on nodes that were in it.
    left: Counted,
    /// The API servers' when it began.
    baseline: Option<Counts>,
}

/// One node's part.
#[derive(Debug, Clone, Default)]
struct OfNode {
    /// What its agent had counted when it was last asked.
    last: Option<Counts>,
    /// What it counted since the first time that it was asked.
    total: Counts,
    /// What its probes had come to when it was first asked about.
    probes: Tally,
    error: Option<String>,
}

impl OfNode {
    fn note(&mut self, told: Result<Counts, String>) {
        match told {
            Ok(counts) => {
                // What was counted before is not this wave's.
                if let Some(last) = self.last {
                    self.total = self.total.plus(counts.since(last));
                }
                self.last = Some(counts);
                self.error = None;
            }
            Err(error) => self.error = Some(error),
        }
    }
}

impl Measures {
    /// Counts this and nothing else from now on. Before probes of nodes that are gone are forgotten.
    pub(crate) fn want(&self, measures: &BTreeMap<String, Measure>) {
        let mut counts = self.lock();
        let before = counts.len();
        counts.retain(|rollout, count| {
            let wanted = measures.get(rollout);
            wanted.is_some_and(|wanted| wanted.since == count.wanted.since)
        });
        let mut changed = counts.len() != before;
        for (rollout, wanted) in measures {
            let count = counts.entry(rollout.clone()).or_insert_with(|| {
                changed = true;
                Count {
                    wanted: wanted.clone(),
                    due: Instant::now(),
                    name: format!("{:016x}", random::number()),
                    nodes: BTreeMap::new(),
                    left: Counted::default(),
                    baseline: None,
                }
            });
            if count.wanted != *wanted {
                // Measurements come that much sooner now.
                count.due = count.due.min(Instant::now() + wanted.interval);
                count.wanted = wanted.clone();
                changed = true;
            }
            let left = count
                .nodes
                .extract_if(.., |node, _| !wanted.nodes.contains(node));
            for (name, node) in left {
                let counted = Counted {
                    error: None,
                    ..self.counted(&name, &node)
                };
                count.left = std::mem::take(&mut count.left).plus(counted);
            }
            for node in &wanted.nodes {
                count.nodes.entry(node.clone()).or_insert_with(|| OfNode {
                    probes: self.probing.tally(node),
                    ..OfNode::default()
                });
            }
        }
        drop(counts);
        if changed {
            self.wanted.notify_one();
        }
    }

    /// What was counted, by rollout.
    pub(crate) fn measured(&self) -> BTreeMap<String, Measured> {
        let counts = self.lock();
        let measured = counts.iter().map(|(rollout, count)| {
            let nodes = count.nodes.iter();
            let nodes = nodes.map(|(name, node)| (name.clone(), self.counted(name, node)));
            let measured = Measured {
                since: count.wanted.since,
                count: count.name.clone(),
                nodes: nodes.collect(),
                left: count.left.clone(),
                baseline: count.baseline.map(|began| self.baseline(began)),
            };
            (rollout.clone(), measured)
        });
        measured.collect()
    }

    /// Asks agents for ever, each rollout's in its interval.
    pub(crate) async fn run(&self) {
        loop {
            let next = self.round().await;
            match next {
                Some(due) => {
                    tokio::select! {
                        () = sleep_until(due) => {}
                        () = self.wanted.notified() => {}
                    }
                }
                None => self.wanted.notified().await,
            }
        }
    }

    /// Asks whom it is time to ask. When the next are.
    async fn round(&self) -> Option<Instant> {
        let asked: Vec<(String, String)> = self.due(Instant::now());
        let any = !asked.is_empty();
        let answers = asked.into_iter().map(|(rollout, node)| async {
            let told = self.ask(&node).await;
            (rollout, node, told)
        });
        let mut answers = futures_util::stream::iter(answers).buffer_unordered(AT_ONCE);
        while let Some((rollout, node, told)) = answers.next().await {
            let mut counts = self.lock();
            let count = counts.get_mut(&rollout);
            if let (Some(told), Some(node)) = (told, count.and_then(|it| it.nodes.get_mut(&node))) {
                node.note(told);
            }
        }
        if any {
            self.changed.notify_one();
        }
        self.lock().values().map(|count| count.due).min()
    }

    /// Rollouts and nodes to be asked now: all of a rollout's when its interval is over, and those
    /// that are new to it.
    fn due(&self, now: Instant) -> Vec<(String, String)> {
        let server = self.server.counted().ok();
        let mut counts = self.lock();
        let mut asked = Vec::new();
        for (rollout, count) in counts.iter_mut() {
            count.baseline = count.baseline.or(server);
            let all = now >= count.due;
            if all {
                count.due = now + count.wanted.interval;
            }
            let new = |node: &OfNode| node.last.is_none() && node.error.is_none();
            let nodes = count.nodes.iter().filter(|(_, node)| all || new(node));
            asked.extend(nodes.map(|(name, _)| (rollout.clone(), name.clone())));
        }
        asked
    }

    /// What a node's agent counted; nothing of a node whose traffic does not come to its agent.
    async fn ask(&self, node: &str) -> Option<Result<Counts, String>> {
        let streaming = self.streamings.get(node)?;
        if streaming.spec.traffic != Traffic::Agent {
            return None;
        }
        let node = self.nodes.get(node)?;
        let Some(address) = address(&node) else {
            return Some(Err("the Node has no address".to_owned()));
        };
        let answer = self
            .http
            .get((address, self.port), "/metrics", PATIENCE)
            .await;
        Some(match answer {
            Ok((status, text)) if status.is_success() => Ok(Counts::of_agent(&text)),
            Ok((status, _)) => Err(format!("the agent's metrics: {status}")),
            Err(error) => Err(format!("the agent's metrics: {error}")),
        })
    }

    fn counted(&self, name: &str, node: &OfNode) -> Counted {
        let agents = node.last.is_some();
        let (probes, failure) = self.probing.counted(name, node.probes);
        Counted {
            upgrades: agents.then_some(node.total.upgrades),
            sessions: agents.then_some(node.total.sessions),
            probes: Some(probes),
            failure,
            error: node.error.clone(),
        }
    }

    fn baseline(&self, began: Counts) -> Counted {
        match self.server.counted() {
            Ok(now) => {
                let since = now.since(began);
                Counted {
                    upgrades: Some(since.upgrades),
                    sessions: Some(since.sessions),
                    ..Counted::default()
                }
            }
            Err(error) => Counted {
                error: Some(error),
                ..Counted::default()
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Count>> {
        // Each count is whole between calls.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_since_the_first_look_is_counted() {
        let counts = |good| Counts {
            sessions: Tally {
                good,
                total: good + 1,
            },
            ..Counts::default()
        };
        let mut node = OfNode::default();
        for (told, good) in [
            (Ok(counts(100)), 0),
            (Ok(counts(103)), 3),
            (Err("no answer".to_owned()), 3),
            (Ok(counts(104)), 4),
            // The agent started anew.
            (Ok(counts(2)), 6),
        ] {
            let failed = told.is_err();
            node.note(told);
            assert_eq!(node.total.sessions.good, good);
            assert_eq!(node.error.is_some(), failed);
        }
    }
}
