//! Traffic comes to the agent and goes back, and the agent says where it is.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::json;
use streamway_e2e::{run, wait};

use super::asker::{Asker, none_failed, summary};
use super::process::Agent;
use super::session::Session;
use super::world::{LONG, World};

/// The agent of the first checks.
pub(crate) const FIRST: &str = "first";

/// What the API server passed on, and what it translated.
fn counted(world: &World<'_>) -> Result<[u64; 2]> {
    Ok([
        world.cluster.streaming_requests("proxied_to_kubelet")?,
        world
            .cluster
            .streaming_requests("translated_at_apiserver")?,
    ])
}

fn exec(world: &World<'_>) -> Result<()> {
    let said = world
        .kubectl
        .ok(&["exec", "box-one", "--", "echo", "hello"])?;
    ensure!(said == "hello\n", "{said:?}");
    Ok(())
}

/// Has traffic of node `one` come to the agent, and declares the feature.
pub(crate) fn redirected(world: &World<'_>) -> Result<()> {
    let agent = Agent::of(world, FIRST);
    let before = counted(world)?;
    exec(world)?;
    let translated = counted(world)?;
    ensure!(
        translated == [before[0], before[1] + 1],
        "{before:?} {translated:?}"
    );
    ensure!(agent.sessions().is_empty(), "it came to the agent already");

    world.wish("one", &json!({"traffic": "Agent"}))?;
    world.status("one", "traffic comes to the agent", |agent| {
        agent["traffic"] == "Agent"
    })?;
    exec(world)?;
    ensure!(
        counted(world)? == [before[0], before[1] + 2],
        "the feature is not declared yet"
    );
    world.declare("one", true)?;
    exec(world)?;
    let passed = counted(world)?;
    ensure!(
        passed == [before[0] + 1, before[1] + 2],
        "{before:?} {passed:?}"
    );
    // A client has its status before the agent has seen the session's end.
    wait::until("both sessions are told of", LONG, || {
        let protocols: Vec<_> = agent
            .sessions()
            .iter()
            .map(|line| line["client_protocol"].to_string())
            .collect();
        ensure!(
            protocols == ["\"SPDY/3.1\"", "\"v5.channel.k8s.io\""],
            "{protocols:?}"
        );
        Ok(Some(()))
    })?;
    world.kubectl.ok(&["logs", "box-one"])?;
    let metrics = agent.metrics()?;
    ensure!(
        metrics.contains("streamway_agent_redirect_active 1"),
        "{metrics}"
    );
    println!(
        "    counters [proxied_to_kubelet, translated_at_apiserver]: {before:?}, then {passed:?}"
    );
    Ok(())
}

/// Requests change nothing in the NodeStreaming.
pub(crate) fn reported_once(world: &World<'_>) -> Result<()> {
    let before = world.streaming("one")?;
    let asker = Asker::start(world, "one")?;
    asker.more(10)?;
    let tries = asker.stop();
    none_failed(&tries)?;
    let after = world.streaming("one")?;
    let version = |streaming: &serde_json::Value| streaming["metadata"]["resourceVersion"].clone();
    ensure!(version(&before) == version(&after), "{before} {after}");
    println!("    {}; no write meanwhile", summary(&tries));
    println!("    status.agent: {}", after["status"]["agent"]);
    Ok(())
}

/// The wish ends: new ones go to the kubelet, sessions stay.
pub(crate) fn given_back(world: &World<'_>) -> Result<()> {
    let server = world.cluster.url().replace("https://", "");
    let mut session = Session::open(&server, "box-one")?;
    session.echoes("before")?;
    let before = counted(world)?;
    world.declare("one", false)?;
    world.wish("one", &json!({"traffic": "Kubelet"}))?;
    world.status("one", "traffic goes to the kubelet", |agent| {
        agent["traffic"] == "Kubelet"
    })?;
    exec(world)?;
    ensure!(counted(world)? == [before[0], before[1] + 1]);
    session.echoes("after")?;
    session.ends_well()
}

/// An agent that may not redirect tells why, before anything is wished.
pub(crate) fn without_the_right(world: &World<'_>) -> Result<()> {
    let front = [
        "setpriv",
        "--bounding-set=-net_admin",
        "--inh-caps=-net_admin",
    ];
    let agent = Agent::start_by(world, "two", "unprivileged", &front)?;
    world.approve("two")?;
    agent.ready()?;
    let why = |agent: &serde_json::Value| {
        agent["podName"] == "unprivileged"
            && agent["message"]
                .as_str()
                .is_some_and(|why| why.contains("NET_ADMIN"))
    };
    let status = world.status("two", "the agent says what it lacks", why)?;
    ensure!(
        status["ready"] == true && status["traffic"] == "Kubelet",
        "{status}"
    );
    world.wish("two", &json!({"traffic": "Agent"}))?;
    world.status("two", "it still says so", why)?;
    println!("    {status}");
    // By way of the port there is nothing to lack.
    world.wish("two", &json!({"traffic": "Agent", "way": "Port"}))?;
    world.status("two", "nothing is wrong", |agent| {
        agent["message"].is_null()
    })?;
    agent.kill()?;
    let tables = world
        .cluster
        .in_node(world.cluster.node("two")?, Path::new("nft"));
    let tables = run::output({ tables }.args(["list", "tables"]))?;
    ensure!(!tables.contains("streamway"), "{tables}");
    Ok(())
}
