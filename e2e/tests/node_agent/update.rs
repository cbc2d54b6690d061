//! An update: the new agent starts beside the old one, which is then told to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use streamway_e2e::wait;

use super::asker::{Asker, none_failed, summary};
use super::process::Agent;
use super::session::Session;
use super::traffic::FIRST;
use super::world::{LONG, World};

/// Sessions that are open all the time.
const SESSIONS: usize = 20;

/// By redirection. Afterwards the new one is called as the old one.
pub(crate) fn side_by_side(world: &World<'_>) -> Result<()> {
    update(world, "second")?;
    update(world, FIRST)
}

fn update(world: &World<'_>, to: &str) -> Result<()> {
    let from = if to == FIRST { "second" } else { FIRST };
    let old = Agent::of(world, from);
    let asker = Asker::start(world, "one")?;
    let mut sessions = open(world)?;
    let new = start(world, to)?;
    world.status("one", "the new one speaks", |agent| {
        agent["podName"] == to && agent["ready"] == true && agent["traffic"] == "Agent"
    })?;
    asker.more(3)?;
    let at_new = new.sessions().len();
    ensure!(at_new > 0, "nothing came to the new one");
    old.signal("-TERM")?;
    old.says("\"closing\"")?;
    // Those that had come to it by then have ended.
    asker.more(3)?;
    let at_old = old.sessions().len();
    asker.more(3)?;
    for session in &mut sessions {
        session
            .echoes("closing")
            .context("a session of the old one")?;
    }
    ensure!(
        old.sessions().len() == at_old,
        "new sessions came to the old one"
    );
    for session in sessions {
        session.ends_well()?;
    }
    old.gone()?;
    asker.more(3)?;
    let tries = asker.stop();
    let status = world.streaming("one")?["status"]["agent"].clone();
    ensure!(
        status["podName"] == to && status["ready"] == true,
        "{status}"
    );
    println!(
        "    {from} to {to}: {SESSIONS} sessions went on and ended well; {}",
        summary(&tries)
    );
    none_failed(&tries)
}

/// By the port that the Node names. The feature is declared only at the end: without the webhook the
/// kubelet takes the port back for a moment every ten seconds.
pub(crate) fn by_port(world: &World<'_>) -> Result<()> {
    world.wish("one", &json!({"traffic": "Agent", "way": "Port"}))?;
    let port = Port::keep(world);
    let old = Agent::of(world, FIRST);
    let before = old.sessions().len();
    wait::until("execs come to the agent", LONG, || {
        world.kubectl.ok(&["exec", "box-one", "--", "true"])?;
        Ok((old.sessions().len() > before).then_some(()))
    })?;
    let asker = Asker::start(world, "one")?;
    let mut sessions = open(world)?;
    let new = start(world, "third")?;
    asker.more(3)?;
    ensure!(!new.sessions().is_empty(), "nothing came to the new one");
    old.signal("-TERM")?;
    old.says("\"closing\"")?;
    asker.more(5)?;
    for session in &mut sessions {
        session
            .echoes("closing")
            .context("a session of the old one")?;
    }
    for session in sessions {
        session.ends_well()?;
    }
    old.gone()?;
    asker.more(5)?;
    let tries = asker.stop();
    println!(
        "    by the port: {SESSIONS} sessions went on and ended well; {}",
        summary(&tries)
    );
    none_failed(&tries)?;
    let metrics = new.metrics()?;
    ensure!(
        metrics.contains("streamway_agent_redirect_active 0"),
        "{metrics}"
    );
    world.declare("one", true)?;
    wait::until("WebSockets come to the agent", LONG, || {
        world.kubectl.ok(&["exec", "box-one", "--", "true"])?;
        let sessions = new.sessions();
        Ok(sessions
            .iter()
            .any(|line| line["client_protocol"] == "v5.channel.k8s.io")
            .then_some(()))
    })?;
    world.declare("one", false)?;
    drop(port);
    world.patch_node("one", &endpoint(10250))?;
    world.wish("one", &json!({"traffic": "Kubelet", "way": "Redirect"}))?;
    new.kill()
}

/// Writes the agent's port into the Node again and again, against its kubelet.
struct Port {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Port {
    fn keep(world: &World<'_>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, kubectl) = (Arc::clone(&stop), world.kubectl.clone());
        let patch = json!({"status": endpoint(10350)}).to_string();
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let target = [
                    "patch",
                    "node",
                    "one",
                    "--subresource=status",
                    "--type=merge",
                ];
                let _ = kubectl.ok(&[&target[..], &["-p", &patch]].concat());
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sessions of node `one`.
pub(crate) fn open(world: &World<'_>) -> Result<Vec<Session>> {
    let server = world.cluster.url().replace("https://", "");
    (0..SESSIONS)
        .map(|_| {
            let mut session = Session::open(&server, "box-one")?;
            session.echoes("open")?;
            Ok(session)
        })
        .collect()
}

/// A new agent of node `one`, approved where it has to be.
fn start<'a>(world: &'a World<'a>, name: &str) -> Result<Agent<'a>> {
    let agent = Agent::of(world, name);
    let known = agent.certificate().exists();
    let agent = Agent::start(world, "one", name)?;
    if !known {
        world.approve("one")?;
    }
    agent.ready()?;
    Ok(agent)
}

fn endpoint(port: u16) -> serde_json::Value {
    json!({"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}})
}
