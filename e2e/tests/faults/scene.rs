//! The cluster that all faults happen in, with Streamway installed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use streamway_crds::{NodeMode, NodeState, Transition};
use streamway_e2e::cluster::{Cluster, Node};
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::product::{self, Streamway};
use streamway_e2e::rollout::Rollout;
use streamway_e2e::wait;

/// How long anything may take before it is given up. What it took is told, and not judged: the machine
/// has other things to do.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// An agent's command line, and that of the container beside it.
pub(crate) const AGENT: &str = "/streamproxy node";
pub(crate) const PROBE_TARGET: &str = "/streamproxy probe-target";

pub(crate) struct Scene {
    pub(crate) cluster: Cluster,
    pub(crate) kubectl: Kubectl,
    pub(crate) archive: PathBuf,
}

impl Scene {
    pub(crate) fn new(cluster: Cluster) -> Result<Self> {
        let archive = product::archive(&cluster.file(""))?;
        Streamway::new(&cluster, "default", archive.clone())?.install()?;
        Ok(Self {
            kubectl: cluster.kubectl()?,
            cluster,
            archive,
        })
    }

    pub(crate) fn rollout(&self) -> Result<Rollout<'_>> {
        Rollout::new(&self.cluster, "all")
    }

    pub(crate) fn node(&self, name: &str) -> Result<&Node> {
        self.cluster.node(name)
    }

    /// Sends a signal to what runs on a node.
    pub(crate) fn signal(&self, node: &str, command: &str, signal: &str) -> Result<()> {
        self.cluster.signal_on(self.node(node)?, command, signal)
    }

    /// Waits for `condition`, and tells how long after `since` it came.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        since: Instant,
        condition: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let value = wait::until(what, LONG, condition)?;
        let time = since.elapsed().as_secs_f64();
        println!("    {what}: after {time:.1}s");
        Ok(value)
    }

    /// What a Node says itself: its features and its kubelet's port.
    pub(crate) fn says(&self, node: &str) -> Result<(bool, u16)> {
        let path =
            "jsonpath={.status.daemonEndpoints.kubeletEndpoint.Port} {.status.declaredFeatures}";
        let told = self.kubectl.ok(&["get", "node", node, "-o", path])?;
        let (port, features) = told.split_once(' ').unwrap_or((&told, ""));
        Ok((
            features.contains("ExtendWebSocketsToKubelet"),
            port.parse()?,
        ))
    }

    /// Whether it declares the feature.
    pub(crate) fn declares(&self, node: &str) -> Result<bool> {
        Ok(self.says(node)?.0)
    }

    /// Waits until a node is in a state, and in a mode.
    pub(crate) fn is(
        &self,
        node: &str,
        state: NodeState,
        mode: NodeMode,
        since: Instant,
    ) -> Result<()> {
        let rollout = self.rollout()?;
        self.until(&format!("{node} is {state:?}, {mode:?}"), since, || {
            let status = rollout.node(node)?;
            let reached = status.state == Some(state) && status.mode == Some(mode);
            anyhow::ensure!(
                reached,
                "{:?} {:?} {:?}",
                status.state,
                status.mode,
                status.message
            );
            Ok(Some(()))
        })
    }

    /// Waits until a node's status tells that it came into a state since [`forget`](Self::forget). It may
    /// have left it again.
    pub(crate) fn became(
        &self,
        node: &str,
        state: NodeState,
        since: Instant,
    ) -> Result<Transition> {
        let rollout = self.rollout()?;
        let what = format!("the status of {node} names {state:?}");
        let told = self.until(&what, since, || {
            let all = rollout.node(node)?.transitions;
            Ok(all.into_iter().find(|one| one.to == state))
        })?;
        println!("    {node}: {}", told.reason);
        Ok(told)
    }

    /// Takes a node's transitions out of its status. One that fails again soon rests the longer for it.
    pub(crate) fn forget(&self, node: &str) -> Result<()> {
        let nothing = r#"{"status":{"transitions":null}}"#;
        let patch = ["patch", "nodestreaming", node, "--subresource=status"];
        let args = [&patch[..], &["--type=merge", "-p", nothing]].concat();
        self.kubectl.ok(&args).map(drop)
    }
}
