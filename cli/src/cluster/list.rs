//! Lists, page by page.

use std::fmt::Debug;

use bytes::Bytes;
use http::StatusCode;
use k8s_openapi::api::core::v1 as core;
use prost::Message;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::sync::mpsc::Sender;

use super::proto::{self, Binding, Items, ListHead, Pod, Role};
use super::{Answer, Cluster, Failure, segment};
use crate::objects::Object;

/// Objects in a page: a few MiB.
const PAGE: usize = 2500;

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Collection {
    Roles,
    ClusterRoles,
    RoleBindings,
    ClusterRoleBindings,
}

/// A page.
pub(crate) struct Listed {
    pub(crate) collection: Collection,
    pub(crate) objects: Vec<Object>,
    /// How many are to come, if the server says.
    pub(crate) remaining: usize,
}

impl Collection {
    pub(crate) const ALL: [Self; 4] = [
        Self::Roles,
        Self::ClusterRoles,
        Self::RoleBindings,
        Self::ClusterRoleBindings,
    ];

    /// As in a URL.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Roles => "roles",
            Self::ClusterRoles => "clusterroles",
            Self::RoleBindings => "rolebindings",
            Self::ClusterRoleBindings => "clusterrolebindings",
        }
    }

    fn path(self) -> String {
        format!("/apis/rbac.authorization.k8s.io/v1/{}", self.name())
    }

    fn objects(self, answer: &Answer) -> Result<Vec<Object>, Failure> {
        Ok(match self {
            Self::Roles => read(answer, Role::into_role, Object::Role)?,
            Self::ClusterRoles => read(answer, Role::into_cluster_role, Object::ClusterRole)?,
            Self::RoleBindings => read(answer, Binding::into_role_binding, Object::RoleBinding)?,
            Self::ClusterRoleBindings => read(
                answer,
                Binding::into_cluster_role_binding,
                Object::ClusterRoleBinding,
            )?,
        })
    }
}

impl Cluster {
    /// Lists a collection, page by page. Ends early, and well, where nobody takes pages any more.
    pub(crate) async fn list(
        &self,
        collection: Collection,
        pages: Sender<Listed>,
    ) -> Result<(), Failure> {
        let path = collection.path();
        let mut answer = self.page(&path, None).await?;
        loop {
            let head = head(&answer)?;
            // While this page is read, the server is at the next.
            let next = head.next.map(|token| {
                let (cluster, path) = (self.clone(), path.clone());
                tokio::spawn(async move { cluster.page(&path, Some(token)).await })
            });
            let listed = Listed {
                collection,
                objects: collection.objects(&answer)?,
                remaining: head.remaining,
            };
            if pages.send(listed).await.is_err() {
                return Ok(());
            }
            let Some(next) = next else { return Ok(()) };
            answer = next
                .await
                .map_err(|error| Failure::Other(error.to_string()))??;
        }
    }

    /// A page. One that came too late goes on with what the server has now, as it offers: of the rest
    /// some objects may be newer than those before.
    async fn page(&self, path: &str, token: Option<String>) -> Result<Answer, Failure> {
        match self.get_protobuf(&uri(path, token)).await {
            Err(Failure::Refused {
                code: StatusCode::GONE,
                resume: Some(token),
                ..
            }) => self.get_protobuf(&uri(path, Some(token))).await,
            other => other,
        }
    }

    /// All pods, as namespace, name and service account.
    pub(crate) async fn pods(&self, mut take: impl FnMut(Pods)) -> Result<(), Failure> {
        let mut token = None;
        loop {
            let answer = self.page("/api/v1/pods", token).await?;
            take(read_pods(&answer)?);
            token = head(&answer)?.next;
            if token.is_none() {
                return Ok(());
            }
        }
    }
}

/// Namespaces, names and service accounts.
pub(crate) type Pods = Vec<(String, String, String)>;

fn uri(path: &str, token: Option<String>) -> String {
    match token {
        None => format!("{path}?limit={PAGE}"),
        Some(token) => {
            format!("{path}?limit={PAGE}&continue={}", segment(&token))
        }
    }
}

struct Head {
    next: Option<String>,
    remaining: usize,
}

fn head(answer: &Answer) -> Result<Head, Failure> {
    let (next, remaining) = if answer.protobuf {
        let metadata = ListHead::decode(unwrapped(answer)?)?.metadata;
        let metadata = metadata.unwrap_or_default();
        (metadata.next, metadata.remaining)
    } else {
        let list: JsonList<IgnoredAny> = serde_json::from_slice(&answer.body)?;
        (list.metadata.next, list.metadata.remaining)
    };
    let remaining = remaining.and_then(|count| usize::try_from(count).ok());
    Ok(Head {
        next: Some(next).filter(|token| !token.is_empty()),
        remaining: remaining.unwrap_or_default(),
    })
}

/// A list in JSON, from servers that speak nothing else.
#[derive(Deserialize)]
struct JsonList<T> {
    metadata: JsonHead,
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Deserialize)]
struct JsonHead {
    #[serde(rename = "continue", default)]
    next: String,
    #[serde(rename = "remainingItemCount", default)]
    remaining: Option<i64>,
}

/// The objects of a page, from either form.
fn read<M: Message + Default + Debug, T: DeserializeOwned>(
    answer: &Answer,
    of: fn(M) -> T,
    object: fn(T) -> Object,
) -> Result<Vec<Object>, Failure> {
    if answer.protobuf {
        let items = Items::<M>::decode(unwrapped(answer)?)?.items.into_iter();
        return Ok(items.map(|item| object(of(item))).collect());
    }
    let list: JsonList<T> = serde_json::from_slice(&answer.body)?;
    Ok(list.items.into_iter().map(object).collect())
}

fn read_pods(answer: &Answer) -> Result<Pods, Failure> {
    if answer.protobuf {
        let items = Items::<Pod>::decode(unwrapped(answer)?)?.items.into_iter();
        return Ok(items.map(Pod::into_parts).collect());
    }
    let list: JsonList<core::Pod> = serde_json::from_slice(&answer.body)?;
    let pods = list.items.into_iter().map(|pod| {
        let account = pod.spec.and_then(|spec| spec.service_account_name);
        let (namespace, name) = (pod.metadata.namespace, pod.metadata.name);
        let [namespace, name, account] = [namespace, name, account].map(Option::unwrap_or_default);
        (namespace, name, account)
    });
    Ok(pods.collect())
}

fn unwrapped(answer: &Answer) -> Result<Bytes, Failure> {
    let raw = proto::unwrapped(&answer.body);
    raw.ok_or_else(|| Failure::Other("protobuf without Kubernetes' envelope".to_owned()))
}
