//! Who goes on without `create`, because somebody said so in the cluster: AccessExemptions, as far as
//! findings go.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::exposure::State;
use crate::finding::{Finding, Suppression};
use crate::fix::FixKind;
use crate::report::Report;
use crate::subject::Subject;

/// An AccessExemption of `streamway.dev/v1alpha1`, as an API server tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exemption {
    metadata: Name,
    spec: Spec,
}

/// A list of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exemptions {
    items: Vec<Exemption>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Name {
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Spec {
    subjects: Vec<Subject>,
    /// All, if there is none.
    #[serde(default)]
    namespaces: BTreeSet<String>,
    resources: Vec<String>,
    reason: String,
    expires: Timestamp,
}

impl Spec {
    /// Whether it is for the subject and the resource of a finding, and has not ended.
    fn is_for(&self, finding: &Finding, now: Timestamp) -> bool {
        let has = finding.rule.kind().has();
        let resource = format!("{}/{}", has.resource, has.subresource);
        now < self.expires
            && self.subjects.contains(&finding.subject)
            && self.resources.contains(&resource)
    }

    fn holds_in(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }
}

impl Report {
    /// Suppresses what exemptions cover wholly: in every namespace that a finding reaches. What a
    /// baseline accepted already stays as it is, and so does what the API server refuses by itself: it
    /// knows no exemptions.
    pub fn exempt(&mut self, exemptions: &Exemptions, now: Timestamp) {
        for finding in &mut self.findings {
            let can_be = finding.fixes.iter().any(|fix| fix.kind == FixKind::Exempt)
                && finding.exposure.state == State::Exploitable;
            if can_be && finding.suppressed.is_none() {
                finding.suppressed = suppression(finding, exemptions, now);
            }
        }
        self.count();
    }
}

/// What the exemptions come to that cover a finding; none if they leave some of it out.
fn suppression(finding: &Finding, exemptions: &Exemptions, now: Timestamp) -> Option<Suppression> {
    let own = exemptions.items.iter();
    let own: Vec<_> = own.filter(|one| one.spec.is_for(finding, now)).collect();
    let everywhere = own.iter().filter(|one| one.spec.namespaces.is_empty());
    // One that holds everywhere is enough, the one that holds longest.
    let used = match everywhere.max_by_key(|one| one.spec.expires) {
        Some(one) => vec![*one],
        None => {
            let reach = &finding.reach;
            let namespaces = reach.namespaces.iter();
            let mut namespaces = namespaces.filter(|(_, names)| !names.is_none());
            let covered = reach.everywhere.is_none()
                && namespaces.all(|(name, _)| own.iter().any(|one| one.spec.holds_in(name)));
            if !covered {
                return None;
            }
            own
        }
    };
    let end = used.iter().map(|one| one.spec.expires).min()?;
    let reasons: Vec<_> = used
        .iter()
        .map(|one| format!("AccessExemption {}: {}", one.metadata.name, one.spec.reason))
        .collect();
    // It ends with that second, so at midnight the day before was the last.
    let last = end.saturating_sub(SignedDuration::from_nanos(1)).ok()?;
    Some(Suppression {
        reason: reasons.join("; "),
        until: Some(last.to_zoned(TimeZone::UTC).date()),
    })
}
