//! The stream proxy before an API server that cannot speak WebSockets.

use anyhow::{Result, bail, ensure};
use streamway_e2e::OLD_API_SERVER;
use streamway_e2e::checks::{On, Seen};
use streamway_e2e::cluster::Cluster;

use crate::binary;

const NODE: &str = "node1";

pub(super) fn run(keep: bool) -> Result<()> {
    println!(
        "Streamway's demo: kubectl over WebSockets, through the gateway, to an API server that speaks SPDY.\n"
    );
    let program = binary::streamproxy(false)?;
    let cluster = Cluster::builder("demo")
        .api_server(OLD_API_SERVER)
        .node(NODE, OLD_API_SERVER, None)
        .up()?;
    let pod = format!("box-{NODE}");
    let exec = ["-v=6", "exec", &pod, "--", "echo", "hi"];
    let before = cluster.kubectl()?.run(&exec, b"")?;
    ensure!(before.code == 0, "{}", before.stderr);
    let fell_back = before.stderr.contains("fallback");
    println!(
        "\nWithout the gateway, kubectl 1.37 asks kube-apiserver {OLD_API_SERVER} for a WebSocket, {}.",
        if fell_back {
            "is refused, and falls back to SPDY"
        } else {
            "and gets one"
        }
    );
    let gateway = cluster.gateway("demo").program(program).up()?;
    println!(
        "\nkubectl 1.37 → streamproxy gateway → kube-apiserver {OLD_API_SERVER} → kubelet {OLD_API_SERVER} → containerd\n"
    );
    let kubectl = gateway.kubectl("admin")?;
    let on = On {
        cluster: &cluster,
        node: NODE,
        kubectl: &kubectl,
    };
    println!(
        "{:40} {:40} {:46} outcome",
        "what", "kubectl's leg", "the gateway's legs"
    );
    let mut wrong = Vec::new();
    let [up, down] = on.copy()?;
    row(&up, &mut wrong);
    row(&down, &mut wrong);
    for check in [
        On::exit_code,
        On::stdin,
        On::terminal,
        On::attach,
        On::port_forward,
    ] {
        row(&check(&on)?, &mut wrong);
    }
    println!(
        "\nkubectl's leg is what kubectl's own log says.\n\
         The gateway's legs and the outcome are from its access log."
    );
    super::end(cluster, &gateway.kubeconfig, NODE, keep);
    if !wrong.is_empty() {
        bail!("not over WebSockets: {}", wrong.join(", "));
    }
    println!("Everything went over WebSockets.");
    Ok(())
}

fn row(seen: &Seen, wrong: &mut Vec<String>) {
    let (what, client, legs, outcome) = (&seen.what, &seen.client, &seen.node, &seen.outcome);
    println!("{what:40} {client:40} {legs:46} {outcome}");
    if !client.starts_with("WebSocket") || !legs.ends_with("→ SPDY/3.1") {
        wrong.push(what.clone());
    }
}
