//! Streamway in a cluster, as an administrator installs it: its image in every node, an overlay of
//! `config/` applied, and all of it ready.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use streamway_crds::names;

use crate::cluster::{Builder, Cluster, Node};
use crate::kubectl::Kubectl;
use crate::{CURRENT, OLD_KUBELET, image, run, wait};

/// How long an installation may take to be ready.
const READY: Duration = Duration::from_secs(150);

/// How long it may take to be gone.
const GONE: Duration = Duration::from_secs(90);

/// All of Streamway's objects, for kubectl.
const OURS: &str = "app.kubernetes.io/part-of=streamway";

/// The controller that leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// Its pod.
    pub pod: String,
    /// As its Lease names it: behind the pod's name comes what the process chose.
    pub identity: String,
}

impl Leader {
    /// Who holds the Lease now.
    pub fn of(kubectl: &Kubectl) -> Result<Self> {
        let path = "jsonpath={.spec.holderIdentity}";
        let lease = [
            "lease",
            names::CONTROLLER_LEASE,
            "-n",
            names::SYSTEM_NAMESPACE,
        ];
        let identity = kubectl.ok(&[&["get"], &lease[..], &["-o", path]].concat())?;
        let pod = identity.split('_').next().unwrap_or_default().to_owned();
        Ok(Self { pod, identity })
    }
}

/// Streamway in a cluster.
#[derive(Debug)]
pub struct Streamway<'a> {
    cluster: &'a Cluster,
    kubectl: Kubectl,
    archive: PathBuf,
    overlay: String,
}

impl<'a> Streamway<'a> {
    /// An overlay of `config/` for a cluster with [`services`](crate::cluster::Builder::services), and
    /// the archive of its image: see [`archive`]. Every node gets the image; nothing is applied yet.
    pub fn new(cluster: &'a Cluster, overlay: &str, archive: PathBuf) -> Result<Self> {
        let folder = repository().join("config/overlays").join(overlay);
        ensure!(folder.is_dir(), "there is no {}", folder.display());
        let new = Self {
            cluster,
            kubectl: cluster.kubectl()?,
            archive,
            overlay: folder.to_string_lossy().into_owned(),
        };
        run::step("giving Streamway's image to the nodes", || {
            cluster.nodes().iter().try_for_each(|node| new.import(node))
        })?;
        Ok(new)
    }

    /// Gives the image to a node, one that joined later.
    pub fn import(&self, node: &Node) -> Result<()> {
        self.cluster.import(node, &self.archive)
    }

    /// Applies the overlay and waits until all is ready.
    pub fn install(&self) -> Result<()> {
        self.apply()?;
        run::step("waiting for Streamway to be ready", || self.ready())
    }

    /// `kubectl apply -k`, and what it said of each object. A warning is an error.
    pub fn apply(&self) -> Result<String> {
        let applied = self.kubectl.run(&["apply", "-k", &self.overlay], b"")?;
        ensure!(applied.code == 0, "{}", applied.stderr);
        // A pod that its namespace's Pod Security would refuse, a field that is to go.
        ensure!(!applied.stderr.contains("Warning"), "{}", applied.stderr);
        Ok(String::from_utf8_lossy(&applied.stdout).into_owned())
    }

    /// Waits until every pod is ready and every node's agent has said so.
    pub fn ready(&self) -> Result<()> {
        let waited = wait::until("Streamway is ready", READY, || {
            self.workloads_ready()?;
            self.agents_ready()?;
            Ok(Some(()))
        });
        waited.with_context(|| self.pods())
    }

    /// `kubectl delete -k`, until everything is gone.
    pub fn delete(&self) -> Result<()> {
        self.begin_delete()?;
        self.gone()
    }

    /// Waits until nothing of the overlay is there any more. An empty namespace of the agents may be:
    /// Kubernetes looks at it again after half of its pods' grace period, and that is ten minutes.
    pub fn gone(&self) -> Result<()> {
        let empty = format!("namespace/{}", names::NODES_NAMESPACE);
        wait::until("Streamway is gone", GONE, || {
            let left = self.left()?;
            ensure!([&empty, ""].contains(&left.trim()), "{left}");
            let pods = ["get", "pods", "-n", names::NODES_NAMESPACE, "-o", "name"];
            let pods = self.kubectl.ok(&pods)?;
            ensure!(pods.is_empty(), "{pods}");
            Ok(Some(()))
        })
        .with_context(|| self.pods())
    }

    /// `kubectl delete -k`, without waiting for anything.
    pub fn begin_delete(&self) -> Result<()> {
        let args = ["delete", "--wait=false", "-k", &self.overlay];
        self.kubectl.ok(&args).map(drop)
    }

    /// What of the overlay is there.
    pub fn left(&self) -> Result<String> {
        let args = [
            "get",
            "--ignore-not-found",
            "-o",
            "name",
            "-k",
            &self.overlay,
        ];
        let got = self.kubectl.run(&args, b"")?;
        // Kinds that are gone themselves are an error, for the others too.
        let unknown = got.stderr.contains("no matches for kind");
        ensure!(got.code == 0 || unknown, "{}", got.stderr);
        Ok(String::from_utf8_lossy(&got.stdout).into_owned())
    }

    fn workloads_ready(&self) -> Result<()> {
        let args = [
            "get",
            "deployments,daemonsets",
            "-A",
            "-l",
            OURS,
            "-o",
            "json",
        ];
        let all: Value = serde_json::from_str(&self.kubectl.ok(&args)?)?;
        let items = all.get("items").and_then(Value::as_array);
        let items = items.context("no items")?;
        ensure!(items.len() == 3, "{} workloads", items.len());
        for item in items {
            let number = |path: &str| item.pointer(path).and_then(Value::as_u64).unwrap_or(0);
            let name = item.pointer("/metadata/name").and_then(Value::as_str);
            let name = name.unwrap_or_default();
            let current = number("/status/observedGeneration") == number("/metadata/generation");
            let (wanted, ready) = if name == names::AGENT {
                let nodes = self.cluster.nodes().len() as u64;
                (nodes, number("/status/numberReady"))
            } else {
                (number("/spec/replicas"), number("/status/readyReplicas"))
            };
            let updated =
                number("/status/updatedReplicas") + number("/status/updatedNumberScheduled");
            ensure!(
                current && ready == wanted && updated == wanted,
                "{name}: {ready} of {wanted} ready, {updated} up to date"
            );
        }
        Ok(())
    }

    fn agents_ready(&self) -> Result<()> {
        let path = "jsonpath={range .items[?(@.status.agent.ready==true)]}{.metadata.name} {end}";
        let ready = self.kubectl.ok(&["get", "nodestreamings", "-o", path])?;
        for node in self.cluster.nodes() {
            let has = ready.split(' ').any(|name| name == node.name);
            ensure!(has, "the agent of {} is not ready", node.name);
        }
        Ok(())
    }

    /// Our pods and the ends of their logs, for whoever looks why something is not as it should be.
    fn pods(&self) -> String {
        let mut told = String::new();
        for namespace in [names::SYSTEM_NAMESPACE, names::NODES_NAMESPACE] {
            for args in [
                &["get", "pods", "-n", namespace, "-o", "wide"][..],
                &[
                    "get",
                    "events",
                    "-n",
                    namespace,
                    "--field-selector=type=Warning",
                ],
                &[
                    "logs",
                    "-n",
                    namespace,
                    "-l",
                    OURS,
                    "--all-containers",
                    "--prefix",
                    "--tail=8",
                ],
            ] {
                if let Ok(ended) = self.kubectl.run(args, b"") {
                    let text = String::from_utf8_lossy(&ended.stdout).into_owned() + &ended.stderr;
                    let _ = writeln!(told, "{}", run::tail(&text, 40));
                }
            }
        }
        told
    }
}

/// Every Node, without what changes by itself: times, versions, and the images that a node has.
pub fn nodes(kubectl: &Kubectl) -> Result<Vec<Value>> {
    let all: Value = serde_json::from_str(&kubectl.ok(&["get", "nodes", "-o", "json"])?)?;
    let items = all.get("items").and_then(Value::as_array);
    let mut nodes = items.context("no items")?.clone();
    let keep = |value: Option<&mut Value>, names: &[&str]| {
        if let Some(fields) = value.and_then(Value::as_object_mut) {
            fields.retain(|name, _| names.contains(&&**name));
        }
    };
    for node in &mut nodes {
        let metadata = ["name", "labels", "annotations", "finalizers"];
        keep(node.get_mut("metadata"), &metadata);
        let Some(status) = node.get_mut("status").and_then(Value::as_object_mut) else {
            continue;
        };
        status.remove("images");
        let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten() {
            keep(Some(condition), &["type", "status", "reason"]);
        }
    }
    Ok(nodes)
}

/// Cluster-scoped objects and rights that look like ours, in the manifests or not. The empty namespace of
/// the agents is none: see [`Streamway::gone`].
pub fn traces(kubectl: &Kubectl) -> Result<Vec<String>> {
    let kinds = "clusterroles,clusterrolebindings,roles,rolebindings,mutatingwebhookconfigurations,\
                 customresourcedefinitions,priorityclasses,namespaces";
    let left = kubectl.ok(&["get", kinds, "-A", "-o", "name"])?;
    let empty = format!("namespace/{}", names::NODES_NAMESPACE);
    let ours = left.lines().filter(|name| name.contains("streamway"));
    Ok(ours
        .filter(|name| *name != empty)
        .map(str::to_owned)
        .collect())
}

/// A cluster to install it in: nodes `one` and `two` with an older kubelet, `three` with one that takes
/// WebSockets itself.
pub fn three_nodes(name: &str) -> Builder {
    Cluster::builder(name)
        .services(true)
        .node("one", OLD_KUBELET, None)
        .node("two", OLD_KUBELET, None)
        .node("three", CURRENT, None)
}

/// The image's archive: `$STREAMWAY_IMAGE` as `cargo xtask image` writes it, or one that is made in
/// `folder` of the programs that cargo built for tests.
pub fn archive(folder: &Path) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("STREAMWAY_IMAGE") {
        return Ok(path.into());
    }
    let programs = crate::streamproxy()?;
    let programs = programs.parent().context("streamproxy is in no folder")?;
    archive_of(programs, folder)
}

/// The same, of the programs in a folder.
pub fn archive_of(programs: &Path, folder: &Path) -> Result<PathBuf> {
    let name = format!("{}:{}", image::STREAMWAY, env!("CARGO_PKG_VERSION"));
    let archive = folder.join("streamway.tar");
    image::streamway_with_libraries(&name, programs)?.write_archive(&archive)?;
    Ok(archive)
}

/// The folder that holds `config/`.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
