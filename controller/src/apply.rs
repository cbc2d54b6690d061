//! Carries a plan's writes out.

mod node;
mod queue;

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Resource};
use serde_json::{Value, json};
use streamway_crds::{
    Feature, NodeStreaming, NodeStreamingSpec, NodeStreamingStatus, RolloutAction,
    StreamingRollout, Traffic, names,
};
use tokio::time::timeout;

use crate::events::Events;
use crate::hold::Hold;
use crate::metrics::Metrics;
use crate::observe::Caches;
use crate::plan::{Chain, Event, NodePatch, Write};
pub(crate) use queue::{Outcome, Queue};

/// No single write takes longer. The next plan tries again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a write did not come to its end.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// The API server refused it, or was not reached.
    #[error("{0}")]
    Refused(#[from] kube::Error),
    /// No answer; it may have been done.
    #[error("no answer within {PATIENCE:?}")]
    TooLate,
    /// It was taken, and something put the old value back before it was stored.
    #[error("it was taken, but the Node does not say so: some webhook or policy puts it back")]
    PutBack,
}

impl WriteError {
    /// Whether somebody else was there first, so that a new plan is needed and nothing is wrong.
    fn is_overtaken(&self, creates: bool) -> bool {
        match self {
            // Changed, or made by another.
            Self::Refused(kube::Error::Api(status)) if status.code == 409 => true,
            // Gone; where it was to be made, its kind is.
            Self::Refused(kube::Error::Api(status)) if status.code == 404 => !creates,
            _ => false,
        }
    }
}

/// Writes; clones are the same.
#[derive(Clone)]
pub(crate) struct Writer {
    client: Client,
    caches: Caches,
    metrics: Metrics,
    events: Events,
    hold: Arc<Hold>,
}

impl Writer {
    pub(crate) fn new(
        client: &Client,
        caches: &Caches,
        metrics: &Metrics,
        events: Events,
        hold: Arc<Hold>,
    ) -> Self {
        Self {
            client: client.clone(),
            caches: caches.clone(),
            metrics: metrics.clone(),
            events,
            hold,
        }
    }

    /// Makes the writes in order, to the first that fails.
    pub(crate) async fn carry_out(&self, chain: Chain) -> Outcome {
        let begun = Instant::now();
        let about = format!("{:?}", chain.about);
        let mut outcome = Outcome::Settled;
        for write in chain.writes {
            let what = resource(&write);
            let creates = matches!(write, Write::Create { .. });
            let written = timeout(PATIENCE, self.write(write)).await;
            match written.unwrap_or(Err(WriteError::TooLate)) {
                Ok(()) => tracing::debug!(about, what, "written"),
                Err(error) if error.is_overtaken(creates) => {
                    tracing::debug!(about, what, %error, "overtaken; planning again");
                    outcome = Outcome::Overtaken;
                    break;
                }
                Err(error) => {
                    tracing::warn!(about, what, %error, "cannot be written; trying again");
                    outcome = Outcome::Failed;
                    break;
                }
            }
        }
        self.metrics.apply.observe(begun.elapsed().as_secs_f64());
        outcome
    }

    async fn write(&self, write: Write) -> Result<(), WriteError> {
        match write {
            Write::Create { node, uid } => self.create(&node, uid).await,
            Write::Delete { node, uid } => self.delete(&node, uid).await,
            Write::Spec {
                node,
                resource_version,
                spec,
            } => self.spec(&node, resource_version, &spec).await,
            Write::Node { node, patch } => self.node(&node, patch).await,
            Write::Status {
                node,
                status,
                events,
            } => self.status(&node, *status, events).await,
            Write::Rollout {
                rollout,
                resource_version,
                status,
                events,
            } => {
                let status = json!(status);
                let applied = applied::<StreamingRollout>(
                    json!({"name": rollout, "resourceVersion": resource_version}),
                    ("status", status),
                );
                let api: Api<StreamingRollout> = Api::all(self.client.clone());
                let written = api
                    .patch_status(&rollout, &apply(), &Patch::Apply(applied))
                    .await;
                self.metrics.wrote("streamingrollouts/status", &written);
                let written = written?;
                self.publish(&written, events);
                self.caches.rollouts.wrote(written);
                Ok(())
            }
            Write::Answer { action, status } => {
                let applied =
                    applied::<RolloutAction>(json!({"name": action}), ("status", json!(status)));
                let api: Api<RolloutAction> = Api::all(self.client.clone());
                let written = api
                    .patch_status(&action, &apply(), &Patch::Apply(applied))
                    .await;
                self.metrics.wrote("rolloutactions/status", &written);
                self.caches.actions.wrote(written?);
                Ok(())
            }
        }
    }

    async fn create(&self, node: &str, uid: String) -> Result<(), WriteError> {
        let streaming = NodeStreaming {
            metadata: ObjectMeta {
                name: Some(node.to_owned()),
                owner_references: Some(vec![OwnerReference {
                    api_version: Node::api_version(&()).into_owned(),
                    kind: Node::kind(&()).into_owned(),
                    name: node.to_owned(),
                    uid,
                    ..OwnerReference::default()
                }]),
                ..ObjectMeta::default()
            },
            ..NodeStreaming::default()
        };
        let params = PostParams {
            field_manager: Some(names::CONTROLLER_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let written = self.streamings().create(&params, &streaming).await;
        self.metrics.wrote("nodestreamings", &written);
        self.caches.streamings.wrote(written?);
        Ok(())
    }

    async fn delete(&self, node: &str, uid: String) -> Result<(), WriteError> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        let deleted = self.streamings().delete(node, &params).await;
        self.metrics.wrote("nodestreamings", &deleted);
        deleted?;
        Ok(())
    }

    async fn spec(
        &self,
        node: &str,
        resource_version: Option<String>,
        spec: &NodeStreamingSpec,
    ) -> Result<(), WriteError> {
        if spec.traffic == Traffic::Agent || spec.feature != Feature::Kubelet {
            // From here on a node depends on us.
            self.hold.set(true).await?;
        }
        let seen = self.caches.streamings.get(node);
        let metadata = json!({
            "name": node,
            "resourceVersion": resource_version,
            // An apply without it would make one anew that was deleted meanwhile.
            "uid": seen.and_then(|seen| seen.metadata.uid.clone()),
            "labels": spec.rollout.as_ref().map(|rollout| json!({names::ROLLOUT_LABEL: rollout})),
        });
        let applied = applied::<NodeStreaming>(metadata, ("spec", json!(spec)));
        let written = self
            .streamings()
            .patch(node, &apply(), &Patch::Apply(applied))
            .await;
        self.metrics.wrote("nodestreamings", &written);
        self.caches.streamings.wrote(written?);
        Ok(())
    }

    async fn status(
        &self,
        node: &str,
        mut status: NodeStreamingStatus,
        events: Vec<Event>,
    ) -> Result<(), WriteError> {
        // The agent's own.
        status.agent = None;
        let applied = applied::<NodeStreaming>(json!({"name": node}), ("status", json!(status)));
        let written = self
            .streamings()
            .patch_status(node, &apply(), &Patch::Apply(applied))
            .await;
        self.metrics.wrote("nodestreamings/status", &written);
        let written = written?;
        self.publish(&written, events);
        self.caches.streamings.wrote(written);
        Ok(())
    }

    /// Patches a Node's status. What is stored is read back from the answer.
    async fn node(&self, name: &str, wanted: NodePatch) -> Result<(), WriteError> {
        let Some(node) = self.caches.nodes.get(name) else {
            return Ok(());
        };
        let Some(patch) = node::patch(&node, wanted) else {
            return Ok(());
        };
        let api: Api<Node> = Api::all(self.client.clone());
        let params = PatchParams {
            field_manager: Some(names::CONTROLLER_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let written = api.patch_status(name, &params, &Patch::Merge(patch)).await;
        self.metrics.wrote("nodes/status", &written);
        match written {
            Ok(written) => {
                let holds = node::patch(&written, wanted).is_none();
                self.caches.nodes.wrote(written);
                holds.then_some(()).ok_or(WriteError::PutBack)
            }
            Err(error) => {
                // The watch may be behind: what is there now is what the next plan is to see.
                if matches!(&error, kube::Error::Api(status) if status.code == 409)
                    && let Some(now) = api.get_opt(name).await?
                {
                    self.caches.nodes.wrote(now);
                }
                Err(error.into())
            }
        }
    }

    fn publish<K: Resource<DynamicType = ()>>(&self, object: &K, events: Vec<Event>) {
        for event in events {
            let about: ObjectReference = object.object_ref(&());
            self.events.publish(about, event);
        }
    }

    fn streamings(&self) -> Api<NodeStreaming> {
        Api::all(self.client.clone())
    }
}

/// Server-side apply as the controller: what it says is so, whoever said otherwise.
fn apply() -> PatchParams {
    PatchParams::apply(names::CONTROLLER_MANAGER).force()
}

/// An object that has nothing but `metadata` and one more field.
fn applied<K: Resource<DynamicType = ()>>(
    mut metadata: Value,
    (field, value): (&str, Value),
) -> Value {
    // What is not given is left out: a null would be a value.
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.retain(|_, value| !value.is_null());
    }
    json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": metadata,
        field: value,
    })
}

/// What a write writes.
fn resource(write: &Write) -> &'static str {
    match write {
        Write::Create { .. } | Write::Delete { .. } | Write::Spec { .. } => "nodestreamings",
        Write::Node { .. } => "nodes/status",
        Write::Status { .. } => "nodestreamings/status",
        Write::Rollout { .. } => "streamingrollouts/status",
        Write::Answer { .. } => "rolloutactions/status",
    }
}
