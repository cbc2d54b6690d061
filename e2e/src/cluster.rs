//! A cluster: up, down, and what tests ask of it.

mod api_server;
mod builder;
mod control;
mod controllers;
mod gateway;
mod kubelet;
mod ledger;
mod metrics_server;
mod node;
mod processes;
mod standing;
mod users;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::access::AccessLog;
use crate::install::Kubectl as Which;
use crate::kubectl::Kubectl;
use crate::pki::Authority;
use crate::{image, run, wait};
pub use builder::Builder;
pub use gateway::{Gateway, GatewayBuilder};
pub use ledger::Ledger;
pub(crate) use ledger::MARK;
use ledger::{Item, started};
pub use node::Node;
pub use standing::{down, root, standing, take_down};

/// A stream proxy before a kubelet.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// The `streamproxy` binary.
    pub program: PathBuf,
    /// `--feature-gates`, or nothing.
    pub feature_gates: String,
}

/// A cluster that stands. Dropping it takes it down, unless it is to be kept.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    slot: u8,
    ledger: Ledger,
    plan: Builder,
    authority: Authority,
    front_proxy: Authority,
    /// Their names; a gateway's place is its ports' number, so one that is started again keeps them.
    gateways: Mutex<Vec<String>>,
}

impl Cluster {
    /// A cluster with this name; the API server's version is the current one.
    pub fn builder(name: &str) -> Builder {
        Builder::new(name)
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

    /// The authority that the cluster's certificates are signed by: `authority().client(…)` makes a
    /// user, see [`Kubectl::with_certificate`].
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The authority whose client certificates the API server takes `X-Remote-User` from.
    pub fn front_proxy_authority(&self) -> &Authority {
        &self.front_proxy
    }

    /// The API servers' version.
    pub fn version(&self) -> &str {
        &self.plan.api_server
    }

    /// A file of the cluster's: `ca.crt`, `apiserver-kubelet.crt` …
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A node, by name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.plan
            .nodes
            .iter()
            .find(|node| node.name == name)
            .with_context(|| format!("no node {name}"))
    }

    /// All nodes, in their order.
    pub fn nodes(&self) -> &[Node] {
        &self.plan.nodes
    }

    /// A process's log.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.log"))
    }

    /// The access log's lines of a node's stream proxy.
    pub fn access_log(&self, node: &str) -> Vec<serde_json::Value> {
        self.node_access_log(node).lines()
    }

    /// Waits until a node's access log has `count` ended sessions of a subresource, and tells them.
    pub fn sessions(
        &self,
        node: &str,
        subresource: &str,
        count: usize,
    ) -> Result<Vec<serde_json::Value>> {
        self.node_access_log(node).sessions(subresource, count)
    }

    pub(crate) fn node_access_log(&self, node: &str) -> AccessLog {
        AccessLog::of(self.log(&format!("{node}-proxy")))
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

    /// Kills the process that was last started under a name, as a crash would, and waits until it is
    /// gone.
    pub fn kill_named(&self, name: &str) -> Result<()> {
        let pid = self.signal(name, "-KILL")?;
        wait::until("the process is gone", Duration::from_secs(10), || {
            Ok(started(pid).is_none().then_some(()))
        })
    }

    /// Asks the process that was last started under a name to end, and waits for nothing. Its number.
    pub fn terminate_named(&self, name: &str) -> Result<u32> {
        self.signal(name, "-TERM")
    }

    fn signal(&self, name: &str, signal: &str) -> Result<u32> {
        let pid = fs::read_to_string(self.folder.join(format!("{name}.pid")))
            .with_context(|| format!("no process {name}"))?;
        let pid = pid.trim();
        run::output(&mut run::command("kill", [signal, pid]))?;
        Ok(pid.parse()?)
    }

    /// Leaves it standing.
    pub fn keep(mut self) -> PathBuf {
        self.plan.keep = true;
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

    /// The host's address on the cluster's bridge: API servers and gateways are reached by it, from
    /// the host, the nodes and the pods.
    pub fn host_address(&self) -> String {
        format!("{}.0.1", self.prefix())
    }

    /// Where the `index`th process of a kind listens. Each kind has a hundred ports from `base` on:
    /// ten numbers, and in each a port for every slot. e2e/README.md lists the kinds.
    fn port(&self, base: u16, index: u8) -> u16 {
        base + 10 * u16::from(index) + u16::from(self.slot)
    }

    fn bridge(&self) -> String {
        format!("swbr{}", self.slot)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.plan.keep {
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
