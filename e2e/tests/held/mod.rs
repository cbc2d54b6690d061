//! `bench/peer sessions`: exec sessions that are held and used while something is done, and short commands
//! beside them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use streamway_e2e::cluster::Cluster;
use streamway_e2e::{peer, run, wait};

/// Sessions that run. They end with the cluster.
pub(crate) struct Sessions<'a> {
    cluster: &'a Cluster,
    name: String,
    log: PathBuf,
    count: u64,
    pods: usize,
}

/// How they are, or were.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    /// Sessions that failed or ended before they were asked to.
    pub(crate) cut: u64,
    /// Sessions that ended well once they were asked to, and had got back every byte.
    pub(crate) ended_well: u64,
    /// Bytes that came back.
    pub(crate) bytes: u64,
    /// Short commands.
    pub(crate) short: u64,
    /// Those that failed.
    pub(crate) short_failed: u64,
    /// The longest time that a byte took, in milliseconds.
    pub(crate) slowest_echo: f64,
    /// The longest time that a short command took, in milliseconds.
    pub(crate) slowest_short: f64,
}

impl<'a> Sessions<'a> {
    /// Starts `count` of them, over all nodes' pods. With `shorts`, short commands run in each pod until
    /// the end.
    pub(crate) fn start(
        cluster: &'a Cluster,
        name: &str,
        count: u64,
        shorts: bool,
    ) -> Result<Self> {
        let pods: Vec<_> = cluster
            .nodes()
            .iter()
            .map(|node| format!("box-{}", node.name))
            .collect();
        let args = [
            "sessions",
            "-context",
            "admin",
            "-pods",
            &pods.join(","),
            "-sessions",
            &count.to_string(),
            // More, and two cores do nothing else.
            "-beat",
            "3s",
        ];
        let mut command = run::command(peer::peer()?, args);
        command.arg("-kubeconfig").arg(cluster.kubeconfig());
        if shorts {
            command.args(["-short", "1s"]);
        }
        cluster.start(name, &mut command)?;
        Ok(Self {
            cluster,
            name: name.to_owned(),
            log: cluster.log(name),
            count,
            pods: pods.len(),
        })
    }

    /// Waits until each has got a byte back.
    pub(crate) fn up(&self) -> Result<()> {
        let up = wait::until("the sessions are up", Duration::from_secs(240), || {
            // One that fails is told at once, not after the time.
            Ok(match self.told("up").pop() {
                None if self.failures().is_empty() => None,
                up => Some(up),
            })
        });
        let up = up.with_context(|| run::tail_of(&self.log, 3))?;
        let up = up.with_context(|| self.failures().join("\n"))?;
        println!(
            "    {} sessions came up in {:.1} s",
            self.count,
            up["seconds"].as_f64().unwrap_or_default()
        );
        Ok(())
    }

    /// Nothing has failed until now, after another beat of all sessions and more short commands on every
    /// node.
    pub(crate) fn go_on(&self) -> Result<()> {
        let before = self.now()?;
        let shorts = if before.short > 0 {
            3 * self.pods as u64
        } else {
            0
        };
        let now = wait::until("the sessions are used", Duration::from_secs(60), || {
            let now = self.now()?;
            let more = now.bytes >= before.bytes + self.count && now.short >= before.short + shorts;
            Ok((more || now.cut + now.short_failed > 0).then_some(now))
        })?;
        self.none_failed(&now)
    }

    /// Asks them to end, and waits for it. All have to end well.
    pub(crate) fn end(self) -> Result<Tally> {
        let start = Instant::now();
        self.cluster.terminate_named(&self.name)?;
        let tally = wait::until("the sessions sum up", Duration::from_secs(250), || {
            self.told("summary")
                .pop()
                .map(|line| Tally::of(&line))
                .transpose()
        })
        .with_context(|| run::tail_of(&self.log, 3))?;
        println!(
            "    {} sessions ended in {:.1} s",
            self.count,
            start.elapsed().as_secs_f64()
        );
        self.none_failed(&tally)?;
        ensure!(
            tally.ended_well == self.count,
            "{} of {} ended well",
            tally.ended_well,
            self.count
        );
        Ok(tally)
    }

    fn now(&self) -> Result<Tally> {
        Tally::of(&self.told("now").pop().context("nothing told")?)
    }

    fn none_failed(&self, tally: &Tally) -> Result<()> {
        let failures = self.failures();
        ensure!(
            tally.cut == 0 && tally.short_failed == 0,
            "{} of {} sessions cut, {} of {} short commands failed, such as:\n{}",
            tally.cut,
            self.count,
            tally.short_failed,
            tally.short,
            failures[..failures.len().min(6)].join("\n")
        );
        Ok(())
    }

    fn failures(&self) -> Vec<String> {
        let all = ["cut", "short-failed"]
            .into_iter()
            .flat_map(|event| self.told(event));
        all.map(|line| line.to_string()).collect()
    }

    /// What was told of one kind of event.
    fn told(&self, event: &str) -> Vec<Value> {
        peer::told(&self.log, event)
    }
}

impl Tally {
    fn of(line: &Value) -> Result<Self> {
        let count = |name: &str| {
            line[name]
                .as_u64()
                .with_context(|| format!("{name} in {line}"))
        };
        let time = |name: &str| line[name].as_f64().unwrap_or_default();
        Ok(Self {
            cut: count("cut")?,
            ended_well: count("ended_well")?,
            bytes: count("bytes")?,
            short: count("short")?,
            short_failed: count("short_failed")?,
            slowest_echo: time("slowest_echo"),
            slowest_short: time("slowest_short"),
        })
    }
}
