//! The control plane: etcd and kube-apiserver on the host, a bridge to the nodes, users.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Cluster;
use super::ledger::Item;
use crate::pki::{self, Authority, Pair};
use crate::run::{self, command};
use crate::{build, wait};

/// Users by token, and their groups. What each but the first may do is for tests to say.
const USERS: [(&str, &str); 4] = [
    ("admin", "system:masters"),
    ("dev", ""),
    ("reader", ""),
    ("nobody", ""),
];

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

impl Cluster {
    /// Starts etcd and the API server, and waits until it is ready.
    pub(super) fn start_control(&self, version: &str, feature_gates: &str) -> Result<Authority> {
        let authority = Authority::new(&self.folder, "ca")?;
        Authority::new(&self.folder, "front-proxy-ca")?;
        pki::service_account_key(&self.folder)?;
        let masters = ["system:masters"];
        authority.client(
            "apiserver-kubelet",
            "kube-apiserver-kubelet-client",
            &masters,
        )?;
        let proxy = authority.client("proxy", "streamproxy", &[])?;
        let hosts = [
            "localhost",
            "kubernetes.default.svc",
            "127.0.0.1",
            "10.96.0.1",
        ];
        let hosts: Vec<String> = hosts
            .into_iter()
            .map(str::to_owned)
            .chain([self.gateway()])
            .collect();
        let serving = authority.server("apiserver", &hosts)?;
        self.write_users(&proxy)?;
        self.make_bridge()?;
        self.start_etcd()?;
        self.start_api_server(version, feature_gates, &serving)?;
        self.kubectl()?.apply(PROXY_RIGHTS)?;
        Ok(authority)
    }

    /// The API server's URL.
    pub fn url(&self) -> String {
        format!(
            "https://{}:{}",
            self.gateway(),
            16443 + u16::from(self.slot)
        )
    }

    /// A user's bearer token.
    pub fn token(user: &str) -> String {
        format!("{user}-token")
    }

    fn write_users(&self, proxy: &Pair) -> Result<()> {
        let mut tokens = String::new();
        let mut users = String::new();
        let mut contexts = String::new();
        for (user, groups) in USERS {
            let token = Self::token(user);
            tokens.push_str(&format!("{token},{user},{user},\"{groups}\"\n"));
            users.push_str(&format!("- {{name: {user}, user: {{token: {token}}}}}\n"));
            contexts.push_str(&format!(
                "- {{name: {user}, context: {{cluster: c, user: {user}}}}}\n"
            ));
        }
        fs::write(self.file("tokens.csv"), tokens)?;
        let cluster = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- {{name: c, cluster: {{server: \"{}\", \
             certificate-authority: {}}}}}\n",
            self.url(),
            self.file("ca.crt").display()
        );
        let text = format!("{cluster}users:\n{users}contexts:\n{contexts}current-context: admin\n");
        fs::write(self.kubeconfig(), text)?;
        let text = format!(
            "{cluster}users:\n- {{name: p, user: {{client-certificate: {}, client-key: {}}}}}\n\
             contexts:\n- {{name: p, context: {{cluster: c, user: p}}}}\ncurrent-context: p\n",
            proxy.certificate.display(),
            proxy.key.display()
        );
        fs::write(self.file("proxy.kubeconfig"), text)?;
        Ok(())
    }

    fn make_bridge(&self) -> Result<()> {
        let bridge = self.bridge();
        self.ledger.note(Item::Link(&bridge))?;
        let address = format!("{}/24", self.gateway());
        for line in [
            format!("link add {bridge} type bridge"),
            format!("addr add {address} dev {bridge}"),
            format!("link set {bridge} up"),
        ] {
            run::output(&mut command("ip", line.split(' ')))?;
        }
        run::output(&mut command("sysctl", ["-qw", "net.ipv4.ip_forward=1"]))?;
        Ok(())
    }

    fn etcd_port(&self) -> u16 {
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

    fn start_api_server(&self, version: &str, feature_gates: &str, serving: &Pair) -> Result<()> {
        let program = build::kubernetes(version, "kube-apiserver")?;
        let port = (16443 + u16::from(self.slot)).to_string();
        let etcd = format!("http://127.0.0.1:{}", self.etcd_port());
        let mut server = std::process::Command::new(program);
        let mut flag = |name: &str, value: &str| {
            server.arg(format!("--{name}={value}"));
        };
        let path = |name: &str| -> PathBuf { self.file(name) };
        for (name, file) in [
            ("service-account-key-file", path("sa.pub")),
            ("service-account-signing-key-file", path("sa.key")),
            ("token-auth-file", path("tokens.csv")),
            ("tls-cert-file", serving.certificate.clone()),
            ("tls-private-key-file", serving.key.clone()),
            ("client-ca-file", path("ca.crt")),
            ("kubelet-certificate-authority", path("ca.crt")),
            ("kubelet-client-certificate", path("apiserver-kubelet.crt")),
            ("kubelet-client-key", path("apiserver-kubelet.key")),
            ("requestheader-client-ca-file", path("front-proxy-ca.crt")),
        ] {
            flag(name, &file.to_string_lossy());
        }
        for (name, value) in [
            ("etcd-servers", etcd.as_str()),
            ("service-account-issuer", "https://kubernetes.default.svc"),
            ("secure-port", &port),
            ("bind-address", "0.0.0.0"),
            ("advertise-address", &self.gateway()),
            ("service-cluster-ip-range", "10.96.0.0/16"),
            ("kubelet-preferred-address-types", "InternalIP"),
            ("requestheader-username-headers", "X-Remote-User"),
            ("requestheader-group-headers", "X-Remote-Group"),
            ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
            ("allow-privileged", "true"),
            ("authorization-mode", "Node,RBAC"),
            // There is no controller manager that would make service accounts.
            ("disable-admission-plugins", "ServiceAccount"),
        ] {
            flag(name, value);
        }
        if !feature_gates.is_empty() {
            flag("feature-gates", feature_gates);
        }
        self.start("kube-apiserver", &mut server)?;
        let kubectl = self.kubectl()?;
        wait::until("the API server is ready", Duration::from_secs(60), || {
            kubectl.ok(&["get", "--raw", "/readyz"]).map(Some)
        })
        .with_context(|| run::tail_of(&self.log("kube-apiserver"), 5))?;
        // Its own roles are there a moment after it is ready.
        wait::until(
            "the API server has its roles",
            Duration::from_secs(30),
            || {
                let role = [
                    "get",
                    "-n",
                    "kube-system",
                    "role",
                    "extension-apiserver-authentication-reader",
                ];
                kubectl.ok(&role).map(Some)
            },
        )?;
        Ok(())
    }
}
