//! A node's kubelet: who it is, how it starts, and that it is another's version later.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Cluster, Node, pod};
use crate::{build, run, wait};

/// Where the kubelet's serving certificate is, on the node: where a kubelet puts one that it made.
const PKI: &str = "/var/lib/kubelet/pki";

/// The link to the serving certificate that a kubelet was given.
const CURRENT: &str = "kubelet-server-current.pem";

/// When pods are evicted. Never for want of disk: the disk is the whole machine's, and a test would fail far from
/// its cause. For the same reason no image is removed at any use of it.
const EVICTION: &str = r#"{memory.available: "50Mi", nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%"}"#;

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

    /// Approves what a kubelet asks for, once it has asked, and waits until it has its serving certificate.
    fn approve_certificate(&self, node: &Node) -> Result<()> {
        let kubectl = self.kubectl()?;
        let path = "jsonpath={range .items[?(@.spec.signerName==\"kubernetes.io/kubelet-serving\")]}\
                    {.metadata.name} {.spec.username} {.status.conditions}{\"\\n\"}{end}";
        let pending = format!(" system:node:{} ", node.name);
        let what = "the kubelet has its certificate";
        wait::until(what, Duration::from_secs(60), || {
            for line in kubectl.ok(&["get", "csr", "-o", path])?.lines() {
                if let Some(name) = line.strip_suffix(&pending) {
                    kubectl.ok(&["certificate", "approve", name])?;
                }
            }
            Ok(self.kubelet_certificate(node).ok().map(drop))
        })
        .with_context(|| run::tail_of(&self.log(&process(node)), 5))
    }

    /// The file of the certificate that a kubelet was given, as this machine sees it.
    pub fn kubelet_certificate(&self, node: &Node) -> Result<PathBuf> {
        let pki = self.fixed(node, PKI);
        let target = fs::read_link(pki.join(CURRENT))?;
        Ok(pki.join(target.file_name().context("no file")?))
    }

    /// Takes a kubelet's serving certificate away, as if it had run out, and starts it again: it asks for another.
    pub fn renew_certificate(&self, node: &Node) -> Result<()> {
        self.kill_kubelet(node)?;
        fs::remove_file(self.fixed(node, PKI).join(CURRENT))?;
        self.start_kubelet_again(node, &node.kubelet)?;
        self.approve_certificate(node)
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
        kubelet.args(["--cert-dir", PKI]);
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
        let certificate = if self.plan.server_tls_bootstrap {
            "serverTLSBootstrap: true".to_owned()
        } else {
            format!("tlsCertFile: {PKI}/kubelet.crt\ntlsPrivateKeyFile: {PKI}/kubelet.key")
        };
        format!(
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n{cgroup_v1}\
             failSwapOn: false\ncgroupDriver: cgroupfs\ncgroupRoot: /{}\n\
             containerRuntimeEndpoint: unix://{}\n\
             authentication:\n  anonymous: {{enabled: false}}\n  webhook: {{enabled: true}}\n  \
             x509: {{clientCAFile: {}}}\n\
             authorization: {{mode: Webhook}}\naddress: {address}\n\
             {certificate}\n\
             enforceNodeAllocatable: []\nclusterDomain: cluster.local\n\
             evictionHard: {EVICTION}\nimageGCHighThresholdPercent: 100\n",
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
        if self.plan.server_tls_bootstrap {
            self.approve_certificate(node)?;
        }
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
