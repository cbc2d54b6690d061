//! Clients that are not kubectl: Python's kubernetes client, and WebSockets by hand in each of the
//! protocols that Kubernetes has, through a real API server to a node behind the stream proxy.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use streamway_e2e::checks::On;
use streamway_e2e::cluster::{Cluster, Proxy};
use streamway_e2e::suite::Suite;
use streamway_e2e::wsclient::{Seen, WsClient, channel};
use streamway_e2e::{OLD_KUBELET, install, run, streamproxy};

/// Runs a command over a subprotocol. What came, and the access log's two protocols.
fn exec(cluster: &Cluster, subprotocol: &str) -> Result<(Vec<Seen>, String)> {
    let sessions = cluster.sessions("node", "exec", 0)?.len();
    let path = "/api/v1/namespaces/default/pods/box-node/exec?command=sh&command=-c\
                &command=echo%20out%3Becho%20err%20%3E%262%3Bexit%204&container=c&stdout=true&stderr=true";
    let token = format!("Authorization: Bearer {}\r\n", Cluster::token("admin"));
    let address = cluster.url().trim_start_matches("https://").to_owned();
    let session = WsClient::request(&address, path, subprotocol, &token, b"")?;
    let mut session = session.map_err(|answer| anyhow!("{answer:?}"))?;
    let seen = session.rest(Duration::from_secs(10))?;
    let last = cluster
        .sessions("node", "exec", sessions + 1)?
        .pop()
        .unwrap_or_default();
    let field = |name: &str| {
        last.get(name)
            .and_then(|value| value.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    Ok((
        seen,
        format!(
            "{} → {}",
            field("client_protocol"),
            field("upstream_protocol")
        ),
    ))
}

#[test]
fn clients_of_every_protocol() {
    let proxy = Proxy {
        program: streamproxy().unwrap(),
        feature_gates: String::new(),
    };
    let cluster = Cluster::builder("test-clients")
        .node("node", OLD_KUBELET, Some(proxy))
        .up()
        .unwrap();
    let mut suite = Suite::default();
    suite.check("v5.channel.k8s.io: translated", || {
        let (seen, legs) = exec(&cluster, "v5.channel.k8s.io")?;
        ensure!(
            channel(&seen, 1) == b"out\n" && channel(&seen, 2) == b"err\n",
            "{seen:?}"
        );
        let status: serde_json::Value = serde_json::from_slice(&channel(&seen, 3))?;
        let code = status
            .pointer("/details/causes/0/message")
            .and_then(|code| code.as_str());
        ensure!(code == Some("4"), "{status}");
        ensure!(seen.contains(&Seen::Close(1000)), "{seen:?}");
        ensure!(legs == "v5.channel.k8s.io → SPDY/3.1", "{legs}");
        Ok(())
    });
    suite.check("v4.channel.k8s.io: passed through", || {
        let (seen, legs) = exec(&cluster, "v4.channel.k8s.io")?;
        ensure!(
            channel(&seen, 1) == b"out\n" && channel(&seen, 2) == b"err\n",
            "{seen:?}"
        );
        let status: serde_json::Value = serde_json::from_slice(&channel(&seen, 3))?;
        ensure!(
            status.get("reason").and_then(|reason| reason.as_str()) == Some("NonZeroExitCode"),
            "{status}"
        );
        ensure!(legs == "websocket → websocket", "{legs}");
        Ok(())
    });
    suite.check("channel.k8s.io: passed through", || {
        let (seen, legs) = exec(&cluster, "channel.k8s.io")?;
        ensure!(
            channel(&seen, 1) == b"out\n" && channel(&seen, 2) == b"err\n",
            "{seen:?}"
        );
        let text = String::from_utf8(channel(&seen, 3))?;
        ensure!(text.contains("exit code 4"), "{text}");
        ensure!(legs == "websocket → websocket", "{legs}");
        Ok(())
    });
    suite.check("Python's kubernetes client: exec and port-forward", || {
        let kubectl = cluster.kubectl()?;
        On {
            cluster: &cluster,
            node: "node",
            kubectl: &kubectl,
        }
        .serve()?;
        let python = install::python_client()?;
        let mut script = run::command(python, ["-c", include_str!("../data/client.py")]);
        script.arg(cluster.kubeconfig()).arg("box-node");
        let said = run::output(&mut script)?;
        ensure!(said.contains("python ok"), "{said}");
        Ok(())
    });
    suite.check(
        "upstream's tunnel lets one refused connection end a port-forward",
        || {
            // What IsolatePortForwardErrors is for: without a proxy kubectl ends.
            let plain = Cluster::builder("test-plain")
                .node("node", OLD_KUBELET, None)
                .up()?;
            let kubectl = plain.kubectl()?;
            let ended = On {
                cluster: &plain,
                node: "node",
                kubectl: &kubectl,
            }
            .forward();
            let error = ended
                .err()
                .map(|error| format!("{error:#}"))
                .unwrap_or_default();
            ensure!(
                !error.is_empty(),
                "upstream keeps the port-forward: no promise of ours"
            );
            println!("    upstream: {}", error.lines().next().unwrap_or_default());
            Ok(())
        },
    );
    suite.verdict();
}
