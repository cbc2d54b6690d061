//! `cargo xtask demo`: the main job, on a real cluster.

use std::time::Instant;

use anyhow::{Result, bail};
use streamway_e2e::checks::{On, Seen};
use streamway_e2e::cluster::{Cluster, Proxy};
use streamway_e2e::{CURRENT, OLD_KUBELET};

use crate::binary;

/// Show the main job on a real local cluster: install, run, prove, clean up.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave the cluster standing, and say how to use it and how to remove it
    #[arg(long)]
    keep: bool,
}

const NODE: &str = "node1";

pub(crate) fn run(args: Args) -> Result<()> {
    let start = Instant::now();
    println!(
        "Streamway's demo: kubectl over WebSockets, end to end, to a kubelet that speaks SPDY.\n"
    );
    streamway_e2e::install::require_root("the demo")?;
    let proxy = Proxy {
        program: binary::streamproxy(false)?,
        feature_gates: String::new(),
    };
    let cluster = Cluster::builder("demo")
        .node(NODE, OLD_KUBELET, Some(proxy))
        .up()?;
    println!(
        "\nkubectl 1.37 → kube-apiserver {CURRENT} → streamproxy node → kubelet {OLD_KUBELET} → containerd\n"
    );
    let kubectl = cluster.kubectl()?;
    let on = On {
        cluster: &cluster,
        node: NODE,
        kubectl: &kubectl,
    };
    println!(
        "{:40} {:40} {:>8}  {:46} outcome",
        "what", "kubectl's leg", "proxied", "the node's legs"
    );
    let mut wrong = Vec::new();
    let [up, down] = on.copy()?;
    show(&up, &mut wrong);
    show(&down, &mut wrong);
    for check in [
        On::exit_code,
        On::stdin,
        On::terminal,
        On::attach,
        On::port_forward,
    ] {
        show(&check(&on)?, &mut wrong);
    }
    println!(
        "\nkubectl's leg is what kubectl's own log says; proxied is how many streams the API server \
         passed on untouched\n(apiserver_websocket_streaming_requests_total{{proxy_type=\
         \"proxied_to_kubelet\"}}); the node's legs and the outcome\nare from the stream proxy's \
         access log."
    );
    if args.keep {
        let kubeconfig = cluster.kubeconfig();
        let folder = cluster.keep();
        println!(
            "\nThe cluster stands; its logs are in {}.\n",
            folder.display()
        );
        println!("  export KUBECONFIG={}", kubeconfig.display());
        println!("  kubectl exec -it box-{NODE} -- sh");
        println!("  cargo xtask cluster down --name demo");
    } else {
        drop(cluster);
        println!("\nThe cluster is gone again.");
    }
    if !wrong.is_empty() {
        bail!("not over WebSockets end to end: {}", wrong.join(", "));
    }
    println!(
        "Everything went over WebSockets, in {} s.",
        start.elapsed().as_secs()
    );
    Ok(())
}

fn show(seen: &Seen, wrong: &mut Vec<String>) {
    println!(
        "{:40} {:40} {:>8}  {:46} {}",
        seen.what, seen.client, seen.proxied, seen.node, seen.outcome
    );
    if !seen.client.starts_with("WebSocket")
        || seen.proxied == 0
        || !seen.node.ends_with("→ SPDY/3.1")
    {
        wrong.push(seen.what.clone());
    }
}
