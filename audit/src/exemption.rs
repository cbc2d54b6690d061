//! Who goes on without `create`, because somebody said so in the cluster: AccessExemptions, as far as
//! findings go.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use streamway_rbac::Kind;

use crate::exposure::State;
use crate::finding::{AcceptedBy, Finding, Suppression};
use crate::report::Report;
use crate::subject::{Subject, SubjectKind};

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

impl Exemptions {
    /// Where an API server lists them.
    pub const PATH: &str = "/apis/streamway.dev/v1alpha1/accessexemptions";
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
    /// Whether it is for the subject and the resource of a finding, and has not ended. One for a group is
    /// for what the group has, not for what its members have besides.
    fn is_for(&self, finding: &Finding, now: Timestamp) -> bool {
        let has = finding.rule.kind().has();
        let resource = format!("{}/{}", has.resource, has.subresource);
        let mut subjects = self.subjects.iter();
        now < self.expires
            && self.resources.contains(&resource)
            && subjects.any(|subject| is(subject, &finding.subject))
    }

    fn holds_in(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }
}

/// Whether an exemption's subject is a finding's: a user may be a service account by its full name.
fn is(exempt: &Subject, found: &Subject) -> bool {
    let account = || Subject::from(&streamway_rbac::Subject::of_user(&exempt.name));
    exempt == found || exempt.kind == SubjectKind::User && account() == *found
}

impl Report {
    /// Suppresses what exemptions cover wholly: in every namespace that a finding reaches. What the API
    /// server refuses by itself is left as it is: it knows no exemptions. Before [`Report::accept`].
    pub fn exempt(&mut self, exemptions: &Exemptions, now: Timestamp) {
        for finding in &mut self.findings {
            let opens = matches!(
                finding.rule.kind(),
                Kind::GetWithoutCreate(_) | Kind::NodesProxy { create: false }
            );
            let state = finding.exposure.state;
            let open = matches!(state, State::Exploitable | State::OpenAtKubelet);
            if opens && open && !finding.builtin {
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
    // Of those that hold in a place, the one that holds longest.
    let longest = |holds: &dyn Fn(&Spec) -> bool| {
        let holding = own.iter().filter(|one| holds(&one.spec));
        holding.max_by_key(|one| one.spec.expires).copied()
    };
    let reach = &finding.reach;
    let mut used: Vec<&Exemption> = Vec::new();
    if matches!(finding.rule.kind(), Kind::NodesProxy { .. }) {
        // Nodes are in no namespace, so none limits an exemption.
        used.push(longest(&|_| true)?);
    } else if !reach.everywhere.is_none() {
        used.push(longest(&|spec| spec.namespaces.is_empty())?);
    } else {
        let namespaces = reach.namespaces.iter();
        for (namespace, _) in namespaces.filter(|(_, names)| !names.is_none()) {
            let one = longest(&|spec| spec.holds_in(namespace))?;
            if !used.contains(&one) {
                used.push(one);
            }
        }
    }
    let end = used.iter().map(|one| one.spec.expires).min()?;
    let reasons: Vec<_> = used
        .iter()
        .map(|one| format!("AccessExemption {}: {}", one.metadata.name, one.spec.reason))
        .collect();
    // It ends with that second, so at midnight the day before was the last.
    let last = end.saturating_sub(SignedDuration::from_nanos(1)).ok()?;
    Some(Suppression {
        by: AcceptedBy::Exemption,
        reason: reasons.join("; "),
        until: Some(last.to_zoned(TimeZone::UTC).date()),
    })
}
