//! Real kubectl, old and new, through a real API server to nodes behind the stream proxy: an old
//! kubelet (translated), a new one (passed through), and one whose proxy has its gates off.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use streamway_e2e::checks::{On, Seen};
use streamway_e2e::cluster::{Cluster, Proxy};
use streamway_e2e::suite::Suite;
use streamway_e2e::{CURRENT, OLD_KUBELET, streamproxy, wait};

fn legs(seen: &Seen, client: &str, node: &str) -> Result<()> {
    ensure!(seen.client.starts_with(client), "kubectl's leg: {seen:?}");
    ensure!(
        seen.proxied > 0,
        "the API server did not pass it on: {seen:?}"
    );
    ensure!(seen.node == node, "the node's legs: {seen:?}");
    Ok(())
}

fn everything(on: &On<'_>, client: &str, exec: &str, forward: &str) -> Result<()> {
    for seen in on.all()? {
        let node = if seen.what.starts_with("port-forward") {
            forward
        } else {
            exec
        };
        legs(&seen, client, node)?;
    }
    Ok(())
}

#[test]
fn kubectl_through_the_node_proxy() {
    let program = streamproxy().unwrap();
    let proxy = |gates: &str| {
        Some(Proxy {
            program: program.clone(),
            feature_gates: gates.into(),
        })
    };
    let off = "TranslateStreamCloseWebsocketRequests=false,PortForwardWebsockets=false";
    let cluster = Cluster::builder("test-kubectl")
        .node("old", OLD_KUBELET, proxy(""))
        .node("new", CURRENT, proxy(""))
        .node("off", OLD_KUBELET, proxy(off))
        .node("plain", OLD_KUBELET, None)
        .up()
        .unwrap();
    let kubectl = cluster.kubectl().unwrap();
    let spdy = cluster.kubectl_spdy().unwrap();
    let on = |node| On {
        cluster: &cluster,
        node,
        kubectl: &kubectl,
    };
    let mut suite = Suite::default();

    suite.check(
        "kubectl 1.37, kubelet 1.34: WebSocket to the node, SPDY to the kubelet",
        || {
            let tunnel = "SPDY/3.1+portforward.k8s.io → SPDY/3.1";
            everything(
                &on("old"),
                "WebSocket",
                "v5.channel.k8s.io → SPDY/3.1",
                tunnel,
            )
        },
    );
    suite.check("kubectl 1.37, kubelet 1.36: v5 passes untouched", || {
        wait::until("the kubelet has declared", Duration::from_secs(20), || {
            let log = std::fs::read_to_string(cluster.log("new-proxy"))?;
            Ok(log.contains("\"websockets\":true").then_some(()))
        })?;
        let v5 = "v5.channel.k8s.io → v5.channel.k8s.io";
        legs(&on("new").exit_code()?, "WebSocket", v5)?;
        legs(&on("new").stdin()?, "WebSocket", v5)?;
        legs(&on("new").terminal()?, "WebSocket", v5)?;
        for seen in on("new").copy()? {
            legs(&seen, "WebSocket", v5)?;
        }
        Ok(())
    });
    suite.check(
        "kubectl 1.37, gates off: the kubelet's refusal, then SPDY",
        || {
            legs(
                &on("off").exit_code()?,
                "SPDY (fallback)",
                "SPDY/3.1 → SPDY/3.1",
            )?;
            legs(
                &on("off").stdin()?,
                "SPDY (fallback)",
                "SPDY/3.1 → SPDY/3.1",
            )
        },
    );
    suite.check("kubectl 1.28: SPDY all the way, as before", || {
        let on = On {
            kubectl: &spdy,
            ..on("old")
        };
        let through = "SPDY/3.1 → SPDY/3.1";
        for seen in [on.exit_code()?, on.stdin()?, on.attach()?] {
            legs(&seen, "SPDY", through)?;
        }
        for seen in on.copy()? {
            legs(&seen, "SPDY", through)?;
        }
        Ok(())
    });
    suite.check("what is no stream: logs -f, stats, metrics, pods", || {
        passes(&cluster)
    });
    suite.check("a kubelet killed mid-command is a failure", || {
        killed(&cluster, "old", false)
    });
    suite.check("upstream's translator calls it a success", || {
        killed(&cluster, "plain", true)
    });
    suite.verdict();
}

/// Everything but streams, through the API server to the node.
fn passes(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl()?;
    let raw =
        |path: &str| kubectl.ok(&["get", "--raw", &format!("/api/v1/nodes/old/proxy/{path}")]);
    ensure!(
        raw("stats/summary")?.contains("\"nodeName\": \"old\""),
        "stats"
    );
    ensure!(raw("pods")?.contains("box-old"), "pods");
    ensure!(raw("metrics")?.contains("kubelet_running_pods"), "metrics");
    ensure!(
        raw("metrics/cadvisor")?.contains("container_"),
        "metrics/cadvisor"
    );
    ensure!(raw("healthz")? == "ok", "healthz");

    let script = "for n in 1 2 3; do echo line $n; sleep 0.2; done; sleep 1000";
    let pod = streamway_e2e::cluster::pod("talks", "old").replace(
        "[/bin/sleep, \"1000000\"]",
        &format!("[sh, -c, '{script}']"),
    );
    kubectl.apply(&pod)?;
    kubectl.ok(&[
        "wait",
        "pod/talks",
        "--for=condition=Ready",
        "--timeout=50s",
    ])?;
    let mut follow = kubectl.command(&["logs", "-f", "talks"]);
    let mut child = follow.stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("stdout")?;
    let lines = std::io::BufRead::lines(std::io::BufReader::new(stdout)).take(3);
    let lines: Vec<String> = lines.collect::<Result<_, _>>()?;
    child.kill()?;
    child.wait()?;
    ensure!(lines == ["line 1", "line 2", "line 3"], "{lines:?}");
    Ok(())
}

/// Runs a command, kills the kubelet under it, and looks at kubectl's exit code.
fn killed(cluster: &Cluster, node: &str, succeeds: bool) -> Result<()> {
    let kubectl = cluster.kubectl()?;
    let pod = format!("box-{node}");
    let mut command = kubectl.command(&["exec", &pod, "--", "sh", "-c", "echo started; sleep 300"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdout = std::io::BufReader::new(child.stdout.take().context("stdout")?);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut line)?;
    ensure!(line == "started\n", "{line:?}");
    cluster.kill_named(&format!("{node}-kubelet"))?;
    let ended = wait::until("kubectl ends", Duration::from_secs(30), || {
        Ok(child.try_wait()?)
    });
    let _ = child.kill();
    let code = ended?.code();
    ensure!((code == Some(0)) == succeeds, "kubectl ended with {code:?}");
    Ok(())
}
