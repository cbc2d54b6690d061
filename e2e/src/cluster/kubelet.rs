//! A node's kubelet: who it is, how it starts, and that it is another's version later.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Cluster, Node, pod};
use crate::{build, run, wait};

/// Where the kubelet's serving certificate is, on the node: where a kubelet puts one that it made.
const PKI: &str = "/var/lib/kubelet/pki";

impl Cluster {
    /// Brings up one node, until its pod runs.
    pub(super) fn bring_up(&self, node: &Node) -> Result<()> {
        self.start_node(node)?;
        self.settle(node)?;
        if self.plan.services {
            self.start_kube_proxy(node)?;
        }
        Ok(())
    }

    /// Adds a node to a cluster that stands, as [`super::Builder::node`] does before.
    pub fn join(&mut self, name: &str, kubelet: &str) -> Result<Node> {
        build::kubernetes(kubelet, "kubelet")?;
        self.plan.add(name, kubelet, None);
        let node = self.node(name)?.clone();
        let text = format!("bringing up {name}, kubelet {kubelet}");
        run::step(&text, || self.bring_up(&node))?;
        Ok(node)
    }

    /// Kills a node's kubelet, as a crash would. Its pods run on.
    pub fn kill_kubelet(&self, node: &Node) -> Result<()> {
        self.kill_named(&process(node))
    }

    /// Starts a kubelet that was killed, of any version, and waits until it told the API server.
    pub fn start_kubelet_again(&self, node: &Node, version: &str) -> Result<()> {
        build::kubernetes(version, "kubelet")?;
        let before = self.heartbeat(node)?;
        self.start_kubelet(node, version)?;
        wait::until("the kubelet is back", Duration::from_secs(60), || {
            let now = self.heartbeat(node)?;
            let back = now != before && now.ends_with(&format!(" True v{version}"));
            Ok(back.then_some(()))
        })
        .with_context(|| run::tail_of(&self.log(&process(node)), 5))
    }

    /// Kills a node's kubelet and starts one of this version.
    pub fn restart_kubelet(&self, node: &Node, version: &str) -> Result<()> {
        self.kill_kubelet(node)?;
        self.start_kubelet_again(node, version)
    }

    /// When the kubelet last said how the node is, whether it is ready, and the kubelet's version.
    fn heartbeat(&self, node: &Node) -> Result<String> {
        let ready = "status.conditions[?(@.type==\"Ready\")]";
        let path = format!(
            "jsonpath={{.{ready}.lastHeartbeatTime}} {{.{ready}.status}} {{.status.nodeInfo.kubeletVersion}}"
        );
        self.kubectl()?
            .ok(&["get", "node", &node.name, "-o", &path])
    }

    /// Makes the kubelet's certificates: one to serve with, and one for what it asks of the API server.
    pub(super) fn identify_kubelet(&self, node: &Node) -> Result<()> {
        let hosts = [
            node.name.clone(),
            self.address(node),
            "127.0.0.1".to_owned(),
        ];
        let serving = self.authority.server(&process(node), &hosts)?;
        let place = self.fixed(node, PKI);
        fs::create_dir_all(&place)?;
        fs::copy(serving.certificate, place.join("kubelet.crt"))?;
        fs::copy(serving.key, place.join("kubelet.key"))?;
        let client = format!("{}-client", process(node));
        let user = format!("system:node:{}", node.name);
        let client = self.authority.client(&client, &user, &["system:nodes"])?;
        self.write_kubeconfig(&process(node), &client).map(drop)
    }

    pub(super) fn start_kubelet(&self, node: &Node, version: &str) -> Result<()> {
        let program = build::kubernetes(version, "kubelet")?;
        let folder = self.node_folder(node);
        let file = folder.join("kubelet.yaml");
        fs::write(&file, self.kubelet_configuration(node, version))?;
        // It lives in containerd's mount namespace.
        let containerd = fs::read_to_string(self.file(&format!("{}-containerd.pid", node.name)))?;
        let mut kubelet = self.in_node(node, Path::new("nsenter"));
        kubelet.arg(format!("--mount=/proc/{}/ns/mnt", containerd.trim()));
        kubelet.arg(program).arg("--config").arg(file);
        kubelet.arg("--kubeconfig");
        kubelet.arg(self.file(&format!("{}.kubeconfig", process(node))));
        kubelet.args(["--hostname-override", &node.name]);
        kubelet.args(["--node-ip", &self.address(node)]);
        kubelet.arg("--root-dir").arg(folder.join("kubelet"));
        kubelet.arg("--cert-dir").arg(folder.join("kubelet-pki"));
        self.start(&process(node), &mut kubelet).map(drop)
    }

    fn kubelet_configuration(&self, node: &Node, version: &str) -> String {
        // Behind a proxy the kubelet keeps the port and gives the node's address to the proxy.
        let address = if node.proxy.is_some() {
            "127.0.0.1"
        } else {
            "0.0.0.0"
        };
        let minor = version.split('.').nth(1).and_then(|m| m.parse().ok());
        let cgroup_v1 = if minor.unwrap_or(0) >= 31 {
            "failCgroupV1: false\n"
        } else {
            ""
        };
        format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n{cgroup_v1}\
             failSwapOn: false\ncgroupDriver: cgroupfs\ncgroupRoot: /{}\n\
             containerRuntimeEndpoint: unix://{}\n\
             authentication:\n  anonymous: {{enabled: false}}\n  webhook: {{enabled: true}}\n  \
             x509: {{clientCAFile: {}}}\n\
             authorization: {{mode: Webhook}}\naddress: {address}\n\
             tlsCertFile: {PKI}/kubelet.crt\ntlsPrivateKeyFile: {PKI}/kubelet.key\n\
             enforceNodeAllocatable: []\nclusterDomain: cluster.local\n\
             evictionHard: {{memory.available: \"50Mi\", nodefs.available: \"1%\", imagefs.available: \"1%\"}}\n",
            self.namespace(node),
            self.node_folder(node).join("c.sock").display(),
            self.file("ca.crt").display(),
        )
    }

    /// Waits until a node is Ready and its pod runs; declares the feature where a proxy serves it.
    fn settle(&self, node: &Node) -> Result<()> {
        let kubectl = self.kubectl()?;
        let log = || run::tail_of(&self.log(&process(node)), 5);
        wait::until("the node is Ready", Duration::from_secs(60), || {
            let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";
            let ready = kubectl.ok(&["get", "node", &node.name, "-o", path])?;
            Ok((ready == "True").then_some(()))
        })
        .with_context(log)?;
        if node.proxy.is_some() {
            let patch = r#"{"status":{"declaredFeatures":["ExtendWebSocketsToKubelet"]}}"#;
            let name = &node.name;
            let target = [
                "patch",
                "node",
                name,
                "--subresource=status",
                "--type=merge",
            ];
            kubectl.ok(&[&target[..], &["-p", patch]].concat())?;
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

/// The name of a kubelet's process, log, certificate and kubeconfig.
fn process(node: &Node) -> String {
    format!("{}-kubelet", node.name)
}
