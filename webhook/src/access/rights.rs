//! What RBAC gives, from memory: an index over the cluster's roles and bindings, kept by watches.
//!
//! Its yes is the API server's where no authorizer that may deny stands before RBAC, which only the
//! administrator knows (`--rbac-answers-first`). Its no is none: other authorizers may allow, and the
//! watches are late by a moment.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::stream::{BoxStream, SelectAll};
use futures_util::{StreamExt, stream};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::runtime::reflector::{Store, reflector, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use streamway_rbac::{Index, Policy, Question as Asked, Resource as AskedResource, Who};
use tokio::time::{Instant, sleep_until};

use super::Question;

/// How long changes are gathered before a new index is made of them.
const GATHER: Duration = Duration::from_millis(100);

/// Making indexes takes a tenth of a core at most.
const SHARE: u32 = 10;

/// The index, where there is one that may be asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Rights {
    index: Arc<ArcSwapOption<Index>>,
}

/// Roles and bindings as they were last seen.
#[derive(Debug)]
struct Seen {
    roles: Store<Role>,
    cluster_roles: Store<ClusterRole>,
    bindings: Store<RoleBinding>,
    cluster_bindings: Store<ClusterRoleBinding>,
}

/// The kinds that are watched.
const KINDS: usize = 4;

/// What a watch said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// That it is there, and what it tells is all.
    Known,
    /// That it begins again, or is broken.
    Unknown,
}

type Events = SelectAll<BoxStream<'static, (usize, Said)>>;

impl Rights {
    /// Begins to watch. Until everything was seen, and from a broken watch until it tells something again,
    /// nobody has any right.
    pub(super) fn watch(client: &Client) -> Self {
        let (roles, first) = watched(0, client);
        let (cluster_roles, second) = watched(1, client);
        let (bindings, third) = watched(2, client);
        let (cluster_bindings, fourth) = watched(3, client);
        let seen = Seen {
            roles,
            cluster_roles,
            bindings,
            cluster_bindings,
        };
        let this = Self::default();
        let events = stream::select_all([first, second, third, fourth]);
        tokio::spawn(this.clone().keep(Arc::new(seen), events));
        this
    }

    /// Whether RBAC lets them `create` it. False where that is not known.
    pub(super) fn may_create(&self, question: &Question) -> bool {
        let index = self.index.load();
        index
            .as_ref()
            .is_some_and(|index| may_create(index, question))
    }

    async fn keep(self, seen: Arc<Seen>, mut events: Events) {
        let mut known = [false; KINDS];
        let mut due = None;
        let mut earliest = Instant::now();
        loop {
            let make = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((kind, said)) = events.next() => {
                    if let Some(known) = known.get_mut(kind) {
                        *known = said == Said::Known;
                    }
                    if said == Said::Unknown {
                        self.index.store(None);
                    }
                    let soon = Instant::now() + GATHER;
                    due.get_or_insert_with(|| soon.max(earliest));
                }
                () = make => {
                    due = None;
                    let begun = Instant::now();
                    let seen = Arc::clone(&seen);
                    // The error is a runtime that ends.
                    let Ok(index) = tokio::task::spawn_blocking(move || seen.index()).await else {
                        return;
                    };
                    earliest = Instant::now() + begun.elapsed() * SHARE;
                    let all = known.iter().all(|&known| known);
                    self.index.store(all.then(|| Arc::new(index)));
                }
            }
        }
    }
}

fn may_create(index: &Index, question: &Question) -> bool {
    let (resource, subresource) = question.target.parts();
    let groups: Vec<&str> = question.user.groups.iter().map(String::as_str).collect();
    let create = Asked::Resource(AskedResource {
        verb: "create",
        resource,
        subresource,
        namespace: &question.namespace,
        name: &question.name,
        ..AskedResource::default()
    });
    let who = Who::user(&question.user.name, &groups);
    index.may(&who, &create).is_some()
}

impl Seen {
    fn index(&self) -> Index {
        let mut policy = Policy::of_cluster();
        let all = self.roles.state();
        all.iter().for_each(|role| policy.add_role(role));
        let all = self.cluster_roles.state();
        all.iter().for_each(|role| policy.add_cluster_role(role));
        let all = self.bindings.state();
        let each = all.iter();
        each.for_each(|binding| policy.add_role_binding(binding));
        let all = self.cluster_bindings.state();
        let each = all.iter();
        each.for_each(|binding| policy.add_cluster_role_binding(binding));
        Index::new(policy)
    }
}

/// All objects of a kind, and what their watch says.
fn watched<K>(kind: usize, client: &Client) -> (Store<K>, BoxStream<'static, (usize, Said)>)
where
    K: Resource<DynamicType = ()> + Clone + Debug,
    K: DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = store();
    let all: Api<K> = Api::all(client.clone());
    let events = watcher(all, watcher::Config::default())
        .default_backoff()
        .modify(trim);
    let events = reflector(writer, events).map(move |event| match event {
        Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => (kind, Said::Unknown),
        Ok(_) => (kind, Said::Known),
        Err(error) => {
            let plural = K::plural(&());
            tracing::warn!(%error, %plural, "roles and bindings cannot be watched; the API server is asked");
            (kind, Said::Unknown)
        }
    });
    (store, events.boxed())
}

/// What is not looked at, of which there may be much.
fn trim(object: &mut impl ResourceExt) {
    object.meta_mut().managed_fields = None;
    object.meta_mut().annotations = None;
}
