//! One node: a network namespace with its containerd and, if asked for, stream proxy.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::ledger::{Item, MARK, cgroups};
use super::{Cluster, Proxy};
use crate::run::{self, command};
use crate::{image, wait};

/// Where containerd, runc, CNI's library and the kubelet write whatever they are told. A node has a
/// mount namespace of its own, in which each of these is a folder of the node's: so nodes do not
/// share them, and they go with the node. So do its mounts, when its last process ends.
const FIXED: [&str; 5] = [
    "/run/containerd",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
];

/// Puts `FIXED` (`$2`) in the folder `$1`, and becomes the command behind them.
const ENTER: &str = r#"
folder=$1 fixed=$2; shift 2
for path in $fixed; do
  mkdir -p "$path" "$folder$path" && mount --bind "$folder$path" "$path" || exit 1
done
exec "$@"
"#;

/// A node of a cluster.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its kubelet's version.
    pub kubelet: String,
    /// The stream proxy before its kubelet.
    pub proxy: Option<Proxy>,
    /// 1 for the first.
    pub(super) index: u8,
}

impl Cluster {
    pub(super) fn start_node(&self, node: &Node) -> Result<()> {
        let folder = self.node_folder(node);
        fs::create_dir_all(folder.join("cni"))?;
        self.make_network(node)?;
        self.make_cgroup(node)?;
        self.start_containerd(node, &folder)?;
        self.identify_kubelet(node)?;
        self.start_kubelet(node, &node.kubelet)?;
        if node.proxy.is_some() {
            self.start_proxy(node)?;
        }
        Ok(())
    }

    pub(super) fn node_folder(&self, node: &Node) -> PathBuf {
        self.folder.join(&node.name)
    }

    /// The folder that one of `FIXED`, or what is in it, is on the node.
    pub(super) fn fixed(&self, node: &Node, path: &str) -> PathBuf {
        let path = path.trim_start_matches('/');
        self.node_folder(node).join("fixed").join(path)
    }

    /// The node's address.
    pub fn address(&self, node: &Node) -> String {
        format!("{}.0.{}", self.prefix(), 10 + node.index)
    }

    /// The network namespace's, the cgroup's and the CNI network's name.
    pub(super) fn namespace(&self, node: &Node) -> String {
        format!("sw{}-{}", self.slot, node.name)
    }

    /// A command that runs in the node's network. `nsenter` and not `ip netns exec`, which would hide
    /// the cgroups.
    pub fn in_node(&self, node: &Node, program: &Path) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter
            .arg(format!("--net=/var/run/netns/{}", self.namespace(node)))
            .arg(program);
        nsenter
    }

    fn make_network(&self, node: &Node) -> Result<()> {
        let namespace = self.namespace(node);
        let outside = format!("sw{}v{}", self.slot, node.index);
        self.ledger.note(Item::Namespace(&namespace))?;
        self.ledger.note(Item::Link(&outside))?;
        let address = format!("{}/24", self.address(node));
        let gateway = self.host_address();
        for line in [
            format!("netns add {namespace}"),
            format!("link add {outside} type veth peer name eth0 netns {namespace}"),
            format!("link set {outside} master {} up", self.bridge()),
            format!("-n {namespace} addr add {address} dev eth0"),
            format!("-n {namespace} link set eth0 up"),
            format!("-n {namespace} link set lo up"),
            format!("-n {namespace} route add default via {gateway}"),
            format!(
                "route replace {}.{}.0/24 via {}",
                self.prefix(),
                node.index,
                self.address(node)
            ),
        ] {
            run::output(&mut command("ip", line.split(' ')))?;
        }
        let forward = "net.ipv4.ip_forward=1";
        run::output(
            self.in_node(node, Path::new("sysctl"))
                .args(["-qw", forward]),
        )?;
        Ok(())
    }

    /// Several kubelets on one machine need a root each, or they kill each other's pods.
    fn make_cgroup(&self, node: &Node) -> Result<()> {
        let name = self.namespace(node);
        self.ledger.note(Item::Cgroup(&name))?;
        let root = Path::new("/sys/fs/cgroup");
        if root.join("cgroup.controllers").exists() {
            fs::create_dir_all(root.join(&name))?;
        } else {
            for entry in fs::read_dir(root)?
                .flatten()
                .filter(|entry| !entry.path().is_symlink())
            {
                // A controller that takes no children is none that a kubelet uses.
                let _ = fs::create_dir(entry.path().join(&name));
            }
        }
        for cgroup in cgroups(&name)
            .iter()
            .filter(|path| path.starts_with(root.join("cpuset")))
        {
            for file in ["cpuset.cpus", "cpuset.mems"] {
                fs::write(cgroup.join(file), fs::read(root.join("cpuset").join(file))?)?;
            }
        }
        Ok(())
    }

    fn start_containerd(&self, node: &Node, folder: &Path) -> Result<()> {
        let path = folder.display();
        let network = serde_json::json!({
            "cniVersion": "0.4.0",
            "name": self.namespace(node),
            "plugins": [{
                "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "dataDir": folder.join("ipam"),
                    "ranges": [[{ "subnet": format!("{}.{}.0/24", self.prefix(), node.index) }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            }, { "type": "loopback" }],
        });
        fs::write(folder.join("cni/10.conflist"), network.to_string())?;
        // restrict_oom_score_adj: root without CAP_SYS_RESOURCE may not lower scores.
        let config = format!(
            "version = 2\nroot = \"{path}/ctrd/root\"\nstate = \"{path}/ctrd/state\"\n\
             [grpc]\n  address = \"{path}/c.sock\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"{}\"\n  \
             restrict_oom_score_adj = true\n  netns_mounts_under_state_dir = true\n  \
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\n    bin_dir = \"/usr/lib/cni\"\n    \
             conf_dir = \"{path}/cni\"\n",
            image::NAME
        );
        let file = folder.join("containerd.toml");
        fs::write(&file, config)?;
        let mut containerd = self.in_node(node, Path::new("unshare"));
        containerd.args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            ENTER,
            "sh",
        ]);
        containerd.arg(folder.join("fixed")).arg(FIXED.join(" "));
        self.start(
            &format!("{}-containerd", node.name),
            containerd.args(["containerd", "-c"]).arg(file),
        )?;
        let archive = self.folder.join("box.tar");
        wait::until(
            "containerd takes the image",
            Duration::from_secs(30),
            || self.import(node, &archive).map(Some),
        )
        .with_context(|| run::tail_of(&self.log(&format!("{}-containerd", node.name)), 10))
    }

    /// Gives a node the image of an archive.
    pub fn import(&self, node: &Node, archive: &Path) -> Result<()> {
        let mut ctr = Command::new("ctr");
        ctr.env(MARK, &self.folder);
        ctr.arg("-a").arg(self.node_folder(node).join("c.sock"));
        ctr.args(["-n", "k8s.io", "images", "import"]).arg(archive);
        run::output(&mut ctr).map(drop)
    }

    /// Starts the node's stream proxy, as its own user.
    pub fn start_proxy(&self, node: &Node) -> Result<u32> {
        let Some(proxy) = &node.proxy else {
            anyhow::bail!("{} has no proxy", node.name)
        };
        let file = |name: &str| self.folder.join(name);
        let mut command = self.in_node(node, &proxy.program);
        command.args([
            "node",
            "--kubelet",
            "https://127.0.0.1:10250",
            "--logging-format",
            "json",
        ]);
        command.args(["--listen", &format!("{}:10250", self.address(node))]);
        command.args([
            "--hostname-override",
            &node.name,
            "--metrics-listen",
            "0.0.0.0:10351",
        ]);
        command
            .arg("--kubelet-certificate-authority")
            .arg(file("ca.crt"));
        command.arg("--client-ca-file").arg(file("ca.crt"));
        command
            .arg("--tls-cert-file")
            .arg(file(&format!("{}-kubelet.crt", node.name)));
        command
            .arg("--tls-private-key-file")
            .arg(file(&format!("{}-kubelet.key", node.name)));
        command
            .arg("--kubelet-client-certificate")
            .arg(file("proxy.crt"));
        command.arg("--kubelet-client-key").arg(file("proxy.key"));
        command.arg("--kubeconfig").arg(file("proxy.kubeconfig"));
        if !proxy.feature_gates.is_empty() {
            command.args(["--feature-gates", &proxy.feature_gates]);
        }
        let name = format!("{}-proxy", node.name);
        let pid = self.start(&name, &mut command)?;
        let address = format!("{}:10250", self.address(node));
        wait::until("the stream proxy listens", Duration::from_secs(20), || {
            Ok(TcpStream::connect(&address).map(Some)?)
        })
        .with_context(|| run::tail_of(&self.log(&name), 5))?;
        Ok(pid)
    }
}
