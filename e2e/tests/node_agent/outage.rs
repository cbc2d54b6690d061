//! The agent dies, hangs, comes back; the API server goes away.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use streamway_e2e::wait;

use super::asker::{Asker, none_failed, summary};
use super::process::{Agent, address, answers};
use super::traffic::FIRST;
use super::update;
use super::world::{LONG, World};

/// SIGKILL. The feature stays declared: kubectl falls back to SPDY where the kubelet refuses v5, others
/// have to wait until the controller withdraws it.
pub(crate) fn killed(world: &World<'_>) -> Result<()> {
    let agent = Agent::of(world, FIRST);
    let asker = Asker::start(world, "one")?;
    asker.more(5)?;
    let mut idle = update::open(world)?;
    let killing = Instant::now();
    agent.kill()?;
    let killed = Instant::now();
    // Their clients are told, though nobody is left to translate addresses.
    for session in &mut idle {
        session
            .ends()
            .context("a session of an agent that is dead")?;
    }
    let told = killed.elapsed();
    // The API server itself notices a peer that said nothing after 30 s.
    ensure!(
        told < Duration::from_secs(15),
        "they were told after {told:?}"
    );
    asker.more(5)?;
    let withdrawing = Instant::now();
    world.declare("one", false)?;
    let withdrawn = Instant::now();
    asker.more(5)?;
    // Back, in the order of the way in.
    let agent = Agent::start(world, "one", FIRST)?;
    agent.ready()?;
    agent.says("new connections for the kubelet's port come here")?;
    let back = killed.elapsed();
    world.status("one", "it is back", |agent| {
        agent["traffic"] == "Agent" && agent["ready"] == true
    })?;
    world.declare("one", true)?;
    asker.more(5)?;
    let tries = asker.stop();
    let (in_flight, others): (Vec<_>, Vec<_>) = tries
        .into_iter()
        .partition(|one| one.began <= killed && one.ended >= killing);
    let (window, others): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|one| one.what == "websocket" && one.began > killed && one.began < withdrawn);
    println!(
        "    open when it was killed: {}; {} idle sessions had ended {told:.1?} later",
        summary(&in_flight),
        idle.len()
    );
    println!(
        "    then by WebSocket without a fallback, until the feature was withdrawn {:.1}s later: {} of {} refused: {}",
        (withdrawing - killed).as_secs_f64(),
        window.iter().filter(|one| one.failed.is_some()).count(),
        window.len(),
        window
            .iter()
            .find_map(|one| one.failed.clone())
            .unwrap_or_default()
            .replace("\r\n", " "),
    );
    println!(
        "    others: {}; an agent was back after {back:.1?}",
        summary(&others)
    );
    ensure!(
        world.pending("one")?.is_empty(),
        "its certificate was still good"
    );
    none_failed(&others)
}

/// SIGSTOP, of the whole process.
pub(crate) fn stopped(world: &World<'_>) -> Result<()> {
    let agent = Agent::of(world, FIRST);
    let address = address(world, "one", 10250)?;
    wait::until("the agent answers", LONG, || {
        Ok(answers(&address).then_some(()))
    })?;
    agent.signal("-STOP")?;
    let start = Instant::now();
    wait::until(
        "the kubelet answers instead",
        Duration::from_secs(20),
        || Ok(answers(&address).then_some(())),
    )?;
    println!(
        "    new connections went to the kubelet {:.1?} after SIGSTOP",
        start.elapsed()
    );
    ensure!(agent.check("/livez").is_err(), "it was not stopped");
    // The connections that the API server keeps are reset, so that it makes new ones.
    wait::until("kubectl logs works", LONG, || {
        world.kubectl.ok(&["logs", "box-one"]).map(Some)
    })?;
    println!(
        "    kubectl logs worked {:.1?} after SIGSTOP",
        start.elapsed()
    );
    world.declare("one", false)?;
    let asker = Asker::start(world, "one")?;
    asker.more(5)?;
    let tries = asker.stop();
    println!("    stopped and withdrawn: {}", summary(&tries));
    none_failed(&tries)?;
    agent.signal("-CONT")?;
    agent.ready()?;
    wait::until("traffic comes to the agent again", LONG, || {
        let before = agent.sessions().len();
        world.kubectl.ok(&["exec", "box-one", "--", "true"])?;
        Ok((agent.sessions().len() > before).then_some(()))
    })?;
    world.declare("one", true)
}

/// Without the API server the node goes on, and a wish that comes later is heard.
pub(crate) fn api_server_away(world: &World<'_>) -> Result<()> {
    let agent = Agent::of(world, FIRST);
    world.cluster.kill_api_server(0)?;
    agent.says("cannot be watched; nothing changes here")?;
    let metrics = agent.metrics()?;
    ensure!(
        metrics.contains("streamway_agent_redirect_active 1"),
        "{metrics}"
    );
    agent.check("/readyz")?;
    world.cluster.start_api_server_again(0)?;
    let asker = Asker::start(world, "one")?;
    asker.more(3)?;
    let tries = asker.stop();
    println!("    after its return: {}", summary(&tries));
    none_failed(&tries)?;
    let start = Instant::now();
    world.declare("one", false)?;
    world.wish("one", &json!({"traffic": "Kubelet"}))?;
    world.status("one", "the wish is heard", |agent| {
        agent["traffic"] == "Kubelet"
    })?;
    println!(
        "    a wish was heard and answered after {:.1?}",
        start.elapsed()
    );
    world.wish("one", &json!({"traffic": "Agent"}))?;
    world.status("one", "and the next", |agent| agent["traffic"] == "Agent")?;
    world.declare("one", true)
}
