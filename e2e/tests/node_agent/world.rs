//! A cluster with our API and the agents' rights, as `config/` and the controller make them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use streamway_crds::names;
use streamway_e2e::cluster::Cluster;
use streamway_e2e::image;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::wait;

/// The longest that anything is waited for.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// What a kubelet authorizes.
const KUBELET: [&str; 8] = [
    "nodes/proxy",
    "nodes/log",
    "nodes/stats",
    "nodes/metrics",
    "nodes/pods",
    "nodes/healthz",
    "nodes/configz",
    "nodes/checkpoint",
];

/// A cluster, and what is asked of it.
pub(crate) struct World<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) kubectl: Kubectl,
}

impl<'a> World<'a> {
    /// Applies everything that agents need.
    pub(crate) fn new(cluster: &'a Cluster) -> Result<Self> {
        let kubectl = cluster.kubectl()?;
        let crds = repository("crds");
        kubectl.ok(&["apply", "--server-side", "-k", &crds.to_string_lossy()])?;
        kubectl.wait_for_crds()?;
        kubectl.ok(&["create", "namespace", names::NODES_NAMESPACE])?;
        for file in ["service-account.yaml", "roles.yaml"] {
            let path = repository("config/base/agent").join(file);
            kubectl.ok(&["apply", "-f", &path.to_string_lossy()])?;
        }
        let this = Self { cluster, kubectl };
        for node in cluster.nodes() {
            this.prepare(&node.name)?;
        }
        Ok(this)
    }

    /// A node's NodeStreaming, its agent's rights and pod.
    fn prepare(&self, node: &str) -> Result<()> {
        let streaming = json!({
            "apiVersion": "streamway.dev/v1alpha1", "kind": "NodeStreaming",
            "metadata": {"name": node}, "spec": {},
        });
        wait::until("NodeStreamings are served", LONG, || {
            self.kubectl.apply(&streaming.to_string()).map(Some)
        })?;
        let user = names::agent_user(node);
        let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs, "resourceNames": [node]});
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": user},
            "rules": [
                rule("", &KUBELET, &["get", "create", "update", "patch", "delete"]),
                rule("", &["nodes"], &["get"]),
                rule(names::GROUP, &["nodestreamings"], &["get", "list", "watch"]),
                rule(names::GROUP, &["nodestreamings/status"], &["get", "patch"]),
            ],
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        let name = format!("agent-{node}");
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": names::NODES_NAMESPACE},
            "spec": {
                "nodeName": node, "serviceAccountName": names::AGENT, "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false, "tolerations": [{"operator": "Exists"}],
                "containers": [{
                    "name": "agent", "image": image::NAME, "imagePullPolicy": "Never",
                    "command": ["/bin/sleep", "1000000"],
                }],
            },
        });
        for object in [role, binding, pod] {
            self.kubectl.apply(&object.to_string())?;
        }
        Ok(())
    }

    /// A kubeconfig with the token of a node's agent's pod.
    pub(crate) fn bootstrap(&self, node: &str) -> Result<PathBuf> {
        let pod = format!("--bound-object-name=agent-{node}");
        let token = self.kubectl.ok(&[
            "create",
            "token",
            names::AGENT,
            "--namespace",
            names::NODES_NAMESPACE,
            "--bound-object-kind=Pod",
            &pod,
            "--duration=1h",
        ])?;
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "agent",
            "clusters": [{"name": "c", "cluster": {
                "server": self.cluster.url(), "certificate-authority": self.cluster.file("ca.crt"),
            }}],
            "users": [{"name": "u", "user": {"token": token.trim()}}],
            "contexts": [{"name": "agent", "context": {"cluster": "c", "user": "u"}}],
        });
        let path = self.cluster.file(&format!("agent-{node}.kubeconfig"));
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// The NodeStreaming of a node.
    pub(crate) fn streaming(&self, node: &str) -> Result<Value> {
        let text = self
            .kubectl
            .ok(&["get", "nodestreaming", node, "-o", "json"])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Waits until `status.agent` is as `is` says, and tells it.
    pub(crate) fn status(
        &self,
        node: &str,
        what: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Value::Null;
        wait::until(what, LONG, || {
            last = self.streaming(node)?["status"]["agent"].clone();
            Ok(is(&last).then(|| last.clone()))
        })
        .with_context(|| last.to_string())
    }

    /// Wishes something of a node.
    pub(crate) fn wish(&self, node: &str, spec: &Value) -> Result<()> {
        let patch = json!({"spec": spec}).to_string();
        let args = ["patch", "nodestreaming", node, "--type=merge", "-p", &patch];
        self.kubectl.ok(&args).map(drop)
    }

    /// Patches a Node's status.
    pub(crate) fn patch_node(&self, node: &str, status: &Value) -> Result<()> {
        let patch = json!({"status": status}).to_string();
        let target = [
            "patch",
            "node",
            node,
            "--subresource=status",
            "--type=merge",
        ];
        self.kubectl
            .ok(&[&target[..], &["-p", &patch]].concat())
            .map(drop)
    }

    /// Declares the feature, or withdraws it.
    pub(crate) fn declare(&self, node: &str, declared: bool) -> Result<()> {
        let features: &[&str] = if declared { &[names::FEATURE] } else { &[] };
        self.patch_node(node, &json!({"declaredFeatures": features}))
    }

    /// Names of certificate requests of a node's agents that nobody answered.
    pub(crate) fn pending(&self, node: &str) -> Result<Vec<String>> {
        let text = self.kubectl.ok(&["get", "csr", "-o", "json"])?;
        let list: Value = serde_json::from_str(&text)?;
        let requests = list["items"].as_array().cloned().unwrap_or_default();
        let of_node = |request: &Value| {
            request["spec"]["extra"][names::EXTRA_NODE_NAME][0] == node
                && request["spec"]["signerName"] == names::AGENT_SIGNER
                && request["status"]["conditions"].is_null()
        };
        let name = |request: Value| request["metadata"]["name"].as_str().map(str::to_owned);
        Ok(requests
            .into_iter()
            .filter(of_node)
            .filter_map(name)
            .collect())
    }

    /// Waits for a request of a node's agent, and approves it.
    pub(crate) fn approve(&self, node: &str) -> Result<String> {
        let name = wait::until("the agent asks for a certificate", LONG, || {
            Ok(self.pending(node)?.pop())
        })?;
        self.kubectl.ok(&["certificate", "approve", &name])?;
        Ok(name)
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}
