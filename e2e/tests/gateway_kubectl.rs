//! Real kubectl through the gateway: before an API server that is too old for WebSockets, and before a
//! new one with its gates off, where it falls back to SPDY without the gateway. Where the API server
//! takes WebSockets itself, the gateway finds out, also when that changes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::io::BufRead;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use streamway_e2e::checks::{On, Seen};
use streamway_e2e::cluster::{Cluster, Gateway};
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::suite::Suite;
use streamway_e2e::{OLD_API_SERVER, OLD_KUBELET, wait};

/// What makes 1.36 an API server that cannot speak WebSockets.
const OFF: &str = "TranslateStreamCloseWebsocketRequests=false,PortForwardWebsockets=false,\
     AuthorizePodWebsocketUpgradeCreatePermission=false,ExtendWebSocketsToKubelet=false";

fn legs(seen: &Seen, client: &str, gateway: &str) -> Result<()> {
    ensure!(seen.client.starts_with(client), "kubectl's leg: {seen:?}");
    ensure!(seen.node == gateway, "the gateway's legs: {seen:?}");
    println!(
        "    {:40} {:40} {:46} {}",
        seen.what, seen.client, seen.node, seen.outcome
    );
    Ok(())
}

fn everything(cluster: &Cluster, kubectl: &Kubectl, upstream: &str) -> Result<()> {
    let on = On {
        cluster,
        node: "node",
        kubectl,
    };
    for seen in on.all()? {
        let own = if seen.what.starts_with("port-forward") {
            "SPDY/3.1+portforward.k8s.io"
        } else {
            "v5.channel.k8s.io"
        };
        let upstream = if upstream.is_empty() { own } else { upstream };
        legs(&seen, "WebSocket", &format!("{own} → {upstream}"))?;
    }
    Ok(())
}

/// Waits until the gateway has seen its API server again.
fn ready_again(gateway: &Gateway) -> Result<()> {
    wait::until(
        "the gateway is ready again",
        Duration::from_secs(20),
        || Ok((!gateway.readiness()?.contains("[-]")).then_some(())),
    )
}

/// Without the gateway kubectl asks for a WebSocket, is refused, and asks again for SPDY.
fn falls_back(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl()?;
    let ended = kubectl.run(&["-v=6", "exec", "box-node", "--", "echo", "hi"], b"")?;
    ensure!(ended.stdout == b"hi\n", "{}", ended.stderr);
    ensure!(ended.stderr.contains("fallback"), "{}", ended.stderr);
    Ok(())
}

fn old_kubectl(cluster: &Cluster, gateway: &Gateway) -> Result<()> {
    let kubectl = gateway.kubectl_spdy()?;
    let on = On {
        cluster,
        node: "node",
        kubectl: &kubectl,
    };
    let [up, down] = on.copy()?;
    for seen in [on.exit_code()?, on.stdin()?, on.attach()?, up, down] {
        legs(&seen, "SPDY", "SPDY/3.1 → SPDY/3.1")?;
    }
    Ok(())
}

/// A line of a log has to arrive while the log goes on.
fn logs_are_live(cluster: &Cluster, gateway: &Gateway) -> Result<()> {
    let kubectl = gateway.kubectl("admin")?;
    let script = "for n in 1 2 3; do echo line $n; sleep 0.2; done; sleep 1000";
    let pod = streamway_e2e::cluster::pod("talks", "node").replace(
        "[/bin/sleep, \"1000000\"]",
        &format!("[sh, -c, '{script}']"),
    );
    cluster.kubectl()?.apply(&pod)?;
    kubectl.ok(&[
        "wait",
        "pod/talks",
        "--for=condition=Ready",
        "--timeout=50s",
    ])?;
    let mut child = kubectl
        .command(&["logs", "-f", "talks"])
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = std::io::BufReader::new(child.stdout.take().context("stdout")?);
    let lines: Vec<String> = stdout.lines().take(3).collect::<Result<_, _>>()?;
    child.kill()?;
    child.wait()?;
    ensure!(lines == ["line 1", "line 2", "line 3"], "{lines:?}");
    Ok(())
}

/// What the API server refuses is HTTP, with its own words, and kubectl ends with them.
fn refusals_are_the_api_servers(gateway: &Gateway) -> Result<()> {
    let kubectl = gateway.kubectl("admin")?;
    for (args, words) in [
        (
            &["exec", "no-such-pod", "--", "id"][..],
            "pods \"no-such-pod\" not found",
        ),
        (
            &["exec", "box-node", "-c", "no", "--", "id"],
            "container no is not valid",
        ),
        (
            &["exec", "box-node", "--", "no-such-command"],
            "no-such-command",
        ),
    ] {
        let ended = kubectl.run(args, b"")?;
        ensure!(
            ended.code != 0 && ended.stderr.contains(words),
            "{args:?}: {ended:?}"
        );
    }
    Ok(())
}

#[test]
fn kubectl_through_the_gateway_to_an_old_api_server() {
    let cluster = Cluster::builder("test-gateway-kubectl")
        .api_server(OLD_API_SERVER)
        .node("node", OLD_API_SERVER, None)
        .up()
        .unwrap();
    let gateway = cluster.gateway("gateway").up().unwrap();
    let mut suite = Suite::default();
    suite.check(
        "without the gateway kubectl 1.37 falls back to SPDY",
        || falls_back(&cluster),
    );
    suite.check(
        "kubectl 1.37: WebSocket to the gateway, SPDY to API server 1.28",
        || everything(&cluster, &gateway.kubectl("admin")?, "SPDY/3.1"),
    );
    suite.check("the same by client certificate", || {
        let kubectl = gateway.kubectl("cert-admin")?;
        let on = On {
            cluster: &cluster,
            node: "node",
            kubectl: &kubectl,
        };
        for seen in [on.exit_code()?, on.stdin()?] {
            legs(&seen, "WebSocket", "v5.channel.k8s.io → SPDY/3.1")?;
        }
        Ok(())
    });
    suite.check("kubectl 1.28: SPDY all the way, as before", || {
        old_kubectl(&cluster, &gateway)
    });
    suite.check("logs -f is live", || logs_are_live(&cluster, &gateway));
    suite.check("refusals are the API server's", || {
        refusals_are_the_api_servers(&gateway)
    });
    suite.check(
        "with its gates off the gateway passes what it gets, and kubectl falls back",
        || {
            let off = "TranslateStreamCloseWebsocketRequests=false,PortForwardWebsockets=false";
            let gateway = cluster.gateway("off").feature_gates(off).up()?;
            let kubectl = gateway.kubectl("admin")?;
            let on = On {
                cluster: &cluster,
                node: "node",
                kubectl: &kubectl,
            };
            legs(&on.exit_code()?, "SPDY (fallback)", "SPDY/3.1 → SPDY/3.1")
        },
    );
    suite.verdict();
}

#[test]
fn kubectl_through_the_gateway_to_a_new_api_server() {
    let cluster = Cluster::builder("test-gateway-new")
        .feature_gates(OFF)
        .node("node", OLD_KUBELET, None)
        .up()
        .unwrap();
    let gateway = cluster.gateway("gateway").up().unwrap();
    let kubectl = gateway.kubectl("admin").unwrap();
    let on = On {
        cluster: &cluster,
        node: "node",
        kubectl: &kubectl,
    };
    let mut suite = Suite::default();
    suite.check(
        "without the gateway kubectl 1.37 falls back to SPDY",
        || falls_back(&cluster),
    );
    suite.check("API server 1.36, gates off: translated", || {
        everything(&cluster, &kubectl, "SPDY/3.1")
    });
    suite.check(
        "an API server that takes WebSockets itself by now gets them",
        || {
            let gates = OFF.replace("=false", "=true");
            cluster.restart_api_server_with(0, &[&format!("--feature-gates={gates}")])?;
            ready_again(&gateway)?;
            for seen in [on.exit_code()?, on.stdin()?] {
                legs(&seen, "WebSocket", "v5.channel.k8s.io → v5.channel.k8s.io")?;
            }
            Ok(())
        },
    );
    suite.check(
        "and one that does not any more is translated for again",
        || {
            cluster.restart_api_server(0)?;
            ready_again(&gateway)?;
            legs(
                &on.exit_code()?,
                "WebSocket",
                "v5.channel.k8s.io → SPDY/3.1",
            )?;
            legs(
                &on.port_forward()?,
                "WebSocket",
                "SPDY/3.1+portforward.k8s.io → SPDY/3.1",
            )
        },
    );
    suite.verdict();
}
