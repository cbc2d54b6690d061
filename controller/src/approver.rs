//! Agents' identities: a certificate for each, approved for its own node only, and rights that are
//! good for its own node only.

mod check;
mod roles;

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use streamway_crds::{NodeStreaming, names};
use tokio::sync::Notify;

use crate::metrics::{Decision, Metrics};
use crate::observe::Cache;
pub(crate) use check::Agents;
use check::Verdict;

/// What cannot be decided yet is looked at again after this time.
const AGAIN: Duration = Duration::from_secs(1);

/// How many nodes' rights are written at once.
const AT_ONCE: usize = 8;

/// Gives agents their identities.
pub(crate) struct Approver {
    pub(crate) client: Client,
    pub(crate) agents: Agents,
    pub(crate) metrics: Metrics,
    pub(crate) requests: Cache<CertificateSigningRequest>,
    pub(crate) roles: Cache<ClusterRole>,
    pub(crate) bindings: Cache<ClusterRoleBinding>,
    pub(crate) pods: Cache<Pod>,
    pub(crate) streamings: Cache<NodeStreaming>,
    /// Told when one of the caches changed.
    pub(crate) changed: Arc<Notify>,
}

impl Approver {
    /// Works for ever; to be run by the leader only.
    pub(crate) async fn run(&self) {
        self.requests.ready().await;
        self.roles.ready().await;
        self.bindings.ready().await;
        self.pods.ready().await;
        self.streamings.ready().await;
        loop {
            if self.pass().await {
                self.changed.notified().await;
            } else {
                let _ = tokio::time::timeout(AGAIN, self.changed.notified()).await;
            }
        }
    }

    /// Looks at everything once. Whether everything is decided and as it should be.
    async fn pass(&self) -> bool {
        let mut settled = self.give_rights().await;
        let pods: HashMap<String, Arc<Pod>> = self
            .pods
            .all()
            .into_iter()
            .map(|pod| (pod.name_any(), pod))
            .collect();
        for request in self.requests.all() {
            let name = request.name_any();
            let verdict = self.agents.check(&request, |pod| pods.get(pod).cloned());
            let decided = match verdict {
                Verdict::NotOurs => continue,
                Verdict::NotYet => {
                    settled = false;
                    continue;
                }
                // Rights first: the agent may use the certificate at once.
                Verdict::Approve { node } if !self.has_rights(&node) => {
                    settled = false;
                    tracing::debug!(request = name, node, "waits for the node's roles");
                    continue;
                }
                Verdict::Approve { node } => {
                    let why = format!("the agent on node {node} asks for its own certificate");
                    self.decide(&request, "Approved", why).await
                }
                Verdict::Deny(refusal) => {
                    self.decide(&request, "Denied", refusal.to_string()).await
                }
            };
            if let Err(error) = decided {
                settled = false;
                tracing::warn!(request = name, %error, "cannot answer a certificate request");
            }
        }
        settled
    }

    async fn decide(
        &self,
        request: &CertificateSigningRequest,
        decision: &'static str,
        message: String,
    ) -> Result<(), kube::Error> {
        let name = request.name_any();
        let condition = CertificateSigningRequestCondition {
            type_: decision.to_owned(),
            status: "True".to_owned(),
            reason: Some("StreamwayAgent".to_owned()),
            message: Some(message.clone()),
            ..CertificateSigningRequestCondition::default()
        };
        // None is there: a request that has one is not looked at.
        let patch = json!({
            "metadata": {"resourceVersion": request.metadata.resource_version},
            "status": {"conditions": [condition]},
        });
        let api: Api<CertificateSigningRequest> = Api::all(self.client.clone());
        let params = PatchParams {
            field_manager: Some(names::CONTROLLER_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patched = api
            .patch_approval(&name, &params, &Patch::Merge(&patch))
            .await;
        self.metrics
            .wrote("certificatesigningrequests/approval", &patched);
        self.requests.wrote(patched?);
        let decision = if decision == "Approved" {
            tracing::info!(request = name, message, "approved");
            "approved"
        } else {
            tracing::warn!(request = name, message, "denied");
            "denied"
        };
        self.metrics
            .certificates
            .get_or_create(&Decision { decision })
            .inc();
        Ok(())
    }

    /// Whether the agent on a node has its rights already.
    fn has_rights(&self, node: &str) -> bool {
        let name = names::agent_user(node);
        self.roles.get(&name).is_some() && self.bindings.get(&name).is_some()
    }

    /// Each node that has an agent's pod has the role and the binding, as they should be. Whether all
    /// is so.
    async fn give_rights(&self) -> bool {
        let pods = self.pods.all();
        let nodes = pods.iter().filter_map(|pod| {
            let spec = pod.spec.as_ref()?;
            spec.node_name.as_deref()
        });
        // Of an update's two pods both are on one node.
        let nodes: BTreeSet<&str> = nodes.collect();
        let given = nodes.into_iter().map(|node| self.give_rights_on(node));
        let mut given = futures_util::stream::iter(given).buffer_unordered(AT_ONCE);
        let mut settled = true;
        while let Some(given) = given.next().await {
            settled &= given;
        }
        settled
    }

    async fn give_rights_on(&self, node: &str) -> bool {
        let streaming = self.streamings.get(node);
        let Some(streaming) = streaming.filter(|one| one.metadata.uid.is_some()) else {
            // It is made as soon as the Node is seen.
            return false;
        };
        let given = async {
            if let Some(role) = roles::role(&streaming) {
                let same = |is: &ClusterRole| is.rules == role.rules;
                self.give(&self.roles, &role, same).await?;
            }
            if let Some(binding) = roles::binding(&streaming) {
                let same = |is: &ClusterRoleBinding| {
                    is.role_ref == binding.role_ref && is.subjects == binding.subjects
                };
                self.give(&self.bindings, &binding, same).await?;
            }
            Ok::<_, kube::Error>(())
        };
        if let Err(error) = given.await {
            tracing::warn!(node, %error, "the agent's rights cannot be written");
            return false;
        }
        true
    }

    async fn give<K>(
        &self,
        cache: &Cache<K>,
        should: &K,
        same: impl FnOnce(&K) -> bool,
    ) -> Result<(), kube::Error>
    where
        K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
        K: Send + Sync + 'static,
    {
        let name = should.name_any();
        if let Some(is) = cache.get(&name)
            && same(&is)
            && roles::same_metadata(is.meta(), should.meta())
        {
            return Ok(());
        }
        let api: Api<K> = Api::all(self.client.clone());
        let params = PatchParams::apply(names::CONTROLLER_MANAGER).force();
        let mut written = api.patch(&name, &params, &Patch::Apply(should)).await;
        if matches!(&written, Err(kube::Error::Api(status)) if status.code == 422) {
            // A binding's role cannot be changed: somebody else's is made anew.
            api.delete(&name, &DeleteParams::default()).await?;
            written = api.patch(&name, &params, &Patch::Apply(should)).await;
        }
        self.metrics.wrote("clusterroles", &written);
        cache.wrote(written?);
        Ok(())
    }
}
