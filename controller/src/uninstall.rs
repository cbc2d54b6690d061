//! Uninstalling: the controller keeps its own rights until everything is taken back.
//!
//! A Node with an old kubelet keeps what was declared for it, for ever. So while there is such a Node,
//! the controller's ServiceAccount, ClusterRole and ClusterRoleBinding carry a finalizer of ours:
//! `kubectl delete` marks them, and the rights live on until the finalizer goes. Seeing the mark, the
//! controller takes everything back, and lets go.

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, ObjectMeta, Patch, PatchParams};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use std::fmt::Debug;
use std::time::Duration;
use streamway_crds::names;
use tokio::time::{Instant, sleep};

use crate::withdraw::Account;

/// How long an API server may take to see new rights.
const LET_GO: Duration = Duration::from_secs(15);

/// The controller's own rights, by their common name.
#[derive(Clone)]
pub(crate) struct OwnRights {
    client: Client,
    namespace: String,
    name: String,
}

/// One of the three, as it is.
#[derive(Debug, Clone)]
struct Right {
    what: &'static str,
    meta: ObjectMeta,
}

impl Right {
    fn is_held(&self) -> bool {
        let finalizers = self.meta.finalizers.iter().flatten();
        finalizers
            .into_iter()
            .any(|name| name == names::WITHDRAW_FINALIZER)
    }

    fn is_going(&self) -> bool {
        self.meta.deletion_timestamp.is_some()
    }
}

impl OwnRights {
    /// `name` is that of all three; an empty one is none.
    pub(crate) fn new(client: &Client, namespace: &str, name: &str) -> Self {
        Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Puts the finalizer on, or takes it off while nobody is deleting them.
    pub(crate) async fn hold(&self, held: bool) -> Result<(), kube::Error> {
        for right in self.all().await? {
            if right.is_held() != held && !right.is_going() {
                self.set(&right, held, false).await?;
            }
        }
        Ok(())
    }

    /// Takes the finalizer off all three, as the last thing that is done with them: one after the
    /// other, and none before those ahead of it. With the first go the rights that its rules give, and
    /// what [`outlive`](Self::outlive) gives instead is refused until the API server has seen it.
    pub(crate) async fn release(&self, dry_run: bool, account: &mut Account) {
        let deadline = Instant::now() + LET_GO;
        let mut done = 0;
        loop {
            let failed = match self.release_after(&mut done, dry_run, account).await {
                Ok(()) => return,
                Err(failed) => failed,
            };
            if Instant::now() > deadline {
                account.failed.push(failed);
                return;
            }
            sleep(Duration::from_millis(250)).await;
        }
    }

    /// Takes the finalizer off all but the first `done` that carried it, and counts in `done`.
    async fn release_after(
        &self,
        done: &mut usize,
        dry_run: bool,
        account: &mut Account,
    ) -> Result<(), String> {
        let all = self.all().await;
        let all =
            all.map_err(|error| format!("the controller's rights cannot be read: {error}"))?;
        let held = all.iter().filter(|right| right.is_held());
        // A dry run takes none off, so they are still there.
        for right in held.skip(if dry_run { *done } else { 0 }) {
            let what = format!("{} {}: let go", right.what, self.name);
            // Not even a 404 says that it is gone: one that was marked meanwhile gets the 404 of its
            // role, which is looked for before versions are compared. The next look tells.
            if let Err(error) = self.set(right, false, dry_run).await {
                return Err(format!("{what}: {error}"));
            }
            account.note(what, Ok(()));
            *done += 1;
        }
        Ok(())
    }

    /// Rights to let go of each of the three after the others are gone. They belong to the namespace,
    /// which lives until the last of the three is gone, and go after it by themselves.
    pub(crate) async fn outlive(&self) -> Result<(), kube::Error> {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        let Some(namespace) = namespaces.get_metadata_opt(&self.namespace).await? else {
            return Ok(());
        };
        let name = format!("{}-withdraw", self.name);
        let group = "rbac.authorization.k8s.io".to_owned();
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            owner_references: Some(vec![OwnerReference {
                api_version: Namespace::api_version(&()).into_owned(),
                kind: Namespace::kind(&()).into_owned(),
                name: self.namespace.clone(),
                uid: namespace.metadata.uid.unwrap_or_default(),
                ..OwnerReference::default()
            }]),
            labels: Some([(names::PART_OF_LABEL.into(), names::PART_OF.into())].into()),
            ..ObjectMeta::default()
        };
        let rule = |group: &str, resources: &[&str]| PolicyRule {
            api_groups: Some(vec![group.to_owned()]),
            resources: Some(
                resources
                    .iter()
                    .map(|&resource| resource.to_owned())
                    .collect(),
            ),
            resource_names: Some(vec![self.name.clone()]),
            verbs: vec!["get".to_owned(), "patch".to_owned()],
            ..PolicyRule::default()
        };
        let role = ClusterRole {
            metadata: metadata.clone(),
            rules: Some(vec![
                rule("", &["serviceaccounts"]),
                rule(&group, &["clusterroles", "clusterrolebindings"]),
            ]),
            aggregation_rule: None,
        };
        let binding = ClusterRoleBinding {
            metadata,
            role_ref: RoleRef {
                api_group: Some(group),
                kind: CLUSTER_ROLE.to_owned(),
                name: name.clone(),
            },
            subjects: Some(vec![Subject {
                kind: SERVICE_ACCOUNT.to_owned(),
                name: self.name.clone(),
                namespace: Some(self.namespace.clone()),
                api_group: None,
            }]),
        };
        let params = PatchParams::apply(names::CONTROLLER_MANAGER).force();
        let (role, binding) = (Patch::Apply(&role), Patch::Apply(&binding));
        Api::<ClusterRole>::all(self.client.clone())
            .patch(&name, &params, &role)
            .await?;
        Api::<ClusterRoleBinding>::all(self.client.clone())
            .patch(&name, &params, &binding)
            .await?;
        Ok(())
    }

    /// Those of the three that are there; the one that says who we are comes last.
    async fn all(&self) -> Result<Vec<Right>, kube::Error> {
        if self.name.is_empty() {
            return Ok(Vec::new());
        }
        let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), &self.namespace);
        let found = [
            one(
                &Api::<ClusterRole>::all(self.client.clone()),
                CLUSTER_ROLE,
                &self.name,
            )
            .await?,
            one(
                &Api::<ClusterRoleBinding>::all(self.client.clone()),
                BINDING,
                &self.name,
            )
            .await?,
            one(&accounts, SERVICE_ACCOUNT, &self.name).await?,
        ];
        Ok(found.into_iter().flatten().collect())
    }

    async fn set(&self, right: &Right, held: bool, dry_run: bool) -> Result<(), kube::Error> {
        let old = right.meta.finalizers.clone().unwrap_or_default();
        let others = old
            .into_iter()
            .filter(|name| name != names::WITHDRAW_FINALIZER);
        let ours = held.then(|| names::WITHDRAW_FINALIZER.to_owned());
        let finalizers: Vec<_> = others.chain(ours).collect();
        let version = &right.meta.resource_version;
        // The whole list is replaced: not if somebody wrote it meanwhile.
        let patch = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
        let patch = Patch::Merge(&patch);
        let params = PatchParams {
            dry_run,
            field_manager: Some(names::CONTROLLER_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let client = self.client.clone();
        match right.what {
            CLUSTER_ROLE => Api::<ClusterRole>::all(client)
                .patch(&self.name, &params, &patch)
                .await
                .map(drop),
            BINDING => Api::<ClusterRoleBinding>::all(client)
                .patch(&self.name, &params, &patch)
                .await
                .map(drop),
            _ => Api::<ServiceAccount>::namespaced(client, &self.namespace)
                .patch(&self.name, &params, &patch)
                .await
                .map(drop),
        }
    }
}

async fn one<K>(api: &Api<K>, what: &'static str, name: &str) -> Result<Option<Right>, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let found = api.get_metadata_opt(name).await?;
    Ok(found.map(|found| Right {
        what,
        meta: found.metadata,
    }))
}

const CLUSTER_ROLE: &str = "ClusterRole";
const BINDING: &str = "ClusterRoleBinding";
const SERVICE_ACCOUNT: &str = "ServiceAccount";

#[cfg(test)]
mod tests;
