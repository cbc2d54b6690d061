//! `bench/peer clients`: client-go's watches and exec sessions, held while something is done.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use streamway_e2e::cluster::Cluster;
use streamway_e2e::{peer, run, wait};

/// Clients that run. They end with the cluster.
pub(crate) struct Clients<'a> {
    cluster: &'a Cluster,
    name: String,
    /// How long they took to be up.
    took: Duration,
    log: PathBuf,
    watches: usize,
    execs: usize,
}

/// What came of them.
#[derive(Debug)]
pub(crate) struct Summary {
    /// Watches that were interrupted, each time counted.
    pub(crate) interrupted: u64,
    /// Watches that went on, each time counted.
    pub(crate) resumed: u64,
    /// Watches whose last version was too old for the API server: they listed.
    pub(crate) relisted: u64,
    /// Watches that were interrupted by an error that an API server's end is not.
    pub(crate) errors: Vec<String>,
    /// Changes of the pod that the API server confirmed.
    pub(crate) changes: u64,
    /// Changes that failed.
    pub(crate) changes_failed: u64,
    /// Changes that a watch was not told, over all watches.
    pub(crate) missed: u64,
    /// Sessions that ended by themselves.
    pub(crate) execs_ended: u64,
    /// Those among them that claimed success.
    pub(crate) execs_succeeded: u64,
    /// How long they took to be up.
    took: Duration,
    /// How long watches were interrupted, in seconds: the median, and the longest.
    pub(crate) seconds: (f64, f64),
}

impl<'a> Clients<'a> {
    /// Starts them as the administrator, and waits until all watches and sessions are up.
    pub(crate) fn up(
        cluster: &'a Cluster,
        name: &str,
        kubeconfig: &Path,
        watches: usize,
        execs: usize,
    ) -> Result<Self> {
        let (held, open) = (watches.to_string(), execs.to_string());
        let args = ["clients", "-context", "admin", "-pod", "box-node"];
        let mut command = run::command(peer::peer()?, args);
        command.args(["-watches", &held, "-execs", &open, "-kubeconfig"]);
        cluster.start(name, command.arg(kubeconfig))?;
        let start = Instant::now();
        let mut clients = Self {
            cluster,
            name: name.to_owned(),
            took: Duration::ZERO,
            log: cluster.log(name),
            watches,
            execs,
        };
        let up = wait::until("the clients are up", Duration::from_secs(120), || {
            let failed = clients.text().contains("peer clients:");
            Ok((failed || !clients.told("up").is_empty()).then_some(!failed))
        });
        match up {
            Ok(true) => {
                clients.took = start.elapsed();
                Ok(clients)
            }
            Ok(false) => bail!("{}", run::tail_of(&clients.log, 3)),
            Err(error) => Err(error).context(run::tail_of(&clients.log, 3)),
        }
    }

    /// What they told of one kind of event.
    pub(crate) fn told(&self, event: &str) -> Vec<Value> {
        peer::told(&self.log, event)
    }

    /// Waits until every watch was interrupted and has resumed, and every session has ended.
    pub(crate) fn all_were_cut(&self) -> Result<()> {
        let counts = || {
            (
                self.told("watch-resumed").len(),
                self.told("exec-end").len(),
            )
        };
        wait::until("all were cut", Duration::from_secs(60), || {
            let (resumed, ended) = counts();
            Ok((resumed >= self.watches && ended >= self.execs).then_some(()))
        })
        .with_context(|| {
            format!(
                "watches that resumed and sessions that ended: {:?}",
                counts()
            )
        })
    }

    /// Ends them, once each watch was told the last change.
    pub(crate) fn finish(self) -> Result<Summary> {
        self.cluster.terminate_named(&self.name)?;
        let line = wait::until("the clients sum up", Duration::from_secs(70), || {
            Ok(self.told("summary").pop())
        })
        .with_context(|| run::tail_of(&self.log, 3))?;
        let mut seconds: Vec<f64> = self
            .told("watch-resumed")
            .iter()
            .filter_map(|line| line["seconds"].as_f64())
            .collect();
        seconds.sort_by(f64::total_cmp);
        let nth = |index: usize| seconds.get(index).copied().unwrap_or_default();
        let count = |name: &str| {
            line[name]
                .as_u64()
                .with_context(|| format!("{name} in {line}"))
        };
        Ok(Summary {
            took: self.took,
            interrupted: count("interrupted")?,
            resumed: count("resumed")?,
            relisted: count("relisted")?,
            errors: self.errors(),
            changes: count("changes")?,
            changes_failed: count("changes_failed")?,
            missed: count("missed")?,
            execs_ended: count("execs_ended")?,
            execs_succeeded: count("execs_succeeded")?,
            seconds: (nth(seconds.len() / 2), nth(seconds.len().saturating_sub(1))),
        })
    }

    /// What watches were interrupted by, but for what client-go takes for an ordinary end, and for a
    /// version that is too old for an API server that has just started. At anything else its reflectors
    /// list everything again.
    fn errors(&self) -> Vec<String> {
        let lines = self.told("watch-interrupted").into_iter();
        let reasons = lines.map(|line| line["reason"].to_string());
        let ordinary = |reason: &str| {
            reason.contains("the watch ended") || reason.contains("too old resource version")
        };
        reasons.filter(|reason| !ordinary(reason)).collect()
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Summary {
    /// Prints it.
    pub(crate) fn tell(&self, way: &str) {
        println!(
            "    {way}: up after {:.1} s; {} watches interrupted, {} resumed after {:.1} s (longest {:.1} s), {} listed again, \
             {} changes, {} missed, {} refused; {} sessions ended, {} with success",
            self.took.as_secs_f64(),
            self.interrupted,
            self.resumed,
            self.seconds.0,
            self.seconds.1,
            self.relisted,
            self.changes,
            self.missed,
            self.changes_failed,
            self.execs_ended,
            self.execs_succeeded,
        );
    }

    /// Every watch that was interrupted goes on, and none missed a change.
    pub(crate) fn watches_are_whole(&self, watches: usize) -> Result<()> {
        let errors = &self.errors;
        ensure!(errors.is_empty(), "{}: {:?}", errors.len(), errors.first());
        ensure!(self.interrupted >= watches as u64, "{self:?}");
        ensure!(self.resumed == self.interrupted, "{self:?}");
        ensure!(self.missed == 0 && self.changes > 0, "{self:?}");
        Ok(())
    }
}
