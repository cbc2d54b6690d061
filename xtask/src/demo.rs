//! `cargo xtask demo`: the main job, on a real cluster.

mod gateway;
mod rollout;

use std::time::Instant;

use anyhow::Result;
use streamway_e2e::cluster::Cluster;

/// Show the main job on a real local cluster: install, run, prove, clean up
///
/// Three nodes with kubelets of two versions go over to streaming by WebSocket in two waves; a node that
/// is broken on purpose makes the rollout take its wave back; in the end everything is removed, and the
/// nodes are as they were.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave the cluster standing at the end, Streamway installed in it, and say how to use it and how to
    /// remove it
    #[arg(long)]
    keep: bool,
    /// Show the gateway instead: WebSockets before an API server that cannot speak them
    #[arg(long)]
    gateway: bool,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let start = Instant::now();
    streamway_e2e::install::require_root("the demo")?;
    if args.gateway {
        gateway::run(args.keep)?;
    } else {
        rollout::run(args.keep)?;
    }
    println!("It took {} s.", start.elapsed().as_secs());
    Ok(())
}

/// Removes the cluster, or says how to use it. `kubeconfig` leads to it.
fn end(cluster: Cluster, kubeconfig: &std::path::Path, node: &str, keep: bool) {
    if !keep {
        drop(cluster);
        println!("\nThe cluster is gone again.");
        return;
    }
    let folder = cluster.keep();
    println!(
        "\nThe cluster stands; its logs are in {}.\n",
        folder.display()
    );
    println!("  export KUBECONFIG={}", kubeconfig.display());
    println!("  kubectl exec -it box-{node} -- sh");
    println!("  cargo xtask cluster down --name demo");
}
