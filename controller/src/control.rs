//! The loop: observe, plan, apply.
//!
//! ```text
//!   caches, heartbeats, probes, counts ──something changed, or it is time──▶ Observed ──plan()──▶ Plan
//!         ▲                                                                                        │
//!         └──────────── what a write answered, and the watch later ◀── writes, a few at once ◀─────┘
//! ```

mod snapshot;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use streamway_crds::{Feature, NodeState, Phase, Traffic};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::agents::Heartbeats;
use crate::apply::{Outcome, Queue, Writer};
use crate::args::RunArgs;
use crate::events::Events;
use crate::hold::Hold;
use crate::http::Http;
use crate::measure::Measures;
use crate::metrics::{Metrics, RolloutPhase, State};
use crate::observe::{Caches, Changes, address};
use crate::plan::{Chain, Observed, Plan, Subject, plan};
use crate::prober::Prober;
use crate::probes::Probing;
use crate::server::Server;
use crate::withdraw::left_behind;

/// Changes that come within this time are planned once.
const GATHER: Duration = Duration::from_millis(100);

/// Of the time at most one part in so many goes into planning, however much changes.
const SHARE: u32 = 5;

/// However long plans take.
const GATHER_AT_MOST: Duration = Duration::from_secs(1);

/// How long the controller's own rights may take to be let go of.
const LET_GO: Duration = Duration::from_secs(5);

/// Events that are told last are written within this time, or lost.
const LAST_EVENTS: Duration = Duration::from_secs(2);

/// The loop and its senses.
pub(crate) struct Control {
    args: RunArgs,
    caches: Caches,
    changes: Changes,
    metrics: Metrics,
    hold: Arc<Hold>,
    beats: Heartbeats,
    probing: Probing,
    measures: Measures,
    server: Server,
    writer: Writer,
    events: Events,
}

type Writes = JoinSet<(Subject, Outcome)>;

impl Control {
    pub(crate) fn new(
        client: &Client,
        args: &RunArgs,
        (caches, changes): (&Caches, &Changes),
        metrics: &Metrics,
        hold: &Arc<Hold>,
        events: Events,
    ) -> Self {
        let http = Http::new();
        let changed = || Arc::clone(&changes.plan);
        let prober = Prober::new(client.clone(), args.concurrent_probes, args.probe_port);
        let probing = Probing::new(prober, &args.agent_namespace, metrics.clone(), changed());
        let server = Server::new(client, changed());
        Self {
            beats: Heartbeats::new(
                http.clone(),
                args.agent_admin_port,
                metrics.clone(),
                changed(),
            ),
            measures: Measures {
                http,
                port: args.agent_admin_port,
                nodes: caches.nodes.clone(),
                streamings: caches.streamings.clone(),
                probing: probing.clone(),
                server: server.clone(),
                changed: changed(),
                counts: Arc::default(),
                wanted: Arc::default(),
            },
            writer: Writer::new(client, caches, metrics, events.clone(), Arc::clone(hold)),
            args: args.clone(),
            caches: caches.clone(),
            changes: changes.clone(),
            metrics: metrics.clone(),
            hold: Arc::clone(hold),
            probing,
            server,
            events,
        }
    }

    /// Acts until `stop`; then comes to the end of the writes that are under way.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let acting = async {
            let mut writes = Writes::new();
            let mut queue = Queue::new(self.args.concurrent_writes.into());
            // None is cut that has begun: who knows what became of it?
            if stop
                .run_until_cancelled(self.act(&mut queue, &mut writes))
                .await
                .is_none()
            {
                while let Some(ended) = writes.join_next().await {
                    whole(ended);
                }
            }
        };
        tokio::select! {
            () = acting => {}
            () = self.server.run() => {}
            () = self.measures.run() => {}
        }
        self.beats.follow(&BTreeMap::new());
        self.probing.stop();
        let events = self.events.clone();
        drop(self);
        let _ = timeout(LAST_EVENTS, events.flushed()).await;
    }

    /// Plans and writes, for ever.
    async fn act(&self, queue: &mut Queue<Subject, Chain>, writes: &mut Writes) {
        loop {
            let begun = Instant::now();
            let observed = self.observe(queue);
            let plan = plan(&observed, Timestamp::now());
            let took = begun.elapsed();
            self.told(&observed, took);
            let wake_at = self.begin(&observed, plan, queue);
            if !self.depends_on_us(&observed) && queue.is_idle() {
                self.let_go().await;
            }
            drop(observed);
            let gather = (took * SHARE).clamp(GATHER, GATHER_AT_MOST);
            self.write_until(queue, writes, wake_at, gather).await;
        }
    }

    /// Begins what the plan wants. When the next plan is due.
    fn begin(
        &self,
        observed: &Observed,
        plan: Plan,
        queue: &mut Queue<Subject, Chain>,
    ) -> Option<Instant> {
        let agents = plan.follow.into_iter().filter_map(|name| {
            let address = address(&observed.nodes.get(&name)?.node)?.to_owned();
            Some((name, address))
        });
        self.beats.follow(&agents.collect());
        self.measures.want(&plan.measure);
        self.probing.keep(&observed.nodes);
        for order in plan.probes {
            self.probing.start(order);
        }
        let now = Instant::now();
        let chains = plan.chains.into_iter();
        queue.plan(chains.map(|chain| (chain.about.clone(), chain)), now);
        let wake_at = plan.wake_at.map(|time| {
            let wait = time.duration_since(Timestamp::now());
            now + Duration::try_from(wait).unwrap_or(Duration::ZERO)
        });
        [wake_at, queue.wake_at(now)].into_iter().flatten().min()
    }

    /// Writes what is queued, until the next plan is due: at `wake_at`, or once changes were gathered.
    async fn write_until(
        &self,
        queue: &mut Queue<Subject, Chain>,
        writes: &mut Writes,
        wake_at: Option<Instant>,
        gather: Duration,
    ) {
        // A time that is over already does not make a loop of it.
        let mut next = wake_at.map(|at| at.max(Instant::now() + GATHER));
        let sooner = |next: Option<Instant>| {
            let soon = Instant::now() + gather;
            Some(next.map_or(soon, |next| next.min(soon)))
        };
        loop {
            while let Some((about, chain)) = queue.begin() {
                let writer = self.writer.clone();
                writes.spawn(async move { (about, writer.carry_out(chain).await) });
            }
            let sleep = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = sleep => return,
                () = self.changes.plan.notified() => next = sooner(next),
                Some(ended) = writes.join_next() => {
                    let (about, outcome) = whole(ended);
                    queue.end(&about, outcome, Instant::now());
                    next = sooner(next);
                }
            }
        }
    }

    /// Whether a node is switched, or is to be.
    fn depends_on_us(&self, observed: &Observed) -> bool {
        observed.nodes.values().any(|node| {
            let wished = node.streaming.as_ref().is_some_and(|one| {
                one.spec.traffic != Traffic::Kubelet || one.spec.feature != Feature::Kubelet
            });
            wished || !left_behind(&node.node, observed.ports).is_nothing()
        })
    }

    async fn let_go(&self) {
        // No plan is made meanwhile: one request without an answer is not to stop them all.
        match timeout(LET_GO, self.hold.set(false)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the finalizer on the controller's own rights cannot be removed; trying again");
            }
            Err(_) => tracing::warn!(
                "no answer within {LET_GO:?} on the finalizer of the controller's own rights; trying again"
            ),
        }
    }

    fn told(&self, observed: &Observed, took: Duration) {
        let metrics = &self.metrics;
        metrics.plan.observe(took.as_secs_f64());
        metrics.planned();
        metrics.phase.clear();
        for rollout in &observed.rollouts {
            let phase = rollout.status.as_ref().and_then(|status| status.phase);
            let label = RolloutPhase {
                rollout: rollout.metadata.name.clone().unwrap_or_default(),
                phase: phase.map_or("Pending", Phase::as_str),
            };
            metrics.phase.get_or_create(&label).set(1);
        }
        let mut states: BTreeMap<&'static str, i64> = BTreeMap::new();
        for node in observed.nodes.values() {
            let status = node.streaming.as_ref().and_then(|one| one.status.as_ref());
            let state = status.and_then(|status| status.state);
            *states
                .entry(state.map_or("Unknown", NodeState::as_str))
                .or_default() += 1;
        }
        metrics.nodes.clear();
        for (state, count) in states {
            metrics.nodes.get_or_create(&State { state }).set(count);
        }
    }
}

/// A write's end. One that panicked is a fault that no further write is to be built on.
fn whole(ended: Result<(Subject, Outcome), tokio::task::JoinError>) -> (Subject, Outcome) {
    match ended {
        Ok(ended) => ended,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
