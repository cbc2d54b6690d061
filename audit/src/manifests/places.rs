//! Where roles and bindings are written.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::rbac::v1 as rbac;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use streamway_rbac::{Object, ObjectKind, Path, Subject};

/// Where roles and bindings are written.
#[derive(Debug, Clone, Default)]
pub struct Places(pub(super) HashMap<Key, Written>);

/// A line of a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The source's name, as given to [`Manifests::read`](super::Manifests::read).
    pub source: Arc<str>,
    /// From 1.
    pub line: u32,
}

/// Namespace and name.
pub(super) type Key = (ObjectKind, Box<str>, Box<str>);

#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) at: Place,
    pub(super) parts: Parts,
}

#[derive(Debug, Clone)]
pub(super) enum Parts {
    /// Lines of rules.
    Rules(Box<[u32]>),
    Subjects(Box<[(Subject, u32)]>),
}

impl Places {
    /// How many roles are written.
    pub fn roles(&self) -> usize {
        let written = self.0.values();
        let roles = written.filter(|written| matches!(written.parts, Parts::Rules(_)));
        roles.count()
    }

    /// Where an object begins.
    pub fn object(&self, object: &Object<'_>) -> Option<&Place> {
        Some(&self.written(object)?.at)
    }

    /// Where the rule of a path begins.
    pub fn rule(&self, path: &Path<'_>) -> Option<Place> {
        let written = self.written(&path.written_in)?;
        let Parts::Rules(lines) = &written.parts else {
            return None;
        };
        Some(written.at.at(*lines.get(path.rule)?))
    }

    /// Where the subject of a path begins, in the path's binding.
    pub fn subject(&self, path: &Path<'_>) -> Option<Place> {
        let written = self.written(&path.binding)?;
        let Parts::Subjects(subjects) = &written.parts else {
            return None;
        };
        let mut subjects = subjects.iter();
        let (_, line) = subjects.find(|(subject, _)| *subject == path.subject)?;
        Some(written.at.at(*line))
    }

    fn written(&self, object: &Object<'_>) -> Option<&Written> {
        let key = (object.kind, object.namespace.into(), object.name.into());
        self.0.get(&key)
    }
}

impl Place {
    fn at(&self, line: u32) -> Self {
        Self {
            source: Arc::clone(&self.source),
            line,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.line)
    }
}

pub(super) fn key(kind: ObjectKind, metadata: &ObjectMeta) -> Key {
    let given = metadata.namespace.as_deref().unwrap_or_default();
    let namespace = match kind {
        ObjectKind::ClusterRole | ObjectKind::ClusterRoleBinding => "",
        // As `Policy` does it.
        _ if given.is_empty() => "default",
        _ => given,
    };
    let name = metadata.name.as_deref().unwrap_or_default();
    (kind, namespace.into(), name.into())
}

pub(super) fn object((kind, namespace, name): &Key) -> Object<'_> {
    Object {
        kind: *kind,
        namespace,
        name,
    }
}

/// Whom an entry of a binding in `namespace` names.
pub(super) fn subject(subject: &rbac::Subject, namespace: &str) -> Option<Subject> {
    let given = subject.namespace.as_deref().unwrap_or_default();
    let own = if given.is_empty() { namespace } else { given };
    match subject.kind.as_str() {
        "User" => Some(Subject::of_user(&subject.name)),
        "Group" => Some(Subject::Group(subject.name.clone())),
        "ServiceAccount" if !own.is_empty() => Some(Subject::ServiceAccount {
            namespace: own.to_owned(),
            name: subject.name.clone(),
        }),
        _ => None,
    }
}
