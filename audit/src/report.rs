//! Reports.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evidence::Log;
use crate::finding::Finding;
use crate::location::Location;
use crate::server::Server;
use crate::severity::Severity;

/// The version of the report's schema. Fields are added in it; what is there keeps its meaning.
pub const API_VERSION: &str = "audit.streamway.dev/v1";
/// The report's kind.
pub const KIND: &str = "AuditReport";

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`KIND`].
    pub kind: String,
    /// What was audited.
    pub source: Source,
    /// The API server that severities are for.
    pub server: Server,
    /// Whether all was read that there is. If not, `warnings` say what is missing, and more may be
    /// there to find.
    pub complete: bool,
    /// How many of what.
    pub counts: Counts,
    /// What could not be read, and what is odd.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// What was read of audit logs, if any were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// By severity, the worst first, then by rule and subject.
    pub findings: Vec<Finding>,
}

/// What was audited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// For people: `cluster https://…`, `manifests in deploy/`.
    pub name: String,
    /// Roles and ClusterRoles.
    pub roles: usize,
    /// RoleBindings and ClusterRoleBindings.
    pub bindings: usize,
}

/// How many findings there are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// That count, by severity; every severity is there.
    pub by_severity: BTreeMap<Severity, usize>,
    /// That somebody accepted.
    pub suppressed: usize,
    /// That filters left out of this report.
    pub hidden: usize,
}

/// Something to know about what was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    /// What happened, with the way out.
    pub text: String,
    /// Where, in a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Whether something is missing for it.
    pub incomplete: bool,
}

impl Report {
    /// Adds a warning.
    pub fn warn(&mut self, warning: Warning) {
        self.complete &= !warning.incomplete;
        self.warnings.push(warning);
    }

    /// Findings that count: all but those that somebody accepted.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        let findings = self.findings.iter();
        findings.filter(|finding| finding.suppressed.is_none())
    }

    /// The worst of those.
    pub fn worst(&self) -> Option<Severity> {
        self.open().map(|finding| finding.severity).max()
    }

    /// Keeps findings; the others count as hidden.
    pub fn keep(&mut self, keep: impl FnMut(&Finding) -> bool) {
        let before = self.findings.len();
        self.findings.retain(keep);
        self.counts.hidden += before - self.findings.len();
        self.count();
    }

    /// Sorts findings and counts them anew, after they changed.
    pub(crate) fn count(&mut self) {
        self.findings.sort_by(|a, b| {
            let key = |finding: &Finding| std::cmp::Reverse(finding.severity);
            (key(a), a.rule, &a.subject).cmp(&(key(b), b.rule, &b.subject))
        });
        let mut counts: BTreeMap<_, _> = Severity::ALL.into_iter().map(|own| (own, 0)).collect();
        for finding in self.open() {
            *counts.entry(finding.severity).or_default() += 1;
        }
        self.counts.suppressed = self.findings.len() - self.open().count();
        self.counts.by_severity = counts;
    }
}
