//! A cluster: up, down, and what tests ask of it.

mod control;
mod ledger;
mod node;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::install::{self, Kubectl as Which};
use crate::kubectl::Kubectl;
use crate::{CURRENT, build, image, run, wait};
pub use ledger::Ledger;
pub(crate) use ledger::MARK;
use ledger::{Item, started};
pub use node::Node;

/// Clusters that can stand side by side.
const SLOTS: u8 = 8;

/// A stream proxy before a kubelet.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// The `streamproxy` binary.
    pub program: PathBuf,
    /// `--feature-gates`, or nothing.
    pub feature_gates: String,
}

/// What a cluster is to be.
#[derive(Debug, Clone)]
pub struct Builder {
    name: String,
    api_server: String,
    feature_gates: String,
    nodes: Vec<Node>,
    keep: bool,
}

/// A cluster that stands. Dropping it takes it down, unless it is to be kept.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    slot: u8,
    ledger: Ledger,
    nodes: Vec<Node>,
    keep: bool,
}

impl Builder {
    /// Gates of the API server: `Name=true,…`.
    pub fn feature_gates(mut self, gates: &str) -> Self {
        gates.clone_into(&mut self.feature_gates);
        self
    }

    /// The API server's version.
    pub fn api_server(mut self, version: &str) -> Self {
        version.clone_into(&mut self.api_server);
        self
    }

    /// Adds a node with a kubelet of this version, and a stream proxy before it or none.
    pub fn node(mut self, name: &str, kubelet: &str, proxy: Option<Proxy>) -> Self {
        // More than SLOTS clusters of 200 nodes do not fit the machine anyway.
        let index = u8::try_from(self.nodes.len() + 1).unwrap_or(u8::MAX);
        self.nodes.push(Node {
            name: name.into(),
            kubelet: kubelet.into(),
            proxy,
            index,
        });
        self
    }

    /// The cluster outlives its maker, until `cargo xtask cluster down`.
    pub fn keep(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// Brings it up: API server ready, nodes Ready, a pod `box-NODE` running on each. A cluster of
    /// the same name, of a maker that crashed, goes first.
    pub fn up(self) -> Result<Cluster> {
        install::require_root("a cluster")?;
        install::packages()?;
        build::kubernetes(&self.api_server, "kube-apiserver")?;
        for node in &self.nodes {
            build::kubernetes(&node.kubelet, "kubelet")?;
        }
        install::kubectl(Which::Current)?;
        if let Some(pid) = maker(&self.name) {
            bail!(
                "process {pid} uses a cluster named {0}: wait for it, or end it and run \
                 cargo xtask cluster down --name {0}",
                self.name
            );
        }
        down(&self.name)?;
        let (slot, folder) = claim(&self.name)?;
        let cluster = Cluster {
            ledger: Ledger::of(&folder),
            folder,
            slot,
            nodes: self.nodes.clone(),
            keep: self.keep,
        };
        let text = format!("bringing up API server {}", self.api_server);
        let authority = run::step(&text, || {
            image::write(&cluster.folder.join("box.tar"))?;
            cluster.start_control(&self.api_server, &self.feature_gates)
        })?;
        for node in &cluster.nodes {
            let behind = if node.proxy.is_some() {
                " behind streamproxy node"
            } else {
                ""
            };
            run::step(
                &format!(
                    "bringing up {}, kubelet {}{behind}",
                    node.name, node.kubelet
                ),
                || {
                    cluster.start_node(node, &authority)?;
                    cluster.settle(node)
                },
            )?;
        }
        Ok(cluster)
    }
}

impl Cluster {
    /// A cluster with this name; the API server's version is the current one.
    pub fn builder(name: &str) -> Builder {
        Builder {
            name: name.into(),
            api_server: CURRENT.into(),
            feature_gates: String::new(),
            nodes: Vec::new(),
            keep: false,
        }
    }

    /// kubectl 1.37 as the administrator.
    pub fn kubectl(&self) -> Result<Kubectl> {
        self.kubectl_as("admin")
    }

    /// kubectl 1.37 as a user of the cluster: see `USERS`.
    pub fn kubectl_as(&self, user: &str) -> Result<Kubectl> {
        Kubectl::new(Which::Current, self.kubeconfig(), user)
    }

    /// kubectl 1.28, which speaks SPDY only.
    pub fn kubectl_spdy(&self) -> Result<Kubectl> {
        Kubectl::new(Which::SpdyOnly, self.kubeconfig(), "admin")
    }

    /// The kubeconfig, with a context for each user.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// A file of the cluster's: `ca.crt`, `apiserver-kubelet.crt` …
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A node, by name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes
            .iter()
            .find(|node| node.name == name)
            .with_context(|| format!("no node {name}"))
    }

    /// A process's log.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// The access log's lines of a node's stream proxy.
    pub fn access_log(&self, node: &str) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.log(&format!("{node}-proxy"))).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines
            .filter(|line: &serde_json::Value| line["target"] == "access")
            .collect()
    }

    /// Waits until a node's access log has `count` ended sessions of a subresource, and tells them.
    pub fn sessions(
        &self,
        node: &str,
        subresource: &str,
        count: usize,
    ) -> Result<Vec<serde_json::Value>> {
        let is = |line: &serde_json::Value, name: &str, value: &str| {
            line.get(name).and_then(|own| own.as_str()) == Some(value)
        };
        wait::until(
            "the access log has the session",
            Duration::from_secs(10),
            || {
                let mut sessions = self.access_log(node);
                sessions.retain(|line| {
                    is(line, "message", "session") && is(line, "subresource", subresource)
                });
                Ok((sessions.len() >= count).then_some(sessions))
            },
        )
    }

    /// The API server's count of streaming requests by proxy type, over all subresources.
    pub fn streaming_requests(&self, proxy_type: &str) -> Result<u64> {
        let metrics = self.kubectl()?.ok(&["get", "--raw", "/metrics"])?;
        let label = format!("proxy_type=\"{proxy_type}\"");
        let counters = metrics.lines().filter(|line| {
            line.starts_with("apiserver_websocket_streaming_requests_total{")
                && line.contains(&label)
        });
        let count = |line: &str| line.rsplit(' ').next()?.parse::<u64>().ok();
        Ok(counters.filter_map(count).sum())
    }

    /// Kills the process that was last started under a name, as a crash would.
    pub fn kill_named(&self, name: &str) -> Result<()> {
        let pid = fs::read_to_string(self.folder.join(format!("{name}.pid")))?;
        run::output(&mut run::command("kill", ["-9", pid.trim()])).map(drop)
    }

    /// Leaves it standing.
    pub fn keep(mut self) -> PathBuf {
        self.keep = true;
        let _ = fs::remove_file(self.folder.join("maker"));
        self.folder.clone()
    }

    /// Starts a process of the cluster's, and writes it down. Its number.
    pub fn start(&self, name: &str, command: &mut Command) -> Result<u32> {
        command.env(MARK, &self.folder);
        let mut child = run::start(command, &self.log(name))?;
        let pid = child.id();
        self.ledger.note(Item::Process(pid))?;
        fs::write(self.folder.join(format!("{name}.pid")), pid.to_string())?;
        // Reaped by a thread, so that one that ends is not a zombie as long as we live.
        std::thread::spawn(move || child.wait());
        Ok(pid)
    }

    fn prefix(&self) -> String {
        format!("10.{}", 210 + self.slot)
    }

    fn gateway(&self) -> String {
        format!("{}.0.1", self.prefix())
    }

    fn bridge(&self) -> String {
        format!("swbr{}", self.slot)
    }

    /// Waits until a node is Ready and its pod runs; declares the feature where a proxy serves it.
    fn settle(&self, node: &Node) -> Result<()> {
        let kubectl = self.kubectl()?;
        let log = || run::tail_of(&self.log(&format!("{}-kubelet", node.name)), 5);
        wait::until("the node is Ready", Duration::from_secs(60), || {
            let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
            let ready = kubectl.ok(&["get", "node", &node.name, "-o", path])?;
            Ok((ready == "True").then_some(()))
        })
        .with_context(log)?;
        if node.proxy.is_some() {
            let patch = r#"{"status":{"declaredFeatures":["ExtendWebSocketsToKubelet"]}}"#;
            let args = [
                "patch",
                "node",
                &node.name,
                "--subresource=status",
                "--type=merge",
                "-p",
                patch,
            ];
            kubectl.ok(&args)?;
        }
        let name = format!("box-{}", node.name);
        kubectl.apply(&pod(&name, &node.name))?;
        let target = format!("pod/{name}");
        kubectl
            .ok(&["wait", &target, "--for=condition=Ready", "--timeout=55s"])
            .with_context(log)?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if std::thread::panicking() {
            eprintln!("a test failed; the ends of its cluster's logs:");
            let files = fs::read_dir(&self.folder).into_iter().flatten().flatten();
            for path in files.map(|entry| entry.path()) {
                if path.extension().is_some_and(|extension| extension == "log") {
                    let name = path.file_name().unwrap_or_default().display();
                    eprintln!("--- {name}\n{}", run::tail_of(&path, 15));
                }
            }
        }
        if let Err(error) = self.ledger.unmake() {
            eprintln!(
                "the cluster in {} could not be taken down: {error:#}",
                self.folder.display()
            );
        }
    }
}

/// A pod that sleeps on a node.
pub fn pod(name: &str, node: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  \
         nodeName: \"{node}\"\n  automountServiceAccountToken: false\n  terminationGracePeriodSeconds: 0\n  \
         tolerations: [{{operator: Exists}}]\n  containers:\n  - {{name: c, image: \"{}\", \
         imagePullPolicy: Never, command: [/bin/sleep, \"1000000\"]}}\n",
        image::NAME
    )
}

/// Where clusters are: `$STREAMWAY_STATE`, or `/var/tmp/streamway`.
pub fn root() -> PathBuf {
    let root = std::env::var_os("STREAMWAY_STATE").map(PathBuf::from);
    let root = root.unwrap_or_else(|| "/var/tmp/streamway".into());
    std::path::absolute(&root).unwrap_or(root)
}

/// The clusters that stand, or that a crash left: name and folder.
pub fn standing() -> Vec<(String, PathBuf)> {
    let folders = fs::read_dir(root())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut found: Vec<_> = folders
        .filter(|path| path.join("name").is_file())
        .map(|path| {
            (
                fs::read_to_string(path.join("name")).unwrap_or_default(),
                path,
            )
        })
        .collect();
    found.sort();
    found
}

/// Takes down every cluster of this name.
pub fn down(name: &str) -> Result<()> {
    for (_, folder) in standing().into_iter().filter(|(own, _)| own == name) {
        take_down(&folder)?;
    }
    Ok(())
}

/// Takes down the cluster in a folder, whoever made it; an error tells what could not be removed.
pub fn take_down(folder: &Path) -> Result<()> {
    Ledger::of(folder).unmake()
}

/// The process that a cluster of this name was made by and goes with, where it still runs.
fn maker(name: &str) -> Option<u32> {
    let named = standing().into_iter().filter(|(own, _)| own == name);
    named.into_iter().find_map(|(_, folder)| {
        let text = fs::read_to_string(folder.join("maker")).ok()?;
        let (pid, since) = text.split_once(' ')?;
        let pid = pid.parse().ok()?;
        (started(pid)? == since).then_some(pid)
    })
}

/// Takes the first free slot. Its folder is there at once with the cluster's name in it, so that it
/// can be found again whenever its maker is killed.
fn claim(name: &str) -> Result<(u8, PathBuf)> {
    let root = root();
    fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
    let new = tempfile::Builder::new().prefix(".new").tempdir_in(&root)?;
    let own = std::process::id();
    let since = started(own).unwrap_or_default();
    fs::write(new.path().join("name"), name)?;
    fs::write(new.path().join("maker"), format!("{own} {since}"))?;
    for slot in 0..SLOTS {
        let folder = root.join(slot.to_string());
        match fs::rename(new.path(), &folder) {
            Ok(()) => return Ok((slot, folder)),
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            Err(error) => return Err(error).context(format!("creating {}", folder.display())),
        }
    }
    bail!("{SLOTS} clusters stand already: cargo xtask cluster down --all")
}
