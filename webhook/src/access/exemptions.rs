//! AccessExemptions: who need not have `create`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use jiff::Timestamp;
use kube::runtime::reflector::{Store, reflector, store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use streamway_crds::{AccessExemption, AccessExemptionSpec, ExemptSubject, ExemptSubjectKind};
use streamway_daemon::admin::Condition;

use super::{Question, Target, Unavailable, User};

/// By which exemption somebody goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exempt {
    /// The AccessExemption's name.
    pub(crate) name: String,
    /// Its reason.
    pub(crate) why: String,
}

/// All that there are.
#[derive(Debug)]
pub(crate) struct Exemptions {
    store: Store<AccessExemption>,
    filled: Arc<AtomicBool>,
}

impl Exemptions {
    /// Begins to watch. `filled` is met once everything was seen; from then on the last that was seen
    /// holds, each until it expires.
    pub(super) fn watch(client: Client, filled: Condition) -> Self {
        let (store, writer) = store();
        let all = Api::<AccessExemption>::all(client);
        let events = watcher(all, watcher::Config::default()).default_backoff();
        let mut events = reflector(writer, events).boxed();
        let this = Self {
            store,
            filled: Arc::default(),
        };
        let seen = Arc::clone(&this.filled);
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::InitDone) => {
                        seen.store(true, Ordering::Release);
                        filled.met();
                    }
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%error, "AccessExemptions cannot be watched; the last ones hold");
                    }
                }
            }
        });
        this
    }

    /// The first, by name, that holds for a question at `now`.
    ///
    /// # Errors
    /// [`Unavailable::NotKnownYet`] before all were seen.
    pub(super) fn of(
        &self,
        question: &Question,
        now: Timestamp,
    ) -> Result<Option<Exempt>, Unavailable> {
        if !self.filled.load(Ordering::Acquire) {
            return Err(Unavailable::NotKnownYet);
        }
        let all = self.store.state();
        let holding = all.iter().filter(|one| holds(&one.spec, question, now));
        let first = holding.min_by(|one, other| one.name_any().cmp(&other.name_any()));
        Ok(first.map(|exemption| Exempt {
            name: exemption.name_any(),
            why: exemption.spec.reason.clone(),
        }))
    }
}

/// Whether an exemption is for a question, at `now`.
fn holds(exemption: &AccessExemptionSpec, question: &Question, now: Timestamp) -> bool {
    let target = question.target;
    let somewhere = exemption.namespaces.is_empty()
        || target == Target::NodesProxy
        || exemption.namespaces.contains(&question.namespace);
    let mut subjects = exemption.subjects.iter();
    now < exemption.expires.0
        && exemption.resources.contains(&target.exempt())
        && somewhere
        && subjects.any(|subject| is(subject, &question.user))
}

/// Whether a user is a subject, as RBAC says it.
fn is(subject: &ExemptSubject, user: &User) -> bool {
    match subject.kind {
        ExemptSubjectKind::User => user.name == subject.name,
        ExemptSubjectKind::Group => user.groups.contains(&subject.name),
        ExemptSubjectKind::ServiceAccount => {
            let namespace = subject.namespace.as_deref().unwrap_or_default();
            let name = user.name.strip_prefix("system:serviceaccount:");
            let name = name.and_then(|name| name.split_once(':'));
            name == Some((namespace, &*subject.name))
        }
    }
}

#[cfg(test)]
mod tests;
