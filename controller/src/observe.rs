//! What is watched, and kept: of each object only what is looked at.

mod cache;

use std::sync::Arc;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, ObjectMeta};
use kube::runtime::watcher::Config;
use kube::{Client, Resource};
use streamway_crds::{NodeStreaming, RolloutAction, StreamingRollout, names};
use tokio::sync::Notify;

use crate::args::RunArgs;
pub(crate) use cache::Cache;

/// Told when something changed that somebody waits for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    /// What a plan is made from.
    pub(crate) plan: Arc<Notify>,
    /// What identities are given by.
    pub(crate) identities: Arc<Notify>,
    /// The controller's own rights.
    pub(crate) rights: Arc<Notify>,
}

/// Everything that is watched.
#[derive(Clone)]
pub(crate) struct Caches {
    pub(crate) nodes: Cache<Node>,
    pub(crate) streamings: Cache<NodeStreaming>,
    pub(crate) rollouts: Cache<StreamingRollout>,
    pub(crate) actions: Cache<RolloutAction>,
    /// The agents' pods.
    pub(crate) pods: Cache<Pod>,
    /// Requests to the signer of agents' certificates.
    pub(crate) requests: Cache<CertificateSigningRequest>,
    /// The agents' roles.
    pub(crate) roles: Cache<ClusterRole>,
    pub(crate) bindings: Cache<ClusterRoleBinding>,
    /// The controller's own rights, if it has a name for them.
    pub(crate) own: Option<Own>,
}

/// The three objects that the controller's own rights are.
#[derive(Clone)]
pub(crate) struct Own {
    pub(crate) account: Cache<ServiceAccount>,
    pub(crate) role: Cache<ClusterRole>,
    pub(crate) binding: Cache<ClusterRoleBinding>,
}

impl Caches {
    /// Watches from now on.
    pub(crate) fn watch(client: &Client, args: &RunArgs, changes: &Changes) -> Self {
        let plan = || vec![Arc::clone(&changes.plan)];
        let identities = || vec![Arc::clone(&changes.identities)];
        let both = || [plan(), identities()].concat();
        // What does not change is not asked for again: pages keep first lists of large clusters small.
        let all = || Config::default().page_size(500);
        let signer = format!("spec.signerName={}", names::AGENT_SIGNER);
        let agents = || all().labels(names::NODE_LABEL);
        Self {
            nodes: Cache::watch(Api::all(client.clone()), all(), trim_node, plan()),
            streamings: Cache::watch(Api::all(client.clone()), all(), |_| {}, plan()),
            rollouts: Cache::watch(Api::all(client.clone()), all(), |_| {}, plan()),
            actions: Cache::watch(Api::all(client.clone()), all(), |_| {}, plan()),
            pods: Cache::watch(
                Api::namespaced(client.clone(), &args.agent_namespace),
                all(),
                trim_pod,
                both(),
            ),
            requests: Cache::watch(
                Api::all(client.clone()),
                all().fields(&signer),
                |_| {},
                identities(),
            ),
            roles: Cache::watch(Api::all(client.clone()), agents(), |_| {}, identities()),
            bindings: Cache::watch(Api::all(client.clone()), agents(), |_| {}, identities()),
            own: Own::watch(client, args, changes),
        }
    }

    /// Waits until everything that a plan is made from is here.
    pub(crate) async fn ready(&self) {
        self.nodes.ready().await;
        self.streamings.ready().await;
        self.rollouts.ready().await;
        self.actions.ready().await;
        self.pods.ready().await;
        if let Some(own) = &self.own {
            own.account.ready().await;
            own.role.ready().await;
            own.binding.ready().await;
        }
    }
}

impl Own {
    fn watch(client: &Client, args: &RunArgs, changes: &Changes) -> Option<Self> {
        let name = &args.own_rights;
        if name.is_empty() {
            return None;
        }
        let one = || Config::default().fields(&format!("metadata.name={name}"));
        let rights = || vec![Arc::clone(&changes.rights)];
        let namespace = &args.installation.namespace;
        let accounts = Api::namespaced(client.clone(), namespace);
        Some(Self {
            account: Cache::watch(accounts, one(), |_| {}, rights()),
            role: Cache::watch(Api::all(client.clone()), one(), |_| {}, rights()),
            binding: Cache::watch(Api::all(client.clone()), one(), |_| {}, rights()),
        })
    }

    /// Whether somebody is deleting one of them.
    pub(crate) fn is_going(&self) -> bool {
        self.all().any(|meta| meta.deletion_timestamp.is_some())
    }

    /// Whether each that is there carries our finalizer, or none does.
    pub(crate) fn are_held(&self, held: bool) -> bool {
        let is_held = |meta: &ObjectMeta| {
            let mut finalizers = meta.finalizers.iter().flatten();
            finalizers.any(|name| name == names::WITHDRAW_FINALIZER)
        };
        self.all().all(|meta| is_held(&meta) == held)
    }

    fn all(&self) -> impl Iterator<Item = ObjectMeta> {
        fn metas<K: Resource>(objects: Vec<Arc<K>>) -> Vec<ObjectMeta> {
            objects.iter().map(|object| object.meta().clone()).collect()
        }
        let account = metas(self.account.all());
        let (role, binding) = (metas(self.role.all()), metas(self.binding.all()));
        [account, role, binding].into_iter().flatten()
    }
}

/// Images and annotations are most of a Node.
fn trim_node(node: &mut Node) {
    node.metadata.annotations = None;
    if let Some(status) = &mut node.status {
        status.images = None;
        status.volumes_attached = None;
        status.volumes_in_use = None;
        status.capacity = None;
        status.allocatable = None;
        status.runtime_handlers = None;
    }
}

/// Where a node is reached from the cluster.
pub(crate) fn address(node: &Node) -> Option<&str> {
    let addresses = node.status.as_ref()?.addresses.as_deref()?;
    let of = |kind: &str| addresses.iter().find(|address| address.type_ == kind);
    let found = of("InternalIP").or_else(|| of("ExternalIP"))?;
    Some(&found.address)
}

/// Which node a pod is on, as whom it runs, and whether it is ready: nothing of what runs in it.
fn trim_pod(pod: &mut Pod) {
    pod.metadata.annotations = None;
    if let Some(spec) = &mut pod.spec {
        let node_name = spec.node_name.take();
        let service_account_name = spec.service_account_name.take();
        *spec = k8s_openapi::api::core::v1::PodSpec {
            node_name,
            service_account_name,
            ..Default::default()
        };
    }
}
