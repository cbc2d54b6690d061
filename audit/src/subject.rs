//! Who, in reports.

use std::fmt;

use serde::{Deserialize, Serialize};
use streamway_rbac as rbac;

/// Whom a binding names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// What it is.
    pub kind: SubjectKind,
    /// A service account's namespace; empty for others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What a subject is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SubjectKind {
    /// The members of a group.
    Group,
    /// A service account.
    ServiceAccount,
    /// A user.
    User,
}

impl SubjectKind {
    /// As in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Group => "Group",
            Self::ServiceAccount => "ServiceAccount",
            Self::User => "User",
        }
    }
}

impl Subject {
    /// The same for an index.
    pub fn to_rbac(&self) -> rbac::Subject {
        match self.kind {
            SubjectKind::Group => rbac::Subject::Group(self.name.clone()),
            SubjectKind::User => rbac::Subject::User(self.name.clone()),
            SubjectKind::ServiceAccount => rbac::Subject::ServiceAccount {
                namespace: self.namespace.clone(),
                name: self.name.clone(),
            },
        }
    }

    /// Whether it stands for whoever asks, or for every workload.
    pub fn is_everybody(&self) -> bool {
        match self.kind {
            SubjectKind::Group => matches!(
                self.name.as_str(),
                "system:authenticated" | "system:unauthenticated" | "system:serviceaccounts"
            ),
            SubjectKind::User => self.name == "system:anonymous",
            SubjectKind::ServiceAccount => false,
        }
    }

    /// Whether it may be a part of Kubernetes itself, by its name.
    pub(crate) fn is_kubernetes_own(&self) -> bool {
        match self.kind {
            SubjectKind::ServiceAccount => self.namespace == "kube-system",
            SubjectKind::User => self.name.starts_with("system:kube-"),
            SubjectKind::Group => false,
        }
    }
}

impl From<&rbac::Subject> for Subject {
    fn from(subject: &rbac::Subject) -> Self {
        let (kind, namespace, name) = match subject {
            rbac::Subject::Group(name) => (SubjectKind::Group, "", name),
            rbac::Subject::User(name) => (SubjectKind::User, "", name),
            rbac::Subject::ServiceAccount { namespace, name } => {
                (SubjectKind::ServiceAccount, namespace.as_str(), name)
            }
        };
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.clone(),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind.as_str())?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}
