//! Row `rollout`: one controller, 5,000 nodes, a real API server and etcd.
//!
//! Nodes and agents are fakes (`streamway_e2e::fake_nodes`); they, the API server, etcd and the
//! controller share this machine, so the times are those of all of them together. What the controller
//! itself costs is told apart: its processor time, its memory, its requests.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::controller::{self, Audit, Controller};
use streamway_e2e::fake_nodes::{FakeNode, FakeNodes};
use streamway_e2e::{run, wait};

pub(super) const NAME: &str = "rollout";

/// Nodes of a whole run, and of a quick one.
const NODES: (usize, usize) = (5000, 250);

/// The longest that any part of it may take.
const TIME: Duration = Duration::from_secs(3600);

/// One look at the controller.
struct Look {
    at: Instant,
    processor: Duration,
    plans: f64,
    planning: f64,
    requests: usize,
}

/// What is looked at, and the most memory that was seen.
struct Watched<'a> {
    controller: Controller<'a>,
    audit: &'a Audit,
    most_bytes: u64,
}

pub(super) fn run(program: PathBuf, quick: bool) -> Result<()> {
    let count = if quick { NODES.1 } else { NODES.0 };
    let audit = Audit::new(false)?;
    let flags = audit.flags();
    let cluster = Cluster::builder("bench-rollout")
        .api_server_flags(&flags.each_ref().map(String::as_str))
        .up()?;
    controller::install(&cluster)?;
    let nodes = FakeNodes::start(&cluster.kubeconfig())?;
    let all = (0..count).map(|index| FakeNode {
        name: format!("node-{index:04}"),
        kubelet: "v1.34.4".to_owned(),
        pool: "bench".to_owned(),
    });
    let all: Vec<_> = all.collect();
    run::step(
        &format!("making {count} Nodes, Leases and agents' pods"),
        || nodes.make(&all),
    )?;
    let port = format!("--agent-admin-port={}", nodes.admin_port());
    let flags = [&*port, "--leader-elect=false"];
    let controller = Controller::start_build(&cluster, "controller", program, &flags)?;
    let mut watched = Watched {
        controller,
        audit: &audit,
        most_bytes: 0,
    };

    println!("\nrollout over {count} nodes");
    let begun = watched.look()?;
    // Asked of the controller itself: asking the API server for 5,000 objects would be half the load.
    let untouched = format!("streamway_nodes{{state=\"Untouched\"}} {count}");
    watched.until_told("every node is taken in", &untouched)?;
    watched.settle()?;
    let taken = watched.look()?;
    told("taking the nodes in", &begun, &taken);
    cluster.kubectl()?.apply(&rollout().to_string())?;
    let complete = "streamway_rollout_phase{rollout=\"bench\",phase=\"Complete\"} 1";
    watched.until_told("the rollout is complete", complete)?;
    watched.settle()?;
    let over = watched.look()?;
    told("the whole rollout", &taken, &over);
    watched.idle(Duration::from_secs(20))?;
    let still = watched.look()?;
    told("nothing to do, heartbeats only", &over, &still);
    println!(
        "  memory of the controller: {} MiB at most, {} MiB now",
        watched.most_bytes >> 20,
        watched.controller.resident_bytes()? >> 20
    );
    plans(&watched.controller.metrics()?);
    requests(&audit.entries(), count);
    watched.controller.terminate()
}

fn rollout() -> Value {
    json!({
        "apiVersion": "streamway.dev/v1alpha1",
        "kind": "StreamingRollout",
        "metadata": {"name": "bench"},
        "spec": {
            "waves": [
                {"name": "canary", "nodes": {"percent": 1}, "maxUnavailable": "100%", "bake": "0s"},
                {"name": "some", "nodes": {"percent": 10}, "maxUnavailable": "20%", "bake": "0s"},
                {"name": "all", "nodes": {"percent": 100}, "maxUnavailable": "10%", "bake": "0s"},
            ],
            "progressDeadline": "1h",
            // Probes are left out: no session reaches a node that is only an object.
            "analysis": {
                "interval": "10s", "minSamples": 1,
                "objectives": [{"indicator": "Sessions", "min": "99%"}],
                "prober": {"enabled": false},
            },
        },
    })
}

impl Watched<'_> {
    /// Waits, and looks at the memory meanwhile.
    fn until(
        &mut self,
        what: &str,
        mut condition: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<()> {
        wait::until(what, TIME, || {
            self.most_bytes = self.most_bytes.max(self.controller.resident_bytes()?);
            Ok(condition(self)?.then_some(()))
        })
    }

    /// Waits until the controller's metrics have this line.
    fn until_told(&mut self, what: &str, line: &str) -> Result<()> {
        let mut asked = Instant::now();
        self.until(what, |watched| {
            // It is the load that is measured.
            if asked.elapsed() < Duration::from_millis(500) {
                return Ok(false);
            }
            asked = Instant::now();
            let metrics = watched.controller.metrics()?;
            Ok(metrics.lines().any(|told| told == line))
        })
    }

    /// Waits until the controller has written nothing for a while.
    fn settle(&mut self) -> Result<()> {
        let audit = self.audit;
        let (mut last, mut since) = (audit.size(), Instant::now());
        self.until("nothing is written any more", |_| {
            if audit.size() != last {
                (last, since) = (audit.size(), Instant::now());
            }
            Ok(since.elapsed() > Duration::from_secs(3))
        })
    }

    fn idle(&mut self, time: Duration) -> Result<()> {
        let begun = Instant::now();
        self.until("the time is over", |_| Ok(begun.elapsed() > time))
    }

    fn look(&self) -> Result<Look> {
        let metric = |name: &str| -> Result<f64> {
            self.controller
                .metric(name)?
                .with_context(|| name.to_owned())
        };
        Ok(Look {
            at: Instant::now(),
            processor: self.controller.cpu()?,
            plans: metric("streamway_plan_duration_seconds_count")?,
            planning: metric("streamway_plan_duration_seconds_sum")?,
            requests: self.audit.entries().len(),
        })
    }
}

fn told(what: &str, from: &Look, to: &Look) {
    let seconds = to.at.duration_since(from.at).as_secs_f64();
    let processor = to.processor.saturating_sub(from.processor).as_secs_f64();
    let plans = to.plans - from.plans;
    println!(
        "  {what}: {seconds:.1} s; the controller: {processor:.1} s of processor time ({:.0} %), {} \
         requests, {plans} plans of {:.1} ms each",
        100.0 * processor / seconds,
        to.requests - from.requests,
        1000.0 * (to.planning - from.planning) / plans.max(1.0)
    );
}

/// The histogram of plans, as it is.
fn plans(metrics: &str) {
    let buckets = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("streamway_plan_duration_seconds_bucket"));
    let buckets: Vec<_> = buckets.map(|line| line.replace("le=", "")).collect();
    println!("  plans by seconds: {}", buckets.join(" "));
}

/// Requests by verb and resource, and for each node.
fn requests(entries: &[Value], count: usize) {
    let mut rows: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for entry in entries {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &entry["objectRef"];
        let mut what = text(&object["resource"]);
        let subresource = text(&object["subresource"]);
        if !subresource.is_empty() {
            what = format!("{what}/{subresource}");
        }
        if what.is_empty() {
            what = text(&entry["requestURI"]);
        }
        let row = rows
            .entry(format!("{} {what}", text(&entry["verb"])))
            .or_default();
        row.0 += 1;
        let failed = entry
            .pointer("/responseStatus/code")
            .and_then(Value::as_u64)
            .is_some_and(|code| code >= 400);
        row.1 += usize::from(failed);
    }
    println!(
        "  {:44} {:>8} {:>8} {:>9}",
        "requests", "all", "refused", "per node"
    );
    for (what, (all, refused)) in rows {
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let each = all as f64 / count as f64;
        println!("  {what:44} {all:>8} {refused:>8} {each:>9.2}");
    }
}
