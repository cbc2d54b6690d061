//! Every name that two of our programs, or a program and `config/`, must agree on.

/// Our API group, and the prefix of our labels, annotations and finalizers.
pub const GROUP: &str = "streamway.dev";
/// The version that is stored and served.
pub const VERSION: &str = "v1alpha1";

/// What a node declares in `status.declaredFeatures` to be sent WebSockets (KEP-4006, KEP-5328).
pub const FEATURE: &str = "ExtendWebSocketsToKubelet";

/// Server-side apply's field manager of what the controller writes.
pub const CONTROLLER_MANAGER: &str = "streamway-controller";
/// Server-side apply's field manager of `NodeStreaming.status.agent`.
pub const AGENT_MANAGER: &str = "streamway-agent";
/// Field manager of what the webhook writes: its Secret and its `caBundle`.
pub const WEBHOOK_MANAGER: &str = "streamway-webhook";

/// Namespace of the controller and the webhook; Pod Security `restricted`.
pub const SYSTEM_NAMESPACE: &str = "streamway-system";
/// Namespace of the agents, which use the host's network; Pod Security `privileged`.
pub const NODES_NAMESPACE: &str = "streamway-nodes";

/// The controller's Deployment, ServiceAccount, ClusterRole, ClusterRoleBinding, Service and Lease.
pub const CONTROLLER: &str = "streamway-controller";
/// The webhook's Deployment, ServiceAccount, ClusterRole, ClusterRoleBinding and Service.
pub const WEBHOOK: &str = "streamway-webhook";
/// The agents' DaemonSet, ServiceAccount, ClusterRole and ClusterRoleBinding.
pub const AGENT: &str = "streamway-agent";

/// The Lease in [`SYSTEM_NAMESPACE`] whose holder is the one controller that acts.
pub const CONTROLLER_LEASE: &str = CONTROLLER;
/// The webhook's MutatingWebhookConfiguration.
pub const WEBHOOK_CONFIGURATION: &str = WEBHOOK;
/// The webhook in it that keeps Nodes' status as wished.
pub const NODE_STATUS_WEBHOOK: &str = "node-status.streamway.dev";
/// Where that webhook is served.
pub const NODE_STATUS_PATH: &str = "/mutate/node-status";
/// The webhook's ValidatingWebhookConfiguration, of `components/access-webhook`.
pub const ACCESS_CONFIGURATION: &str = "streamway-access";
/// Where its webhooks are served, with `/audit`, `/warn` and `/deny` behind it.
pub const CONNECT_PATH: &str = "/admit/connect";
/// Where API servers' authorization webhook is served.
pub const AUTHORIZE_PATH: &str = "/authorize";
/// On a namespace: what becomes of a session without `create`. `Audit`, `Warn`, `Deny`, `Off`.
pub const CREATE_CHECK_LABEL: &str = "streamway.dev/create-check";
/// The Secret in [`SYSTEM_NAMESPACE`] that holds the webhook's CA and serving certificate, with keys.
pub const WEBHOOK_SECRET: &str = "streamway-webhook-certificates";

/// The agent pod's container that runs `streamproxy node`.
pub const AGENT_CONTAINER: &str = "agent";
/// The agent pod's container that the prober's exec, attach and port-forward go to.
pub const PROBE_CONTAINER: &str = "probe";
/// Where an agent stands in for the kubelet on its node.
pub const AGENT_PORT: u16 = 10350;
/// Where an agent serves `/metrics`, `/livez` and `/readyz`, plain HTTP.
pub const AGENT_ADMIN_PORT: u16 = 10351;
/// Where the probe container echoes what a port-forward sends, on the node's 127.0.0.1.
pub const PROBE_PORT: u16 = 10352;
/// Where a kubelet listens unless its configuration says otherwise.
pub const KUBELET_PORT: u16 = 10250;
/// Where the webhook listens in its pods.
pub const WEBHOOK_PORT: u16 = 9443;
/// Where controller and webhook serve `/metrics`, `/livez` and `/readyz`, plain HTTP.
pub const ADMIN_PORT: u16 = 8080;

/// The group of all agents' certificates: O in their subject.
pub const AGENT_GROUP: &str = "streamway:nodes";
/// What the user, the ClusterRole and the ClusterRoleBinding of a node's agent start with.
pub const AGENT_USER_PREFIX: &str = "streamway:node:";
/// Who signs agents' certificates.
pub const AGENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
/// In a request's user `extra`: the node that the asking pod is bound to (API servers 1.30 and later).
pub const EXTRA_NODE_NAME: &str = "authentication.kubernetes.io/node-name";
/// In a request's user `extra`: the asking pod's name.
pub const EXTRA_POD_NAME: &str = "authentication.kubernetes.io/pod-name";
/// In a request's user `extra`: the asking pod's UID.
pub const EXTRA_POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// Kept on the controller's own rights while a node is declared that must first be withdrawn.
pub const WITHDRAW_FINALIZER: &str = "streamway.dev/withdraw";

/// Which part of Streamway an object belongs to: `controller`, `webhook`, `agent`.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// Which product an object belongs to; its value is [`PART_OF`].
pub const PART_OF_LABEL: &str = "app.kubernetes.io/part-of";
/// Value of [`PART_OF_LABEL`].
pub const PART_OF: &str = "streamway";
/// On objects that the controller made for one node, the node's name.
pub const NODE_LABEL: &str = "streamway.dev/node";
/// On NodeStreamings, the rollout that they follow.
pub const ROLLOUT_LABEL: &str = "streamway.dev/rollout";

/// The user that a node's agent is to the API server and to its kubelet, and the name of the
/// ClusterRole and ClusterRoleBinding that give it its rights.
///
/// ```
/// assert_eq!(streamway_crds::names::agent_user("worker-1"), "streamway:node:worker-1");
/// ```
#[must_use]
pub fn agent_user(node: &str) -> String {
    format!("{AGENT_USER_PREFIX}{node}")
}
