//! One of several API servers goes.

use anyhow::{Context, Result, ensure};
use streamway_e2e::cluster::{Cluster, Gateway};
use tokio::runtime::Runtime;

use super::asker::{Asker, GET, MANY, POST};
use super::gateway::{address, healthy};
use super::session::Session;
use super::watch::Watch;

/// Sessions and watches before several API servers: four for each of three.
const DOZEN: usize = 12;

/// As by a crash.
pub(crate) fn one_is_killed(runtime: &Runtime, cluster: &Cluster, gateway: &Gateway) -> Result<()> {
    let (watches, watching) = dozen_watches(runtime, cluster, gateway)?;
    let (sessions, streaming) = dozen_sessions(cluster, gateway)?;
    println!("    {DOZEN} watches are on {watching:?}, {DOZEN} sessions on {streaming:?}");
    let spread = |open: &[usize]| open.iter().all(|count| (3..=5).contains(count));
    ensure!(spread(&watching) && spread(&streaming), "not spread");
    change(cluster, &gateway.url, "before")?;
    for watch in &watches {
        watch.tells("before")?;
    }
    let asker = Asker::start(runtime, address(gateway), &[GET]);
    asker.more(MANY)?;
    cluster.kill_api_server(1)?;
    asker.more(MANY)?;
    change(cluster, &gateway.url, "during")?;
    let mut alive = 0;
    for mut session in sessions {
        if session.echoes("during")? {
            alive += 1;
        } else {
            session.fails()?;
        }
    }
    let (ended, whole): (Vec<Watch>, Vec<Watch>) =
        watches.into_iter().partition(|watch| watch.end().is_some());
    for watch in &whole {
        watch.tells("during")?;
    }
    println!(
        "    the second killed: {} watches ended and {} go on, {alive} sessions go on",
        ended.len(),
        whole.len()
    );
    ensure!(ended.len() == watching[1], "other watches ended");
    for watch in &ended {
        let end = watch.end();
        ensure!(end == Some(Ok(())), "a watch ended with {end:?}");
    }
    ensure!(alive == DOZEN - streaming[1], "other sessions ended");
    cluster.start_api_server_again(1)?;
    healthy(cluster, gateway, 1, true)?;
    asker.more(MANY)?;
    let (asked, connected) = asker.none_failed(runtime)?;
    println!("    {asked} requests over {connected} connections meanwhile, none failed");
    let (_held, again) = dozen_watches(runtime, cluster, gateway)?;
    println!("    when it is back, {DOZEN} new watches are on {again:?}");
    ensure!(again[1] >= 3, "it gets nothing new");
    Ok(())
}

/// It says that it is not ready, and still serves.
pub(crate) fn one_is_leaving(
    runtime: &Runtime,
    cluster: &Cluster,
    gateway: &Gateway,
) -> Result<()> {
    let (mut sessions, streaming) = dozen_sessions(cluster, gateway)?;
    let asker = Asker::start(runtime, address(gateway), &[GET, POST]);
    asker.more(MANY)?;
    cluster.terminate_named("kube-apiserver-2")?;
    healthy(cluster, gateway, 2, false)?;
    asker.more(MANY)?;
    let url = &cluster.urls()[2];
    change(cluster, url, "leaving").context("the API server that leaves still serves")?;
    let (_held, new) = dozen_watches(runtime, cluster, gateway)?;
    let (asked, connected) = asker.none_failed(runtime)?;
    println!(
        "    {DOZEN} sessions on {streaming:?}; the third not ready: {DOZEN} new watches on {new:?}; \
         {asked} requests over {connected} connections meanwhile, none failed"
    );
    ensure!(streaming[2] >= 3 && new[2] == 0, "it got something new");
    for session in &mut sessions {
        ensure!(session.echoes("leaving")?, "a session was cut");
    }
    cluster.kill_api_server(2)?;
    let mut failed = 0;
    for mut session in sessions {
        if !session.echoes("gone")? {
            session.fails()?;
            failed += 1;
        }
    }
    ensure!(failed == streaming[2], "{failed} ended with it");
    cluster.start_api_server_again(2)?;
    healthy(cluster, gateway, 2, true)
}

/// Requests that each API server says to have open.
fn open(cluster: &Cluster, what: &str) -> Result<Vec<usize>> {
    let kubectl = cluster.kubectl()?;
    let count = |url: &String| {
        let metrics = kubectl.ok(&["--server", url, "get", "--raw", "/metrics"])?;
        let line = |line: &&str| {
            line.starts_with("apiserver_longrunning_requests{") && line.contains(what)
        };
        let counts = metrics.lines().filter(line);
        let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
        Ok(counts.sum())
    };
    cluster.urls().iter().map(count).collect()
}

/// Opens a dozen watches: how many are on each API server.
fn dozen_watches(
    runtime: &Runtime,
    cluster: &Cluster,
    gateway: &Gateway,
) -> Result<(Vec<Watch>, Vec<usize>)> {
    // The API server's own and the kubelet's have another scope.
    let what = r#"resource="configmaps",scope="namespace",subresource="",verb="WATCH""#;
    let before = open(cluster, what)?;
    let watches = Watch::several(runtime, address(gateway), DOZEN)?;
    let now = open(cluster, what)?;
    Ok((watches, grown(&before, &now)))
}

/// The same with sessions.
fn dozen_sessions(cluster: &Cluster, gateway: &Gateway) -> Result<(Vec<Session>, Vec<usize>)> {
    let what = r#"resource="pods",scope="resource",subresource="exec",verb="CONNECT""#;
    let before = open(cluster, what)?;
    let sessions = Session::several(address(gateway), DOZEN)?;
    let now = open(cluster, what)?;
    Ok((sessions, grown(&before, &now)))
}

fn grown(before: &[usize], now: &[usize]) -> Vec<usize> {
    let both = now.iter().zip(before);
    both.map(|(now, before)| now.saturating_sub(*before))
        .collect()
}

/// Makes a ConfigMap, and deletes it.
pub(crate) fn change(cluster: &Cluster, url: &str, name: &str) -> Result<()> {
    let kubectl = cluster.kubectl()?;
    kubectl.ok(&["--server", url, "create", "configmap", name])?;
    kubectl
        .ok(&["--server", url, "delete", "configmap", name])
        .map(drop)
}
