//! Somebody who execs into a node's pod and reads its logs all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::{Result, ensure};
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::wait;

use super::scene::{LONG, Scene};

/// One command.
#[derive(Debug)]
struct Try {
    what: &'static str,
    began: Instant,
    failed: Option<String>,
}

/// Asks until it is stopped: exec and logs have a thread each.
pub(crate) struct Asker {
    stop: Arc<AtomicBool>,
    ended: [Arc<AtomicUsize>; 2],
    threads: Vec<JoinHandle<Vec<Try>>>,
}

impl Asker {
    /// About the pod of `node`.
    pub(crate) fn start(scene: &Scene, node: &str) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let ended = [Arc::default(), Arc::default()];
        let pod = format!("box-{node}");
        let commands: [(&'static str, Vec<String>); 2] = [
            (
                "exec",
                ["exec", &pod, "--", "echo", "hi"].map(Into::into).into(),
            ),
            ("logs", ["logs", &pod].map(Into::into).into()),
        ];
        let threads = commands
            .into_iter()
            .zip(&ended)
            .map(|((what, args), ended)| {
                let (stop, ended) = (Arc::clone(&stop), Arc::clone(ended));
                let kubectl = scene.kubectl.clone();
                std::thread::spawn(move || ask(&kubectl, what, &args, &stop, &ended))
            });
        let asker = Self {
            threads: threads.collect(),
            stop,
            ended,
        };
        asker.more(2)?;
        Ok(asker)
    }

    /// Waits until `count` more of each command have ended.
    pub(crate) fn more(&self, count: usize) -> Result<()> {
        for ended in &self.ended {
            let until = ended.load(Ordering::Relaxed) + count;
            wait::until("more is asked", LONG, || {
                Ok((ended.load(Ordering::Relaxed) >= until).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Ends it. No command may have failed that began at `well` or later; those before are counted.
    pub(crate) fn end(self, well: Instant) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let tries = self
            .threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_default());
        let (mut all, mut before, mut after) = ([0, 0], [0, 0], Vec::new());
        for one in tries {
            let kind = usize::from(one.what == "logs");
            all[kind] += 1;
            match one.failed {
                Some(_) if one.began < well => before[kind] += 1,
                Some(why) => after.push(format!("{}: {why}", one.what)),
                None => {}
            }
        }
        println!(
            "    of {} execs {} failed, of {} logs {}; of those that began later {}",
            all[0],
            before[0],
            all[1],
            before[1],
            after.len()
        );
        ensure!(after.is_empty(), "{}", after.join("\n"));
        Ok(())
    }
}

fn ask(
    kubectl: &Kubectl,
    what: &'static str,
    args: &[String],
    stop: &AtomicBool,
    ended: &AtomicUsize,
) -> Vec<Try> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let wanted = if what == "exec" { "hi\n" } else { "" };
    let mut tries = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let failed = match kubectl.ok(&args) {
            Ok(told) if told == wanted => None,
            Ok(told) => Some(format!("{told:?}")),
            Err(error) => Some(format!("{error:#}")),
        };
        tries.push(Try {
            what,
            began,
            failed,
        });
        ended.fetch_add(1, Ordering::Relaxed);
    }
    tries
}
