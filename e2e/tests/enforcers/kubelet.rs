//! A real kubelet that is asked directly, past the API server.

use anyhow::{Result, ensure};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::wait;
use streamway_e2e::wsclient::WsClient;

use super::{SOON, World};

/// All three may get nodes/proxy; `dev` may create as well.
const RIGHTS: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: get-nodes-proxy}
rules: [{apiGroups: [''], resources: [nodes/proxy], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: create-nodes-proxy}
rules: [{apiGroups: [''], resources: [nodes/proxy], verbs: [create]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: get-nodes-proxy}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: get-nodes-proxy}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: reader}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: nobody}
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: dev}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: create-nodes-proxy}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: create-nodes-proxy}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: dev}]
";

impl World<'_> {
    /// `get nodes/proxy` runs commands in every pod of a node.
    pub(crate) fn kubelet_alone(&self) -> Result<()> {
        self.kubectl.apply(RIGHTS)?;
        wait::until("reader runs commands", SOON, || {
            ensure!(self.runs("reader")? == 101, "not yet");
            Ok(Some(()))
        })
    }

    /// It runs none once the webhook is asked. A kubelet remembers a yes for five minutes, so it is
    /// another user who is asked about.
    pub(crate) fn kubelet(&self) -> Result<()> {
        let status = self.runs("nobody")?;
        ensure!(status == 403, "{status}");
        let status = self.runs("dev")?;
        ensure!(status == 101, "{status}");
        // By the API server too: an authorizer is not told what of the kubelet is wanted.
        let nobody = self.cluster.kubectl_as("nobody")?;
        let pods = nobody.run(&["get", "--raw", "/api/v1/nodes/one/proxy/pods"], b"")?;
        let rule = "resources: [nodes/proxy], verbs: [create]";
        ensure!(pods.code != 0 && pods.stderr.contains(rule), "{pods:?}");
        let dev = self.cluster.kubectl_as("dev")?;
        let path = "/api/v1/nodes/one/proxy/pods";
        dev.ok(&["get", "--raw", path]).map(drop)
    }

    /// What a kubelet answers to a command of a user's by WebSocket.
    fn runs(&self, user: &str) -> Result<u16> {
        let node = self.cluster.node("one")?;
        let address = format!("{}:10250", self.cluster.address(node));
        let header = format!("Authorization: Bearer {}\r\n", Cluster::token(user));
        let path = "/exec/default/box-one/c?command=true&output=1";
        let asked = WsClient::request(&address, path, "v4.channel.k8s.io", &header, b"")?;
        Ok(asked.err().map_or(101, |answer| answer.status))
    }
}
