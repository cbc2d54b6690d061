//! Heartbeats of the agents that carry traffic: each is asked every second whether it is well, so that
//! one that hangs is out of the path in a few.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use crate::http::Http;
use crate::metrics::Metrics;

/// How often an agent is asked.
const PERIOD: Duration = Duration::from_secs(1);

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is known of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heartbeat {
    /// Since when it is asked.
    pub(crate) since: Timestamp,
    /// When it last answered.
    pub(crate) heard: Option<Timestamp>,
    /// Whether its last answer was that it is ready, and what it was or what failed otherwise.
    pub(crate) ready: Result<(), String>,
}

/// Asks agents; clones are the same.
#[derive(Clone)]
pub(crate) struct Heartbeats {
    http: Http,
    port: u16,
    metrics: Metrics,
    changed: Arc<Notify>,
    asked: Arc<Mutex<HashMap<String, Asked>>>,
}

/// An agent that is asked.
struct Asked {
    address: String,
    known: Heartbeat,
    task: AbortHandle,
}

impl Heartbeats {
    /// On `port` of each node. `changed` is told when an agent's answer is another than before.
    pub(crate) fn new(http: Http, port: u16, metrics: Metrics, changed: Arc<Notify>) -> Self {
        Self {
            http,
            port,
            metrics,
            changed,
            asked: Arc::default(),
        }
    }

    /// Asks these and no others from now on: nodes' names and addresses.
    pub(crate) fn follow(&self, nodes: &BTreeMap<String, String>) {
        let mut asked = self.lock();
        asked.retain(|node, one| {
            let stays = nodes.get(node) == Some(&one.address);
            if !stays {
                one.task.abort();
            }
            stays
        });
        for (node, address) in nodes {
            if !asked.contains_key(node) {
                let task = tokio::spawn(self.clone().ask(node.clone(), address.clone()));
                let known = Heartbeat {
                    since: Timestamp::now(),
                    heard: None,
                    ready: Err("not asked yet".to_owned()),
                };
                let one = Asked {
                    address: address.clone(),
                    known,
                    task: task.abort_handle(),
                };
                asked.insert(node.clone(), one);
            }
        }
        self.count(&asked);
    }

    /// What is known of a node's agent, if it is asked.
    pub(crate) fn of(&self, node: &str) -> Option<Heartbeat> {
        self.lock().get(node).map(|one| one.known.clone())
    }

    /// Asks one agent, for ever.
    async fn ask(self, node: String, address: String) {
        let mut ticks = tokio::time::interval(PERIOD);
        // One that is slow is not asked the faster for it.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let answer = self
                .http
                .get((&address, self.port), "/readyz", PATIENCE)
                .await;
            let (heard, ready) = match answer {
                Ok((status, _)) if status.is_success() => (true, Ok(())),
                Ok((status, body)) => (true, Err(format!("{status}: {}", failed_checks(&body)))),
                Err(error) => (false, Err(error.to_string())),
            };
            self.note(&node, heard, ready);
        }
    }

    fn note(&self, node: &str, heard: bool, ready: Result<(), String>) {
        let mut asked = self.lock();
        let Some(one) = asked.get_mut(node) else {
            return;
        };
        if heard {
            one.known.heard = Some(Timestamp::now());
        }
        if one.known.ready != ready {
            match &ready {
                Ok(()) => tracing::info!(node, "the agent is ready"),
                Err(why) => tracing::warn!(node, why, "the agent is not ready"),
            }
            one.known.ready = ready;
            self.count(&asked);
            self.changed.notify_one();
        }
    }

    fn count(&self, asked: &HashMap<String, Asked>) {
        let silent = asked.values().filter(|one| one.known.ready.is_err());
        let silent = i64::try_from(silent.count()).unwrap_or(i64::MAX);
        self.metrics.silent_agents.set(silent);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Asked>> {
        // Each agent's entry is whole between calls.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The lines of `/readyz` that say what failed.
fn failed_checks(body: &str) -> String {
    let failed: Vec<_> = body
        .lines()
        .filter(|line| line.starts_with("[-]"))
        .collect();
    if failed.is_empty() {
        body.trim().chars().take(200).collect()
    } else {
        failed.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Agents that answer with `answer`, or, where it is empty, take requests and say nothing: what a
    /// stopped process does.
    async fn agent(answer: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    while stream.read(&mut request).await.is_ok_and(|count| count > 0) {
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        port
    }

    async fn heard(answer: &'static str) -> (Heartbeats, Heartbeat) {
        let port = agent(answer).await;
        let changed = Arc::new(Notify::new());
        let metrics = Metrics::register(&mut Registry::default());
        let beats = Heartbeats::new(Http::new(), port, metrics, Arc::clone(&changed));
        beats.follow(&BTreeMap::from([("one".into(), "127.0.0.1".into())]));
        changed.notified().await;
        let known = beats.of("one").unwrap();
        (beats, known)
    }

    #[tokio::test]
    async fn one_that_is_well() {
        let (beats, known) = heard("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        assert_eq!(known.ready, Ok(()));
        assert!(known.heard.is_some());
        beats.follow(&BTreeMap::new());
        assert_eq!(beats.of("one"), None);
    }

    #[tokio::test]
    async fn one_that_is_not_says_why() {
        let answer = "HTTP/1.1 500 X\r\nContent-Length: 43\r\n\r\n[+]ping ok\n[-]kubelet failed: no connection";
        let (_, known) = heard(answer).await;
        assert_eq!(
            known.ready,
            Err("500 Internal Server Error: [-]kubelet failed: no connection".into())
        );
        assert!(known.heard.is_some());
    }

    #[tokio::test]
    async fn one_that_hangs_was_not_heard() {
        let (_, known) = heard("").await;
        assert_eq!(known.ready, Err("no answer within 2s".into()));
        assert_eq!(known.heard, None);
    }
}
