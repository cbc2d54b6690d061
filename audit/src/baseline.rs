//! What somebody has accepted: findings that do not count, each for a reason, most for a time.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::finding::{AcceptedBy, Finding, Suppression};
use crate::reach::Reach;
use crate::report::{API_VERSION, Report, Warning};
use crate::rules::RuleId;
use crate::subject::Subject;

/// The kind of baseline files.
pub const BASELINE_KIND: &str = "AuditBaseline";

/// Accepted findings, as a file holds them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Baseline {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`BASELINE_KIND`].
    pub kind: String,
    /// In the order of the report that they were made of.
    pub accepted: Vec<Accepted>,
}

/// An accepted finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Accepted {
    /// The finding's.
    pub fingerprint: String,
    /// What was found; for people.
    pub rule: RuleId,
    /// Who; for people.
    pub subject: Subject,
    /// On which objects. A finding that reaches further is not the one that was accepted.
    pub reach: Reach,
    /// Why.
    pub reason: String,
    /// The last day on which it is accepted; for ever without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
}

/// Why a baseline cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBaseline {
    /// It is of another kind or version.
    #[error("{kind:?} of {api_version:?} is no {BASELINE_KIND} of {API_VERSION}")]
    Kind {
        /// Its `kind`.
        kind: String,
        /// Its `apiVersion`.
        api_version: String,
    },
    /// An entry says no reason.
    #[error("the entry {fingerprint} for {subject} gives no reason")]
    NoReason {
        /// The entry's.
        fingerprint: String,
        /// The entry's.
        subject: Subject,
    },
    /// Two entries are for the same finding.
    #[error("there are two entries {0}")]
    Twice(String),
}

impl Baseline {
    /// The findings of a report that count, and those that a baseline before it accepted already, as
    /// they were. What the cluster's AccessExemptions accept is left out: it ends when they do.
    pub fn of(report: &Report, reason: &str, until: Option<Date>) -> Self {
        let by = |finding: &Finding| finding.suppressed.as_ref().map(|own| own.by);
        let findings = report.findings.iter();
        let findings = findings.filter(|finding| by(finding) != Some(AcceptedBy::Exemption));
        let accepted = findings.map(|finding| {
            let given = finding.suppressed.clone().unwrap_or_else(|| Suppression {
                by: AcceptedBy::Baseline,
                reason: reason.to_owned(),
                until,
            });
            Accepted {
                fingerprint: finding.fingerprint.clone(),
                rule: finding.rule,
                subject: finding.subject.clone(),
                reach: finding.reach.clone(),
                reason: given.reason,
                until: given.until,
            }
        });
        Self {
            api_version: API_VERSION.to_owned(),
            kind: BASELINE_KIND.to_owned(),
            accepted: accepted.collect(),
        }
    }

    /// Whether it can be used.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), BadBaseline> {
        if self.kind != BASELINE_KIND || self.api_version != API_VERSION {
            return Err(BadBaseline::Kind {
                kind: self.kind.clone(),
                api_version: self.api_version.clone(),
            });
        }
        let mut seen = std::collections::HashSet::new();
        for entry in &self.accepted {
            if entry.reason.trim().is_empty() {
                return Err(BadBaseline::NoReason {
                    fingerprint: entry.fingerprint.clone(),
                    subject: entry.subject.clone(),
                });
            }
            if !seen.insert(&entry.fingerprint) {
                return Err(BadBaseline::Twice(entry.fingerprint.clone()));
            }
        }
        Ok(())
    }
}

impl Report {
    /// Suppresses what a baseline accepts on a day. Entries that ended, that are exceeded or that match
    /// nothing are told in warnings. What is accepted otherwise ([`Report::exempt`]) stays so.
    pub fn accept(&mut self, baseline: &Baseline, today: Date) {
        let mut unused = 0;
        for entry in &baseline.accepted {
            let mut findings = self.findings.iter_mut();
            let found = findings.find(|finding| finding.fingerprint == entry.fingerprint);
            let Some(finding) = found else {
                unused += 1;
                continue;
            };
            if finding.suppressed.is_some() {
                continue;
            }
            if let Some(text) = objection(entry, finding, today) {
                self.warnings.push(note(text));
                continue;
            }
            finding.suppressed = Some(Suppression {
                by: AcceptedBy::Baseline,
                reason: entry.reason.clone(),
                until: entry.until,
            });
        }
        if unused > 0 {
            let text = match unused {
                1 => "1 entry of the baseline matches nothing any more".to_owned(),
                _ => format!("{unused} entries of the baseline match nothing any more"),
            };
            self.warnings.push(note(text));
        }
        self.count();
    }
}

/// Why an entry does not hold for its finding.
fn objection(entry: &Accepted, finding: &Finding, today: Date) -> Option<String> {
    let title = &finding.title;
    match entry.until {
        Some(until) if until < today => Some(format!(
            "{title}: was accepted until {until} ({}), and counts again",
            entry.reason
        )),
        _ if !finding.reach.is_within(&entry.reach) => Some(format!(
            "{title}: was accepted {}, reaches {} now, and counts again",
            entry.reach, finding.reach
        )),
        _ => None,
    }
}

fn note(text: String) -> Warning {
    Warning {
        text,
        location: None,
        incomplete: false,
    }
}
