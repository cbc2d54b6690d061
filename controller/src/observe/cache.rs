//! The objects of one kind, as they were last seen or last written.
//!
//! A watch tells what was written a moment after it was. Whoever plans in that moment would plan the
//! same again; so what a write answered counts, until the watch has caught up.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use kube::api::Api;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// After this time the watch has caught up, or what was written is gone and nobody saw it.
const CAUGHT_UP: Duration = Duration::from_secs(30);

/// Objects by name; of a kind that is looked at in one namespace, or in none.
pub(crate) struct Cache<K>
where
    K: Resource<DynamicType = ()> + 'static,
{
    store: Store<K>,
    /// Whether the first list is here.
    ready: watch::Receiver<bool>,
    namespace: Option<String>,
    written: Arc<Mutex<Written<K>>>,
    trim: fn(&mut K),
}

impl<K> Clone for Cache<K>
where
    K: Resource<DynamicType = ()> + 'static,
{
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            ready: self.ready.clone(),
            namespace: self.namespace.clone(),
            written: Arc::clone(&self.written),
            trim: self.trim,
        }
    }
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    /// Watches from now on; each change is told to each of `changed`. Of each object only what
    /// `trim` leaves is kept.
    pub(crate) fn watch(
        api: Api<K>,
        config: watcher::Config,
        trim: fn(&mut K),
        changed: Vec<Arc<Notify>>,
    ) -> Self {
        let (store, writer) = reflector::store();
        let cache = Self {
            ready: first_list(&store),
            store,
            namespace: api.namespace().map(str::to_owned),
            written: Arc::default(),
            trim,
        };
        let kind = K::kind(&()).into_owned();
        let written = Arc::clone(&cache.written);
        let events = reflector::reflector(
            writer,
            watcher(api, config)
                .default_backoff()
                .modify(move |object| {
                    object.managed_fields_mut().clear();
                    trim(object);
                }),
        );
        tokio::spawn(events.for_each(move |event| {
            match event {
                Ok(watcher::Event::Delete(object)) => {
                    lock(&written).remove(object.meta().name.as_deref().unwrap_or_default());
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(kind, %error, "the watch failed; trying again"),
            }
            changed.iter().for_each(|changed| changed.notify_one());
            std::future::ready(())
        }));
        cache
    }

    /// Waits until the first list is here.
    pub(crate) async fn ready(&self) {
        // Its sender lives until it has told, or the process ends.
        let _ = self.ready.clone().wait_for(|ready| *ready).await;
    }

    /// The object of a name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<K>> {
        let mut key = ObjectRef::new(name);
        key.namespace = self.namespace.clone();
        let seen = self.store.get(&key);
        let written = lock(&self.written)
            .get(name)
            .map(|(object, _)| Arc::clone(object));
        newer(seen, written)
    }

    /// All objects, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        let seen = self.store.state();
        let mut written = lock(&self.written);
        if written.is_empty() {
            return seen;
        }
        written.retain(|_, (_, at)| at.elapsed() < CAUGHT_UP);
        let mut pending: HashMap<_, _> = written
            .iter()
            .map(|(name, (object, _))| (name.clone(), Arc::clone(object)))
            .collect();
        let mut all = Vec::with_capacity(seen.len());
        for object in seen {
            let name = object.meta().name.clone().unwrap_or_default();
            match pending.remove(&name) {
                Some(own) if version(&*own) > version(&*object) => all.push(own),
                Some(_) => {
                    written.remove(&name);
                    all.push(object);
                }
                None => all.push(object),
            }
        }
        all.extend(pending.into_values());
        all
    }

    /// What a write answered.
    pub(crate) fn wrote(&self, mut object: K) {
        object.managed_fields_mut().clear();
        (self.trim)(&mut object);
        let name = object.meta().name.clone().unwrap_or_default();
        lock(&self.written).insert(name, (Arc::new(object), Instant::now()));
    }
}

/// Tells when the first list is in a store. Of several that wait on the store itself, kube wakes only
/// the one that asked last.
fn first_list<K>(store: &Store<K>) -> watch::Receiver<bool>
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let (told, ready) = watch::channel(false);
    let store = store.clone();
    tokio::spawn(async move {
        if store.wait_until_ready().await.is_ok() {
            told.send_replace(true);
        }
    });
    ready
}

type Written<K> = HashMap<String, (Arc<K>, Instant)>;

fn lock<K>(written: &Mutex<Written<K>>) -> MutexGuard<'_, Written<K>> {
    // A map is whole between calls.
    written.lock().unwrap_or_else(PoisonError::into_inner)
}

fn newer<K: Resource<DynamicType = ()>>(
    seen: Option<Arc<K>>,
    written: Option<Arc<K>>,
) -> Option<Arc<K>> {
    match (seen, written) {
        (Some(seen), Some(written)) if version(&*written) > version(&*seen) => Some(written),
        (None, written) => written,
        (seen, _) => seen,
    }
}

/// Versions of one kind are numbers that grow (KEP-5504; etcd's revisions in every release before).
fn version<K: Resource<DynamicType = ()>>(object: &K) -> u64 {
    let version = object.meta().resource_version.as_deref();
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Node;
    use kube::runtime::watcher::Event;

    use super::*;

    fn node(name: &str, version: u64) -> Node {
        let mut node = Node::default();
        node.metadata.name = Some(name.into());
        node.metadata.resource_version = Some(version.to_string());
        node
    }

    fn seen(cache: &Cache<Node>) -> Vec<(String, String)> {
        let names = cache.all().into_iter();
        let mut seen: Vec<_> = names
            .map(|node| {
                (
                    node.name_any(),
                    node.metadata.resource_version.clone().unwrap(),
                )
            })
            .collect();
        seen.sort();
        for (name, version) in &seen {
            let one = cache.get(name).unwrap();
            assert_eq!(
                one.metadata.resource_version.as_ref(),
                Some(version),
                "{name}"
            );
        }
        seen
    }

    #[test]
    fn what_was_written_counts_until_the_watch_has_it() {
        let (store, mut writer) = reflector::store();
        let cache = Cache {
            store,
            ready: watch::channel(true).1,
            namespace: None,
            written: Arc::default(),
            trim: |node: &mut Node| node.metadata.annotations = None,
        };
        let row = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        writer.apply_watcher_event(&Event::Apply(node("one", 9)));
        writer.apply_watcher_event(&Event::Apply(node("two", 9)));
        assert_eq!(seen(&cache), [row("one", "9"), row("two", "9")]);

        cache.wrote(node("one", 10));
        cache.wrote(node("new", 11));
        assert_eq!(
            seen(&cache),
            [row("new", "11"), row("one", "10"), row("two", "9")]
        );

        // Versions are numbers, not texts.
        writer.apply_watcher_event(&Event::Apply(node("one", 12)));
        assert_eq!(
            seen(&cache),
            [row("new", "11"), row("one", "12"), row("two", "9")]
        );
        // Caught up, what was written is forgotten, also where the object goes.
        writer.apply_watcher_event(&Event::Delete(node("one", 13)));
        assert_eq!(seen(&cache), [row("new", "11"), row("two", "9")]);
    }

    #[tokio::test]
    async fn everyone_who_waits_for_the_first_list_is_told() {
        let (store, mut writer) = reflector::store::<Node>();
        let cache = Cache {
            ready: first_list(&store),
            store,
            namespace: None,
            written: Arc::default(),
            trim: |_: &mut Node| {},
        };
        let waiting = [cache.clone(), cache.clone(), cache]
            .map(|cache| tokio::spawn(async move { cache.ready().await }));
        // Each of them has begun to wait.
        tokio::task::yield_now().await;
        writer.apply_watcher_event(&Event::Init);
        writer.apply_watcher_event(&Event::InitDone);
        for waiting in waiting {
            let told = tokio::time::timeout(Duration::from_secs(10), waiting).await;
            told.unwrap().unwrap();
        }
    }
}
