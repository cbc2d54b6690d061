//! `cargo xtask cluster`: real clusters on this machine.

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use streamway_e2e::cluster::{self, Builder, Cluster, Proxy};
use streamway_e2e::product::{self, Streamway};
use streamway_e2e::{CURRENT, OLD_KUBELET};

use crate::binary;

/// Real Kubernetes clusters on this machine: etcd, kube-apiserver, nodes in network namespaces.
#[derive(Debug, clap::Args)]
#[command(after_help = TEACH)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

const TEACH: &str = "\
Clusters need root, and Debian's apt-get, Go, Python and their package sources where something
is missing yet. The first one of a version takes minutes: its binaries are built from Kubernetes'
own source, and kept in $STREAMWAY_CACHE (~/.cache/streamway). What belongs to one cluster is in a
folder of $STREAMWAY_STATE (/var/tmp/streamway): kubeconfig, logs, and a ledger of what was made
on the machine, so that `down` works for a cluster whose maker was killed. Up to eight stand side
by side.

Users of each: admin, and dev, reader, nobody, who may do nothing until you say so, by token
(NAME-token); cert-admin, and cert-dev of team-a and team-b, by client certificate. All are contexts
of the kubeconfig.

  cargo xtask cluster up --node old=1.34.4,proxy --node new=1.36.3
  export KUBECONFIG=…                    as `up` prints it
  kubectl exec -it box-old -- sh         a pod of that name is on every node
  kubectl --context dev get pods
  cargo xtask cluster down

With controller, webhook and an agent on every node:

  cargo xtask cluster up --node old=1.34.4 --node new=1.36.3 --install dev
  kubectl apply -f config/samples/rollout.yaml

An old API server, whose clients reach it over WebSockets by the gateway:

  cargo xtask cluster up --api-server 1.28.15 --node old=1.28.15 --gateway";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Build and install what clusters need, without bringing one up
    Prepare,
    /// Bring a cluster up and leave it standing
    ///
    /// Example: cargo xtask cluster up --node old=1.34.4,proxy --node new=1.36.3
    Up {
        /// The cluster's name
        #[arg(long, default_value = "dev")]
        name: String,
        /// Version of the API server
        #[arg(long, value_name = "VERSION", default_value = CURRENT)]
        api_server: String,
        /// A node: its name, its kubelet's version, and `proxy` for a stream proxy before it
        #[arg(long = "node", value_name = "NAME=VERSION[,proxy]", default_value = default_node())]
        nodes: Vec<String>,
        /// Feature gates of the API server
        #[arg(long, value_name = "GATES", default_value = "")]
        feature_gates: String,
        /// Run kube-controller-manager and kube-scheduler of the API server's version too
        #[arg(long)]
        controllers: bool,
        /// Install Streamway too, from an overlay of config/: default, ha or dev
        #[arg(long, value_name = "OVERLAY")]
        install: Option<String>,
        /// Run a metrics server too, for kubectl top
        #[arg(long)]
        metrics_server: bool,
        /// Start a stream proxy as gateway before the API server, with a kubeconfig of its own
        #[arg(long)]
        gateway: bool,
    },
    /// Take clusters down, also those whose maker crashed
    Down {
        /// The cluster's name
        #[arg(long, default_value = "dev")]
        name: String,
        /// Every cluster on this machine
        #[arg(long)]
        all: bool,
    },
    /// Tell which clusters stand
    Status,
}

fn default_node() -> &'static str {
    "node1=1.34.4,proxy"
}

pub(crate) fn run(args: Args) -> Result<()> {
    match args.verb {
        Verb::Up {
            name,
            api_server,
            nodes,
            feature_gates,
            controllers,
            install,
            metrics_server,
            gateway,
        } => {
            let mut builder = Cluster::builder(&name)
                .api_server(&api_server)
                .feature_gates(&feature_gates)
                .controllers(controllers)
                .services(install.is_some())
                .metrics_server(metrics_server);
            for node in &nodes {
                builder = with_node(builder, node)?;
            }
            up(&name, builder, install.as_deref(), gateway)
        }
        Verb::Prepare => streamway_e2e::prepare(),
        Verb::Down { name, all } => down(&name, all),
        Verb::Status => {
            let standing = cluster::standing();
            if standing.is_empty() {
                println!("no cluster stands in {}", cluster::root().display());
            }
            for (name, folder) in standing {
                println!("{name}\tKUBECONFIG={}", folder.join("kubeconfig").display());
            }
            Ok(())
        }
    }
}

/// Takes them all down, whatever becomes of one of them.
fn down(name: &str, all: bool) -> Result<()> {
    let mut wanted = cluster::standing();
    wanted.retain(|(own, _)| all || own == name);
    if wanted.is_empty() {
        println!("no such cluster stands");
    }
    let mut failed = Vec::new();
    for (own, folder) in wanted {
        match cluster::take_down(&folder) {
            Ok(()) => println!("{own} is down"),
            Err(error) => failed.push(format!("{own}: {error:#}")),
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("{}", failed.join("; "))
}

/// Adds the node of a `--node` to a cluster.
fn with_node(builder: Builder, node: &str) -> Result<Builder> {
    let (node, rest) = node
        .split_once('=')
        .with_context(|| format!("--node {node}: write it like node1={OLD_KUBELET},proxy"))?;
    let (version, proxy) = match rest.split_once(',') {
        None => (rest, None),
        Some((version, "proxy")) => {
            let program = binary::streamproxy(false)?;
            let feature_gates = String::new();
            (
                version,
                Some(Proxy {
                    program,
                    feature_gates,
                }),
            )
        }
        Some((_, other)) => bail!("--node {node}: {other:?} is not known, only `proxy` is"),
    };
    Ok(builder.node(node, version, proxy))
}

fn up(name: &str, builder: Builder, overlay: Option<&str>, with_gateway: bool) -> Result<()> {
    let cluster = builder.up()?;
    if let Some(overlay) = overlay {
        let archive = product::archive_of(&binary::programs()?, &cluster.file(""))?;
        Streamway::new(&cluster, overlay, archive)?.install()?;
    }
    let kubeconfig = cluster.kubeconfig();
    let gateway = if with_gateway {
        let program = binary::streamproxy(false)?;
        Some(cluster.gateway("dev").program(program).up()?)
    } else {
        None
    };
    let folder = cluster.keep();
    println!("\n{name} stands. Logs are in {}.\n", folder.display());
    println!("  export KUBECONFIG={}", kubeconfig.display());
    if let Some(gateway) = gateway {
        println!("  export KUBECONFIG={}", gateway.kubeconfig.display());
        println!(
            "                         through the gateway, {}",
            gateway.url
        );
    }
    println!("  cargo xtask cluster down --name {name}");
    Ok(())
}
