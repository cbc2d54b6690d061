//! `controller run`: the process, from its flags to its end.
//!
//! ```text
//! preflight ─▶ caches ─▶ candidate ──got the Lease──▶ leader ──SIGTERM──▶ writes end ─▶ Lease released
//!                           │                           ├──Lease lost──────────────────▶ exit 1
//!                           └──SIGTERM──▶ exit 0        └──its own rights are deleted──▶ all taken back, exit 1
//! ```

mod preflight;
mod rights;

use std::future::pending;
use std::time::Duration;

use kube::Client;
use prometheus_client::registry::Registry;
use streamway_daemon::admin::{Admin, Condition, Readiness};
use streamway_daemon::exit::ExitError;
use streamway_daemon::gates::FeatureGates;
use streamway_daemon::shutdown::{Phase, Shutdown};
use tokio_util::sync::CancellationToken;

use crate::args::RunArgs;
use crate::leader::Leader;
use crate::lease::{Election, Times};
use crate::metrics::Metrics;
use crate::observe::{Caches, Changes};
use crate::{client, random};

/// Runs until a signal.
///
/// # Errors
///
/// Wrong flags and files end with 64; what is missing in the cluster, a lost Lease, and the end of an
/// uninstallation with 1.
pub(crate) async fn run(args: RunArgs) -> Result<(), ExitError> {
    args.check().map_err(ExitError::usage)?;
    let gates = FeatureGates::parse(&args.feature_gates)?;
    let admin = Admin::bind(args.metrics_listen)?;
    let client = client::connect(&args.installation).await?;
    preflight::check(&client, &args).await?;

    let mut registry = Registry::default();
    gates.register(&mut registry);
    let metrics = Metrics::register(&mut registry);
    let readiness = Readiness::new();
    let shutdown = Shutdown::new(Duration::ZERO, args.shutdown_grace_period);
    let ended = {
        let shutdown = shutdown.clone();
        async move { shutdown.reached(Phase::Ended).await }
    };
    let liveness = Readiness::new();
    tokio::spawn(watch_plans(metrics.clone(), liveness.condition("plan")));
    let admin = admin.alive_while(liveness);
    let served = tokio::spawn(admin.serve(registry, readiness.clone(), ended));
    let signals = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { shutdown.on_signals().await }
    });

    let changes = Changes::default();
    let caches = Caches::watch(&client, &args, &changes);
    let (warm, watched) = (readiness.condition("caches"), caches.clone());
    // A candidate's are as warm as a leader's: who takes over plans at once.
    tokio::spawn(async move {
        watched.ready().await;
        warm.met();
    });
    let identity = identity();
    let leader = Leader::new(
        client.clone(),
        args.clone(),
        (caches, changes),
        metrics.clone(),
        identity.clone(),
    );
    let work = Work {
        client,
        args,
        metrics,
        shutdown: shutdown.clone(),
        leader,
        identity,
    };
    let open = shutdown.tracker().token();
    let end = tokio::select! {
        end = work.run() => end,
        () = shutdown.reached(Phase::Ended) => Err(ExitError::failure(
            "not everything was written when --shutdown-grace-period was over",
        )),
    };
    drop(open);
    // The admin server answers until here.
    shutdown.run(pending()).await;
    signals.abort();
    if let Ok(Err(error)) = served.await {
        tracing::warn!(%error, "metrics and health were not served");
    }
    end
}

/// Candidate, leader, end.
struct Work {
    client: Client,
    args: RunArgs,
    metrics: Metrics,
    shutdown: Shutdown,
    leader: Leader,
    identity: String,
}

impl Work {
    async fn run(&self) -> Result<(), ExitError> {
        let stop = CancellationToken::new();
        let signal = stop.clone();
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            shutdown.reached(Phase::Draining).await;
            signal.cancel();
        });
        if !self.args.leader_elect {
            return self.lead(stop).await;
        }
        let args = &self.args;
        let times = Times {
            lease: args.leader_elect_lease_duration,
            deadline: args.leader_elect_renew_deadline,
            retry: args.leader_elect_retry_period,
        };
        let lease = (
            args.installation.namespace.as_str(),
            args.leader_elect_resource_name.as_str(),
        );
        let election = Election::new(&self.client, lease, self.identity.clone(), times);
        let mut leading = election.leading();
        let release = CancellationToken::new();
        let held = election.run(release.clone());
        let work = async {
            let elected = stop
                .run_until_cancelled(leading.wait_for(|leads| *leads))
                .await;
            let ended = match elected {
                Some(_) => self.lead(stop.clone()).await,
                None => Ok(()),
            };
            // Only who no longer writes may let another begin.
            release.cancel();
            ended
        };
        tokio::pin!(held, work);
        tokio::select! {
            // What is under way is cut with the process: another may write by now.
            lost = &mut held => match lost {
                // The Lease goes with its namespace. Taking back what another takes back too is no harm,
                // and there may be no other.
                Err(lost) if self.leader.is_uninstalling() => {
                    tracing::warn!(%lost, "taking everything back without the Lease");
                    work.await
                }
                Err(lost) => Err(ExitError::failure(format_args!(
                    "{lost}; another controller goes on, and this one is to be started again"
                ))),
                Ok(()) => work.await,
            },
            ended = &mut work => {
                let _ = held.await;
                ended
            }
        }
    }

    async fn lead(&self, stop: CancellationToken) -> Result<(), ExitError> {
        self.metrics.planned();
        self.metrics.leader.set(1);
        let ended = self.leader.run(stop).await;
        self.metrics.leader.set(0);
        ended
    }
}

/// `/livez` fails while a leader has made no plan for a long time: one that is stuck goes on renewing
/// its Lease, and only its end lets another act.
async fn watch_plans(metrics: Metrics, alive: Condition) {
    let mut ticks = tokio::time::interval(NO_PLAN / 12);
    loop {
        ticks.tick().await;
        if metrics.leader.get() == 1 && metrics.since_plan() > NO_PLAN {
            alive.unmet(format!("no plan was made for {NO_PLAN:?}"));
        } else {
            alive.met();
        }
    }
}

/// A leader plans twice a minute at least, whatever happens: each time the API servers were asked.
const NO_PLAN: Duration = Duration::from_mins(2);

/// A name that no other process has, as client-go's users make it: the pod's, and a random part.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}_{:016x}", host.trim(), random::number())
}
