//! What is found.

use std::fmt;

use serde::{Deserialize, Serialize};
use streamway_rbac as rbac;

use crate::evidence::Evidence;
use crate::exposure::Exposure;
use crate::fix::Fix;
use crate::location::Location;
use crate::reach::Reach;
use crate::rules::RuleId;
use crate::severity::Severity;
use crate::subject::Subject;

/// Somebody with too much or too little.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was looked for. There is one finding for a rule and a subject.
    pub rule: RuleId,
    /// Of rule and subject, 16 hexadecimal digits: the same in every run, wherever things are written.
    pub fingerprint: String,
    /// How bad it is on the server in question.
    pub severity: Severity,
    /// One line: who, and what.
    pub title: String,
    /// Who.
    pub subject: Subject,
    /// On which objects: pods, and for `nodes/proxy` nodes.
    pub reach: Reach,
    /// What it comes to on the server in question.
    pub exposure: Exposure,
    /// By which of the subject's own bindings.
    pub paths: Vec<Path>,
    /// Whether it is of Kubernetes' own roles, bindings and parts, and so a note.
    pub builtin: bool,
    /// Pods that run as the service account, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Pods>,
    /// Who really used it, where an audit log was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// What the API server says, where it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// What can be done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<Fix>,
    /// Who accepted it, if somebody did: it does not count then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<Suppression>,
}

/// Binding, role, rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Path {
    /// The binding.
    pub binding: ObjectRef,
    /// The line of the subject in it, in a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding_location: Option<Location>,
    /// The role that it refers to.
    pub role: ObjectRef,
    /// The role where the rule is written: the same, or one that it aggregates.
    pub written_in: ObjectRef,
    /// The rule's place in `rules` of `written_in`, from 0.
    pub rule: usize,
    /// The line of the rule, in a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_location: Option<Location>,
}

/// A role or a binding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef {
    /// `Role`, `ClusterRole`, `RoleBinding`, `ClusterRoleBinding`.
    pub kind: String,
    /// Its namespace; empty for kinds that have none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Pods that run as a service account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pods {
    /// How many.
    pub count: usize,
    /// The first by name, three at most.
    pub names: Vec<String>,
}

/// What the API server's own authorizers say of a finding, all of them and not RBAC alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "verdict")]
pub enum Verdict {
    /// The same.
    Confirmed,
    /// Something else: another authorizer has its word too.
    Refuted {
        /// What differs, in a sentence.
        text: String,
    },
    /// It was not asked, or did not answer.
    Unknown {
        /// Why.
        text: String,
    },
}

/// Where it stands that a finding is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AcceptedBy {
    /// In a baseline.
    #[default]
    Baseline,
    /// In AccessExemptions of the cluster.
    Exemption,
}

/// Who accepted a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suppression {
    /// Where that stands.
    #[serde(default)]
    pub by: AcceptedBy,
    /// Why it is accepted.
    pub reason: String,
    /// The last day on which it is; for ever without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<jiff::civil::Date>,
}

impl Path {
    /// Where to look in a manifest: at the rule; at the binding, where the role is somewhere else.
    pub fn location(&self) -> Option<&Location> {
        self.rule_location
            .as_ref()
            .or(self.binding_location.as_ref())
    }
}

impl From<&rbac::Object<'_>> for ObjectRef {
    fn from(object: &rbac::Object<'_>) -> Self {
        Self {
            kind: object.kind.as_str().to_owned(),
            namespace: object.namespace.to_owned(),
            name: object.name.to_owned(),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// `ClusterRoleBinding readers → ClusterRole reader → rule 1`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.binding, self.role)?;
        if self.written_in != self.role {
            write!(f, " → {}", self.written_in)?;
        }
        write!(f, " → rule {}", self.rule + 1)
    }
}
