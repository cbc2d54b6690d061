//! Why somebody may do something.

use std::fmt;

use crate::subject::Subject;

/// A way from somebody to a right: binding, role, rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path<'a> {
    /// The binding.
    pub binding: Object<'a>,
    /// Which of the binding's subjects it is.
    pub subject: Subject,
    /// The role that the binding refers to.
    pub role: Object<'a>,
    /// The role where the rule is written: the same, or one that it aggregates.
    pub written_in: Object<'a>,
    /// The rule's place in `rules` of `written_in`, from 0.
    pub rule: usize,
}

/// A role or a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object<'a> {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace; empty for kinds that have none.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// Kinds of roles and bindings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// Rules for everywhere.
    ClusterRole,
    /// Gives a ClusterRole everywhere.
    ClusterRoleBinding,
    /// Rules for one namespace.
    Role,
    /// Gives a Role or a ClusterRole in one namespace.
    RoleBinding,
}

impl ObjectKind {
    /// As in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterRole => "ClusterRole",
            Self::ClusterRoleBinding => "ClusterRoleBinding",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
        }
    }
}

impl fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_str();
        match self.namespace {
            "" => write!(f, "{kind} {}", self.name),
            namespace => write!(f, "{kind} {namespace}/{}", self.name),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {} → {}", self.subject, self.binding, self.role)?;
        if self.written_in != self.role {
            write!(f, " → {}", self.written_in)?;
        }
        write!(f, " → rule {}", self.rule + 1)
    }
}
