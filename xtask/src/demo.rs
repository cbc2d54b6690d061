//! `cargo xtask demo`: the main job, on a real cluster.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use streamway_e2e::checks::{On, Seen};
use streamway_e2e::cluster::{Cluster, Gateway, Proxy};
use streamway_e2e::{CURRENT, OLD_API_SERVER, OLD_KUBELET};

use crate::binary;

/// Show the main job on a real local cluster: install, run, prove, clean up.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave the cluster standing, and say how to use it and how to remove it
    #[arg(long)]
    keep: bool,
    /// Show the gateway instead: WebSockets before an API server that cannot speak them
    #[arg(long)]
    gateway: bool,
}

const NODE: &str = "node1";

/// What is shown, and what has to be true of each row.
struct Show {
    cluster: Cluster,
    gateway: Option<Gateway>,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let start = Instant::now();
    streamway_e2e::install::require_root("the demo")?;
    let show = if args.gateway { gateway()? } else { node()? };
    let kubectl = match &show.gateway {
        Some(gateway) => gateway.kubectl("admin")?,
        None => show.cluster.kubectl()?,
    };
    let on = On {
        cluster: &show.cluster,
        node: NODE,
        kubectl: &kubectl,
    };
    show.header();
    let mut wrong = Vec::new();
    let [up, down] = on.copy()?;
    show.row(&up, &mut wrong);
    show.row(&down, &mut wrong);
    for check in [
        On::exit_code,
        On::stdin,
        On::terminal,
        On::attach,
        On::port_forward,
    ] {
        show.row(&check(&on)?, &mut wrong);
    }
    show.explain();
    show.end(args.keep);
    if !wrong.is_empty() {
        bail!("not over WebSockets: {}", wrong.join(", "));
    }
    println!(
        "Everything went over WebSockets, in {} s.",
        start.elapsed().as_secs()
    );
    Ok(())
}

/// The stream proxy on a node, before a kubelet that cannot speak WebSockets.
fn node() -> Result<Show> {
    println!(
        "Streamway's demo: kubectl over WebSockets, end to end, to a kubelet that speaks SPDY.\n"
    );
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
    Ok(Show {
        cluster,
        gateway: None,
    })
}

/// The stream proxy before an API server that cannot speak WebSockets.
fn gateway() -> Result<Show> {
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
    Ok(Show {
        cluster,
        gateway: Some(gateway),
    })
}

impl Show {
    fn header(&self) {
        match self.gateway {
            Some(_) => println!(
                "{:40} {:40} {:46} outcome",
                "what", "kubectl's leg", "the gateway's legs"
            ),
            None => println!(
                "{:40} {:40} {:>8}  {:46} outcome",
                "what", "kubectl's leg", "proxied", "the node's legs"
            ),
        }
    }

    fn row(&self, seen: &Seen, wrong: &mut Vec<String>) {
        let (what, client, legs, outcome) = (&seen.what, &seen.client, &seen.node, &seen.outcome);
        match self.gateway {
            Some(_) => println!("{what:40} {client:40} {legs:46} {outcome}"),
            None => println!(
                "{what:40} {client:40} {:>8}  {legs:46} {outcome}",
                seen.proxied
            ),
        }
        // Before a kubelet, the API server must have passed the stream on untouched.
        let proxied = self.gateway.is_some() || seen.proxied > 0;
        if !client.starts_with("WebSocket") || !proxied || !legs.ends_with("→ SPDY/3.1") {
            wrong.push(what.clone());
        }
    }

    fn explain(&self) {
        println!("\nkubectl's leg is what kubectl's own log says.");
        match self.gateway {
            Some(_) => {
                println!("The gateway's legs and the outcome are from its access log.");
            }
            None => println!(
                "Proxied is how many streams the API server passed on untouched\n\
                 (apiserver_websocket_streaming_requests_total{{proxy_type=\"proxied_to_kubelet\"}}); the \
                 node's legs and the outcome are\nfrom the stream proxy's access log."
            ),
        }
    }

    fn end(self, keep: bool) {
        if !keep {
            drop(self.cluster);
            println!("\nThe cluster is gone again.");
            return;
        }
        let kubeconfig = match self.gateway {
            Some(gateway) => gateway.kubeconfig,
            None => self.cluster.kubeconfig(),
        };
        let folder = self.cluster.keep();
        println!(
            "\nThe cluster stands; its logs are in {}.\n",
            folder.display()
        );
        println!("  export KUBECONFIG={}", kubeconfig.display());
        println!("  kubectl exec -it box-{NODE} -- sh");
        println!("  cargo xtask cluster down --name demo");
    }
}
