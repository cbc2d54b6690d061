//! What a gateway says of itself, and how it refuses.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use streamway_e2e::cluster::{Cluster, Gateway};
use streamway_e2e::httpclient::{HttpClient, Speaks};
use streamway_e2e::wait;
use tokio::runtime::Runtime;

use super::asker::GET;
use super::process::runs;
use super::session;
use super::watch::request;

/// Where it listens.
pub(crate) fn address(gateway: &Gateway) -> &str {
    gateway.url.trim_start_matches("https://")
}

/// Waits until the gateway says that it is ready, or that it is not for want of an API server.
pub(crate) fn readiness(gateway: &Gateway, ready: bool) -> Result<()> {
    wait::until("readiness changes", Duration::from_secs(30), || {
        let said = gateway.readiness()?;
        let wanted = if ready {
            !said.contains("[-]")
        } else {
            said.contains("[-]apiserver")
        };
        Ok(wanted.then_some(()))
    })
}

/// With no API server left, a request and a session are told so.
pub(crate) fn refuses_at_once(runtime: &Runtime, gateway: &Gateway) -> Result<()> {
    let start = Instant::now();
    let answer = runtime.block_on(async {
        let mut client = HttpClient::connect(address(gateway), Speaks::Http2, None).await?;
        client.whole(request(GET.method, GET.path, "")).await
    })?;
    let time = start.elapsed();
    let status: Value = serde_json::from_slice(&answer.body).context("a Status")?;
    println!(
        "    no API server: {} within {time:?}: {}",
        answer.status, status["message"]
    );
    ensure!(answer.status == 503, "{answer:?}");
    let again = answer.headers.get("retry-after").context("Retry-After")?;
    ensure!(again == "1", "{answer:?}");
    ensure!(
        status["kind"] == "Status" && status["code"] == 503,
        "{status}"
    );
    let message = status["message"].as_str().unwrap_or_default();
    ensure!(message.contains("no API server can be reached"), "{status}");
    let refused = session::ask(address(gateway))?.err().context("a session")?;
    ensure!(refused.status == 503, "{refused:?}");
    ensure!(refused.body.contains("retry-after: 1"), "{refused:?}");
    ensure!(
        refused.body.contains("no API server can be reached"),
        "{refused:?}"
    );
    Ok(())
}

/// Waits until the gateway's metric says so.
pub(crate) fn healthy(
    cluster: &Cluster,
    gateway: &Gateway,
    index: usize,
    healthy: bool,
) -> Result<()> {
    let url = &cluster.urls()[index];
    let line = format!(
        "streamway_apiserver_healthy{{apiserver=\"{url}\"}} {}",
        i32::from(healthy)
    );
    wait::until("the gateway sees it", Duration::from_secs(20), || {
        let metrics = gateway.metrics()?;
        Ok(metrics.lines().any(|own| own == line).then_some(()))
    })
    .context(line)
}

/// Waits for a line of the gateway's log.
pub(crate) fn logged(gateway: &Gateway, message: &str) -> Result<Value> {
    wait::until(message, Duration::from_secs(60), || {
        let log = log_of(gateway)?;
        Ok(log.into_iter().rfind(|line| line["message"] == message))
    })
}

/// Its log.
pub(crate) fn log_of(gateway: &Gateway) -> Result<Vec<Value>> {
    let text = fs::read_to_string(&gateway.log)?;
    let lines = text.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

/// Waits until its process has ended.
pub(crate) fn gone(gateway: &Gateway) -> Result<()> {
    wait::until("the gateway ends", Duration::from_secs(60), || {
        Ok((!runs(gateway.pid)).then_some(()))
    })
}
