//! Somebody who execs and reads logs all the time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::wait;

use super::session;
use super::world::{LONG, World};

/// What is asked.
const COMMANDS: [&str; 3] = ["exec", "logs", "websocket"];

/// One try.
#[derive(Debug, Clone)]
pub(crate) struct Try {
    pub(crate) what: &'static str,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    /// Why it failed.
    pub(crate) failed: Option<String>,
}

/// Asks until it is stopped: each command has a thread.
pub(crate) struct Asker {
    stop: Arc<AtomicBool>,
    tries: Arc<Mutex<Vec<Try>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Asker {
    /// About the pod of `node`.
    pub(crate) fn start(world: &World<'_>, node: &str) -> Result<Self> {
        let (stop, tries) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let server = world.cluster.url().replace("https://", "");
        let mut threads = Vec::new();
        for what in COMMANDS {
            let (stop, tries): (_, Arc<Mutex<Vec<Try>>>) = (Arc::clone(&stop), Arc::clone(&tries));
            let (kubectl, server) = (world.kubectl.clone(), server.clone());
            let pod = format!("box-{node}");
            threads.push(std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let failed = ask(&kubectl, &server, what, &pod).err();
                    let one = Try {
                        what,
                        began,
                        ended: Instant::now(),
                        failed: failed.map(|error| format!("{error:#}")),
                    };
                    tries
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(one);
                }
            }));
        }
        Ok(Self {
            stop,
            tries,
            threads,
        })
    }

    fn tries(&self) -> Vec<Try> {
        self.tries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until `count` more of each command began and ended.
    pub(crate) fn more(&self, count: usize) -> Result<()> {
        let from = Instant::now();
        wait::until("more is asked", LONG, || {
            let tries = self.tries();
            let enough = |what: &&str| {
                let new = tries
                    .iter()
                    .filter(|one| one.what == *what && one.began > from);
                new.count() >= count
            };
            Ok(COMMANDS.iter().all(enough).then_some(()))
        })
    }

    /// Stops, and tells everything.
    pub(crate) fn stop(self) -> Vec<Try> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        let tries = self.tries.lock();
        tries.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn ask(kubectl: &Kubectl, server: &str, what: &str, pod: &str) -> Result<()> {
    match what {
        "exec" => {
            let said = kubectl.ok(&["exec", pod, "--", "echo", "hello"])?;
            ensure!(said == "hello\n", "{said:?}");
        }
        "logs" => {
            kubectl.ok(&["logs", pod])?;
        }
        _ => session::hello(server, pod)?,
    }
    Ok(())
}

/// How many there are of each command, the longest, and which failed.
pub(crate) fn summary(tries: &[Try]) -> String {
    let of = |what: &str| {
        let tries = || tries.iter().filter(move |one| one.what == what);
        let longest = tries().map(|one| one.ended - one.began).max();
        let failed = tries().filter(|one| one.failed.is_some()).count();
        let longest = longest.unwrap_or(Duration::ZERO).as_secs_f64();
        format!(
            "{} {what} ({failed} failed, longest {longest:.1}s)",
            tries().count()
        )
    };
    COMMANDS.map(of).join(", ")
}

/// None of these failed.
pub(crate) fn none_failed(tries: &[Try]) -> Result<()> {
    let failed: Vec<_> = tries.iter().filter(|one| one.failed.is_some()).collect();
    ensure!(failed.is_empty(), "{failed:?}");
    ensure!(!tries.is_empty(), "nothing was asked");
    Ok(())
}
