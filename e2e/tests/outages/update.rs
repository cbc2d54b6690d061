//! Gateways that are updated.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use streamway_e2e::cluster::{Cluster, Gateway};
use streamway_e2e::httpclient::{HttpClient, Speaks};
use streamway_e2e::install::Kubectl as Which;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::{run, wait};
use tokio::runtime::Runtime;

use super::asker::{Asker, GET, MANY, POST};
use super::balancer::Balancer;
use super::clients::Clients;
use super::gateway::{address, gone, log_of, logged};
use super::session::Session;
use super::several::change;
use super::watch::{Watch, request};

/// The grace period is long enough for what has to happen within it on a slow machine.
const GRACE: [&str; 4] = [
    "--shutdown-delay-duration",
    "2s",
    "--shutdown-grace-period",
    "20s",
];

/// client-go's watches and sessions over the update, and others of each that are looked at frame by
/// frame.
const FEW: usize = 5;

const CUTTING: &str = "grace period is over, cutting sessions";

/// Two gateways behind a Service: the new one starts, the old one is told to end.
pub(crate) fn rolling_update(runtime: &Runtime, cluster: &Cluster) -> Result<()> {
    let old = cluster.gateway("old").args(&GRACE).up()?;
    let balancer = Balancer::start(runtime)?;
    balancer.add(runtime, &old);
    let address = &balancer.address;
    let kubeconfig = balanced(cluster, &old, address)?;
    let clients = Clients::up(cluster, "rolling", &kubeconfig, FEW, FEW)?;
    let watches = Watch::several(runtime, address, FEW)?;
    let ending = Session::several(address, FEW)?;
    let mut staying = Session::several(address, FEW)?;
    let mut kubectl = Kubectl::new(Which::Current, kubeconfig, "admin")?
        .command(&["exec", "box-node", "--", "sleep", "100000"])
        .stderr(Stdio::piped())
        .spawn()?;
    streams(&old, 3 * FEW + 1)?;
    let asker = Asker::start(runtime, address, &[GET, POST]);
    asker.more(MANY)?;

    let new = cluster.gateway("new").args(&GRACE).up()?;
    balancer.add(runtime, &new);
    asker.more(MANY)?;
    cluster.terminate_named(&old.name)?;
    logged(&old, "closing")?;
    asker.more(MANY)?;
    change(cluster, &new.url, "closing")?;
    for watch in &watches {
        watch.tells("closing")?;
    }
    for session in &mut staying {
        ensure!(session.echoes("closing")?, "a session was cut at once");
    }
    for session in ending {
        session.ends_well()?;
    }
    ensure!(kubectl.try_wait()?.is_none(), "kubectl was cut at once");

    let cutting = logged(&old, CUTTING)?;
    for session in staying {
        let status = session.fails()?;
        ensure!(status.contains("shutting down"), "{status}");
    }
    gone(&old)?;
    let kubectl = kubectl.wait_with_output()?;
    let told = String::from_utf8_lossy(&kubectl.stderr);
    ensure!(!kubectl.status.success(), "{kubectl:?}");
    clients.all_were_cut()?;
    let summary = clients.finish()?;
    let (asked, connected) = asker.none_failed(runtime)?;
    println!(
        "    {asked} requests over {connected} connections meanwhile, none failed; the gateways got {:?}; \
         {} were open at the grace period's end; kubectl: {}: {}",
        balancer.connections(),
        cutting["open"],
        kubectl.status,
        told.trim()
    );
    summary.tell("client-go");
    for watch in &watches {
        let end = watch.end();
        ensure!(end == Some(Ok(())), "a watch ended with {end:?}");
    }
    summary.watches_are_whole(FEW)?;
    ensure!(summary.execs_ended == FEW as u64, "{summary:?}");
    ensure!(summary.execs_succeeded == 0, "{summary:?}");
    cut_at_the_end(&old)
}

/// Waits until the gateway has so many sessions.
fn streams(gateway: &Gateway, count: usize) -> Result<()> {
    wait::until("sessions are open", Duration::from_secs(30), || {
        let metrics = gateway.metrics()?;
        let active = metrics
            .lines()
            .filter(|line| line.starts_with("streamway_streaming_active_connections{"));
        let active: usize = active
            .filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok())
            .sum();
        Ok((active == count).then_some(()))
    })
}

/// By its log, sessions that did not end well ended after the grace period.
fn cut_at_the_end(gateway: &Gateway) -> Result<()> {
    let log = log_of(gateway)?;
    let end = log.iter().position(|line| line["message"] == CUTTING);
    let end = end.context("the end of the grace period")?;
    let (before, after): (Vec<_>, Vec<_>) = log
        .iter()
        .enumerate()
        .filter(|(_, line)| line["message"] == "session")
        .partition(|(number, _)| *number < end);
    let outcomes = |lines: &[(usize, &Value)]| -> Vec<String> {
        lines
            .iter()
            .map(|(_, line)| line["outcome"].to_string())
            .collect()
    };
    let (before, after) = (outcomes(&before), outcomes(&after));
    println!("    sessions of the old one: {before:?}, then {after:?}");
    ensure!(before.len() == FEW, "{before:?}");
    ensure!(after.len() == 2 * FEW + 1, "{after:?}");
    let cut = |outcomes: &[String]| outcomes.iter().all(|outcome| outcome == "\"shutdown\"");
    ensure!(cut(&after), "{after:?}");
    Ok(())
}

fn balanced(cluster: &Cluster, gateway: &Gateway, address: &str) -> Result<PathBuf> {
    let text = fs::read_to_string(&gateway.kubeconfig)?;
    let path = cluster.file("balanced.kubeconfig");
    fs::write(
        &path,
        text.replace(&gateway.url, &format!("https://{address}")),
    )?;
    Ok(path)
}
/// An API server that hangs has a request when the gateway is told to end: the gateway waits for it.
pub(crate) fn answers_what_runs(
    runtime: &Runtime,
    cluster: &Cluster,
    speaks: Speaks,
) -> Result<()> {
    let flags = ["--shutdown-delay-duration", "1s"];
    let name = format!("short-{speaks:?}");
    let gateway = cluster.gateway(&name).args(&flags).up()?;
    let pid = fs::read_to_string(cluster.file("kube-apiserver.pid"))?;
    let signal = |signal: &str| run::output(&mut run::command("kill", [signal, pid.as_str()]));
    let mut client = runtime.block_on(HttpClient::connect(address(&gateway), speaks, None))?;
    signal("-STOP")?;
    let asked = runtime.spawn(async move {
        let asked = request(GET.method, GET.path, "");
        client.whole(asked).await
    });
    let closing = cluster
        .terminate_named(&gateway.name)
        .and_then(|_| logged(&gateway, "closing"));
    signal("-CONT")?;
    closing?;
    let answer = runtime.block_on(asked)??;
    ensure!(answer.status == 200, "{answer:?}");
    gone(&gateway)
}
