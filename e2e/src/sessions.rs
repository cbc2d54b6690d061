//! Sessions in a pod by users with different rights: who opens them by WebSocket, and who is refused.

use anyhow::{Result, ensure};

use crate::OLD_API_SERVER;
use crate::cluster::Cluster;
use crate::https::Answer;
use crate::install::Kubectl as Which;
use crate::kubectl::Kubectl;
use crate::wsclient::WsClient;

/// `reader` may only get, `nobody` only create, `dev` both.
pub const RIGHTS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: get, namespace: default}
rules: [{apiGroups: [''], resources: [pods, pods/exec, pods/attach, pods/portforward], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: create, namespace: default}
rules:
- {apiGroups: [''], resources: [pods/exec, pods/attach, pods/portforward], verbs: [create]}
- {apiGroups: [''], resources: [pods], verbs: [get, list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: get, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: get}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: reader}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: dev}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: create, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: create}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: dev}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: nobody}
";

/// Subresource, query, and subprotocols: of API servers that speak WebSockets, and of older ones, which
/// pass what their kubelets speak.
const SESSIONS: [(&str, &str, [&str; 2]); 3] = [
    (
        "exec",
        "?command=true&stdout=true",
        ["v5.channel.k8s.io", "v4.channel.k8s.io"],
    ),
    (
        "attach",
        "?stdout=true",
        ["v5.channel.k8s.io", "v4.channel.k8s.io"],
    ),
    (
        "portforward",
        "?ports=80",
        ["SPDY/3.1+portforward.k8s.io", "v4.channel.k8s.io"],
    ),
];

/// What came of a user's three requests for a session: the refusal of each that was not opened.
pub fn ask(
    cluster: &Cluster,
    user: &str,
    pod: &str,
) -> Result<Vec<(&'static str, Option<Answer>)>> {
    let address = cluster.url().replace("https://", "");
    let header = format!("Authorization: Bearer {}\r\n", Cluster::token(user));
    let old = cluster.version() == OLD_API_SERVER;
    let asked = SESSIONS.map(|(subresource, query, [new, former])| {
        let path = format!("/api/v1/namespaces/default/pods/{pod}/{subresource}{query}");
        let subprotocol = if old { former } else { new };
        let opened = WsClient::request(&address, &path, subprotocol, &header, b"")?;
        Ok((subresource, opened.err()))
    });
    asked.into_iter().collect()
}

/// A user opens all three kinds of sessions by WebSocket.
pub fn opens(cluster: &Cluster, user: &str, pod: &str) -> Result<()> {
    for (subresource, refusal) in ask(cluster, user, pod)? {
        ensure!(refusal.is_none(), "{user}, {subresource}: {refusal:?}");
    }
    Ok(())
}

/// A user is refused all three with 403 before the upgrade, and told the rule to add.
pub fn refused(cluster: &Cluster, user: &str, pod: &str) -> Result<()> {
    for (subresource, refusal) in ask(cluster, user, pod)? {
        let Some(Answer { status, body }) = refusal else {
            anyhow::bail!("{user} opens {subresource}");
        };
        let rule = format!("resources: [pods/{subresource}], verbs: [create]");
        ensure!(status == 403 && body.contains(&rule), "{status} {body}");
    }
    Ok(())
}

/// Who may only create runs a command by SPDY.
pub fn creates_by_spdy(cluster: &Cluster, user: &str, pod: &str) -> Result<()> {
    let kubectl = Kubectl::new(Which::SpdyOnly, cluster.kubeconfig(), user)?;
    let told = kubectl.ok(&["exec", pod, "--", "echo", "hi"])?;
    ensure!(told == "hi\n", "{told}");
    Ok(())
}
