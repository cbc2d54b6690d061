//! Nodes as their kubelets write them, and wishes for them.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use streamway_crds::names::{CONTROLLER, FEATURE, SYSTEM_NAMESPACE};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::wait;

/// Longer than kubelets need for a write: one each 10 s where something differs.
pub(crate) const A_WRITE: Duration = Duration::from_secs(60);

/// Every write of a Node's status, as the API server's audit log has it.
const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
    - level: Metadata\n  verbs: [patch, update]\n  resources: [{group: \"\", resources: [nodes/status]}]\n\
    - level: None\n";

/// Writes of kubelets, counted by the API server.
pub(crate) struct Writes {
    log: PathBuf,
}

impl Writes {
    /// An audit log in a folder that outlives the cluster's own, and the API server's flags for it.
    pub(crate) fn new(folder: &tempfile::TempDir) -> Result<(Self, Vec<String>)> {
        let (log, policy) = (
            folder.path().join("audit.log"),
            folder.path().join("policy.yaml"),
        );
        fs::write(&policy, POLICY)?;
        let flags = vec![
            format!("--audit-log-path={}", log.display()),
            format!("--audit-policy-file={}", policy.display()),
        ];
        Ok((Self { log }, flags))
    }

    /// How often a node's kubelet has written its status.
    pub(crate) fn of(&self, node: &str) -> Result<usize> {
        let text = fs::read_to_string(&self.log)?;
        let user = format!("\"username\":\"system:node:{node}\"");
        Ok(text.lines().filter(|line| line.contains(&user)).count())
    }

    /// Waits until a node's kubelet has written `count` times, and `holds` after each of them. The time
    /// that it took.
    pub(crate) fn wait(
        &self,
        node: &str,
        count: usize,
        holds: impl Fn() -> Result<()>,
    ) -> Result<Duration> {
        let (begun, mut seen) = (Instant::now(), self.of(node)?);
        for _ in 0..count {
            seen = wait::until("the kubelet writes", A_WRITE, || {
                let now = self.of(node)?;
                Ok((now > seen).then_some(now))
            })?;
            holds()?;
        }
        Ok(begun.elapsed())
    }
}

/// A Node's declared features and its kubelet's port.
pub(crate) fn streaming(kubectl: &Kubectl, node: &str) -> Result<(Vec<String>, i64)> {
    let node = kubectl.ok(&["get", "node", node, "-o", "json"])?;
    let node: Value = serde_json::from_str(&node)?;
    let status = node.get("status").context("no status")?;
    let features = status
        .get("declaredFeatures")
        .cloned()
        .unwrap_or_else(|| json!([]));
    let port = status.pointer("/daemonEndpoints/kubeletEndpoint/Port");
    Ok((
        serde_json::from_value(features)?,
        port.and_then(Value::as_i64).unwrap_or_default(),
    ))
}

/// Whether a Node declares the feature.
pub(crate) fn declares(kubectl: &Kubectl, node: &str) -> Result<bool> {
    Ok(streaming(kubectl, node)?
        .0
        .iter()
        .any(|feature| feature == FEATURE))
}

/// Writes the wish for a node.
pub(crate) fn wish(kubectl: &Kubectl, node: &str, spec: &Value) -> Result<()> {
    let object = json!({
        "apiVersion": "streamway.dev/v1alpha1", "kind": "NodeStreaming",
        "metadata": {"name": node}, "spec": spec,
    });
    kubectl.apply(&object.to_string())
}

/// Patches a Node's status as the controller does when it switches.
pub(crate) fn switch(kubectl: &Kubectl, node: &str, status: &Value) -> Result<()> {
    let user = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{CONTROLLER}");
    patch(kubectl, &["--as", &user], node, &json!({"status": status}))
}

/// Patches a Node's status as somebody else.
pub(crate) fn patch(kubectl: &Kubectl, flags: &[&str], node: &str, patch: &Value) -> Result<()> {
    let patch = patch.to_string();
    let args = [
        "patch",
        "node",
        node,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ];
    kubectl.ok(&[&args[..], flags].concat()).map(drop)
}

/// A Node that no kubelet is behind, as a kubelet of this version would register it.
pub(crate) fn register(cluster: &Cluster, name: &str, version: &str) -> Result<()> {
    let kubectl = cluster.kubectl()?;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    kubectl.apply(&node.to_string())?;
    // The rest of nodeInfo is required.
    let info = json!({
        "kubeletVersion": version, "machineID": "", "systemUUID": "", "bootID": "",
        "kernelVersion": "", "osImage": "", "containerRuntimeVersion": "",
        "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64",
    });
    patch(&kubectl, &[], name, &json!({"status": {"nodeInfo": info}}))
}
