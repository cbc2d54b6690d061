//! The control plane on the host, in order: users, a bridge to the nodes, etcd, API servers.

use std::fs;

use anyhow::{Context, Result};

use super::Cluster;
use super::ledger::Item;
use crate::pki;
use crate::run::{self, command};

/// The stream proxies' rights: what a kubelet's delegated authentication and authorization need, and
/// the kubelet's API.
const PROXY_RIGHTS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: streamproxy-node}
rules:
- {apiGroups: [''], resources: [nodes/proxy, nodes/log, nodes/stats, nodes/metrics, nodes/pods, nodes/healthz, nodes/configz, nodes/checkpoint], verbs: ['*']}
- {apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create]}
- {apiGroups: [authorization.k8s.io], resources: [subjectaccessreviews], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: streamproxy-node}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: streamproxy-node}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: streamproxy}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: streamproxy-node, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: extension-apiserver-authentication-reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: streamproxy}]
";

/// inotify instances for several clusters: a kubelet takes some, and Linux gives 128 to all of a user's.
const INOTIFY: u32 = 4096;

fn enough_inotify() -> Result<()> {
    let path = "/proc/sys/fs/inotify/max_user_instances";
    let now: u32 = fs::read_to_string(path)?.trim().parse()?;
    if now < INOTIFY {
        fs::write(path, INOTIFY.to_string()).with_context(|| format!("writing {path}"))?;
    }
    Ok(())
}

impl Cluster {
    /// Starts etcd and the API servers, and waits until they are ready.
    pub(super) fn start_control(&self) -> Result<()> {
        pki::service_account_key(&self.folder)?;
        self.write_users()?;
        self.make_bridge()?;
        self.start_etcd()?;
        self.start_api_servers()?;
        self.kubectl()?.apply(PROXY_RIGHTS)
    }

    fn make_bridge(&self) -> Result<()> {
        let bridge = self.bridge();
        self.ledger.note(Item::Link(&bridge))?;
        let address = format!("{}/24", self.host_address());
        for line in [
            format!("link add {bridge} type bridge"),
            format!("addr add {address} dev {bridge}"),
            format!("link set {bridge} up"),
        ] {
            run::output(&mut command("ip", line.split(' ')))?;
        }
        run::output(&mut command("sysctl", ["-qw", "net.ipv4.ip_forward=1"]))?;
        enough_inotify()
    }

    pub(super) fn etcd_port(&self) -> u16 {
        12379 + 10 * u16::from(self.slot)
    }

    fn start_etcd(&self) -> Result<()> {
        let (client, peer) = (self.etcd_port(), self.etcd_port() + 1);
        let mut etcd = command("etcd", ["--unsafe-no-fsync", "--data-dir"]);
        etcd.arg(self.file("etcd"));
        etcd.args([
            "--listen-client-urls",
            &format!("http://127.0.0.1:{client}"),
        ]);
        etcd.args([
            "--advertise-client-urls",
            &format!("http://127.0.0.1:{client}"),
        ]);
        etcd.args(["--listen-peer-urls", &format!("http://127.0.0.1:{peer}")]);
        self.start("etcd", &mut etcd)?;
        Ok(())
    }
}
