//! The proxy answers each caller as a kubelet of the same version does, on every path; and what is
//! forged or smuggled gains nothing.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use streamway_e2e::cluster::{Cluster, Proxy};
use streamway_e2e::https::{self, Answer};
use streamway_e2e::pki::Authority;
use streamway_e2e::suite::Suite;
use streamway_e2e::{OLD_KUBELET, streamproxy};

const RIGHTS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: get-nodes-proxy}
rules: [{apiGroups: [''], resources: [nodes/proxy], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: get-nodes-proxy}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: get-nodes-proxy}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: reader}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: metrics}
rules: [{apiGroups: [''], resources: [nodes/metrics, nodes/healthz], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: metrics}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: metrics}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: dev}]
";

const PATHS: [(&str, &str); 15] = [
    ("GET", "/pods"),
    ("GET", "/healthz"),
    ("GET", "/configz"),
    ("GET", "/metrics"),
    ("GET", "/metrics/cadvisor"),
    ("GET", "/metrics/probes"),
    ("GET", "/stats/summary"),
    ("GET", "/runningpods/"),
    ("GET", "/containerLogs/default/nosuch/c"),
    ("POST", "/exec/default/nosuch/c?command=id&output=1"),
    ("POST", "/attach/default/nosuch/c?output=1"),
    ("POST", "/portForward/default/nosuch"),
    ("POST", "/run/default/nosuch/c?cmd=id"),
    ("DELETE", "/pods"),
    ("HEAD", "/pods"),
];

struct Caller {
    name: &'static str,
    certificate: Option<(PathBuf, PathBuf)>,
    headers: String,
}

impl Caller {
    fn ask(&self, address: &str, method: &str, path: &str) -> Result<Answer> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n{}\r\n",
            self.headers
        );
        self.send(address, &request)
    }

    fn send(&self, address: &str, request: &str) -> Result<Answer> {
        let certificate = self
            .certificate
            .as_ref()
            .map(|(a, b)| (a.as_path(), b.as_path()));
        https::exchange(address, certificate, request)
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn callers_get_what_a_kubelet_gives_them() {
    let proxy = Proxy {
        program: streamproxy().unwrap(),
        feature_gates: String::new(),
    };
    let cluster = Cluster::builder("test-authz")
        .node("plain", OLD_KUBELET, None)
        .node("behind", OLD_KUBELET, Some(proxy))
        .up()
        .unwrap();
    cluster.kubectl().unwrap().apply(RIGHTS).unwrap();
    let address = |node: &str| format!("{}:10250", cluster.address(cluster.node(node).unwrap()));
    let (plain, behind) = (address("plain"), address("behind"));

    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = Authority::new(elsewhere.path(), "stranger").unwrap();
    let forged = stranger
        .client("forged", "admin", &["system:masters"])
        .unwrap();
    let forged = Some((forged.certificate, forged.key));
    let admin = (
        cluster.file("apiserver-kubelet.crt"),
        cluster.file("apiserver-kubelet.key"),
    );
    let caller = |name, certificate, headers: String| Caller {
        name,
        certificate,
        headers,
    };
    let callers = [
        caller("the API server's certificate", Some(admin), String::new()),
        caller("a stranger's certificate", forged.clone(), String::new()),
        caller("admin's token", None, bearer(&Cluster::token("admin"))),
        caller(
            "a token with get nodes/proxy",
            None,
            bearer(&Cluster::token("reader")),
        ),
        caller(
            "a token with nodes/metrics",
            None,
            bearer(&Cluster::token("dev")),
        ),
        caller(
            "a token with nothing",
            None,
            bearer(&Cluster::token("nobody")),
        ),
        caller("a token that nobody knows", None, bearer("no-such-token")),
        caller(
            "a stranger's certificate and admin's token",
            forged,
            bearer(&Cluster::token("admin")),
        ),
        caller("nobody", None, String::new()),
        caller(
            "Basic",
            None,
            "Authorization: Basic YWRtaW46YWRtaW4=\r\n".to_owned(),
        ),
    ];

    let mut suite = Suite::default();
    for caller in &callers {
        suite.check(
            &format!("{}: as a kubelet, on every path", caller.name),
            || {
                for (method, path) in PATHS {
                    let kubelets = caller.ask(&plain, method, path)?;
                    let ours = caller.ask(&behind, method, path)?;
                    let what = format!("{method} {path}");
                    ensure!(
                        ours.status == kubelets.status,
                        "{what}: kubelet {kubelets:?}, ours {ours:?}"
                    );
                    if matches!(ours.status, 401 | 403) {
                        let (ours, kubelets) = (ours.body.trim_end(), kubelets.body.trim_end());
                        ensure!(
                            ours.ends_with(kubelets) || kubelets.contains(ours),
                            "{what}: kubelet {kubelets:?}, ours {ours:?}"
                        );
                    }
                }
                Ok(())
            },
        );
    }

    let [_, _, admin, reader, _, nothing, ..] = &callers;
    let websocket = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n"
        )
    };
    let exec = "/exec/default/box-behind/c?command=id&output=1";
    suite.check("get nodes/proxy alone runs no commands", || {
        let request = format!("{}{}\r\n", websocket(exec), reader.headers);
        let answer = reader.send(&behind, &request)?;
        ensure!(
            answer.status == 403 && answer.body.contains("create"),
            "{answer:?}"
        );
        Ok(())
    });
    suite.check(
        "a path that no kubelet has is told to nobody but who may ask",
        || {
            // A kubelet says 404 to anyone; the proxy asks who it is first, of every path.
            ensure!(admin.ask(&behind, "GET", "/nosuch")?.status == 404);
            ensure!(nothing.ask(&behind, "GET", "/nosuch")?.status == 403);
            ensure!(callers[8].ask(&behind, "GET", "/nosuch")?.status == 401);
            Ok(())
        },
    );
    suite.check("forged identities gain nothing", || {
        let forged = "X-Remote-User: admin\r\nX-Remote-Group: system:masters\r\n\
                      Impersonate-User: admin\r\nImpersonate-Group: system:masters\r\n";
        for caller in [nothing, &callers[8]] {
            let headers = format!("{}{forged}", caller.headers);
            let claims = Caller {
                name: "",
                certificate: None,
                headers,
            };
            for path in ["/pods", "/metrics", "/configz"] {
                let plainly = caller.ask(&behind, "GET", path)?.status;
                let claiming = claims.ask(&behind, "GET", path)?.status;
                ensure!(
                    plainly == claiming && plainly >= 401,
                    "{path}: {plainly} {claiming}"
                );
            }
        }
        Ok(())
    });
    suite.check("paths with two readings are refused", || {
        for path in [
            "//pods",
            "/metrics/../pods",
            "/metrics/%2e%2e/pods",
            "/%70ods",
            "/pods/./",
            "/pods;x",
        ] {
            let answer = admin.ask(&behind, "GET", path)?;
            ensure!(answer.status == 400, "{path}: {answer:?}");
        }
        Ok(())
    });
    suite.check("a request smuggled behind another is authorized by itself", || {
        let second = format!("GET /pods HTTP/1.1\r\nHost: node\r\n{}\r\n", bearer(&Cluster::token("nobody")));
        // Two framings in one request: refused, or the second is nobody's request.
        let both = format!(
            "POST /nosuch HTTP/1.1\r\nHost: node\r\n{}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{second}",
            admin.headers, second.len() + 5
        );
        let answer = admin.send(&behind, &both)?;
        ensure!(!answer.body.contains("PodList"), "{answer:?}");
        // A body where the upgrade would begin.
        let body = format!(
            "{}{}Content-Length: {}\r\n\r\n{second}", websocket(exec), admin.headers, second.len()
        );
        let answer = admin.send(&behind, &body)?;
        ensure!(answer.status == 400 && !answer.body.contains("PodList"), "{answer:?}");
        Ok(())
    });
    suite.check("a request smuggled after an upgrade is no request", || {
        let mut connection = https::connect(&behind, None)?;
        let request = format!(
            "POST {exec} HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
             X-Stream-Protocol-Version: v4.channel.k8s.io\r\n{}\r\n\
             GET /pods HTTP/1.1\r\nHost: node\r\n\r\n",
            admin.headers
        );
        connection.write_all(request.as_bytes())?;
        let answer = String::from_utf8_lossy(&https::read_all(&mut connection)).into_owned();
        ensure!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        ensure!(answer.matches("HTTP/1.1").count() == 1, "{answer}");
        ensure!(!answer.contains("PodList"), "{answer}");
        Ok(())
    });
    suite.verdict();
}
