//! What changes of roles would do to everybody.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use streamway_rbac::{Index, Policy, Resource};

use super::{Change, object};
use crate::finding::Finding;
use crate::reach::Reach;
use crate::subject::Subject;

/// A right of a subject that a proposal changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    /// Who.
    pub subject: Subject,
    /// The right: `create pods/exec`.
    pub right: String,
    /// Where the subject has it now; nowhere without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Reach>,
    /// Where it will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Reach>,
    /// Whether it is of a finding that is to be mended. Others share a role with one.
    pub wanted: bool,
}

pub(super) fn of(policy: &Policy, changes: &[Change], mended: &[&Finding]) -> Vec<Effect> {
    if changes.is_empty() {
        return Vec::new();
    }
    let before = policy.clone().aggregated();
    let mut after = before.clone();
    for change in changes {
        if let Some(role) = object(&change.role) {
            after.set_rules(&role, &change.rules);
        }
    }
    let (before, after) = (Index::new(before), Index::new(after));
    let (before, after) = (holders(&before), holders(&after));
    let mut effects = Vec::new();
    for key in before
        .keys()
        .chain(after.keys().filter(|key| !before.contains_key(key)))
    {
        let (was, will) = (before.get(key), after.get(key));
        if was == will {
            continue;
        }
        let (subject, right) = key;
        let wanted = mended.iter().any(|finding| finding.subject == *subject);
        effects.push(Effect {
            subject: subject.clone(),
            right: right.clone(),
            before: was.cloned(),
            after: will.cloned(),
            wanted,
        });
    }
    effects
        .sort_by(|a, b| (!a.wanted, &a.subject, &a.right).cmp(&(!b.wanted, &b.subject, &b.right)));
    effects
}

/// Who holds which right, where.
fn holders(index: &Index) -> BTreeMap<(Subject, String), Reach> {
    let holders = index.holders().into_iter();
    let holders = holders.map(|own| {
        let key = (Subject::from(&own.subject), words(own.right));
        (key, Reach::from(&own.reach))
    });
    holders.collect()
}

fn words(right: Resource<'_>) -> String {
    format!("{} {}/{}", right.verb, right.resource, right.subresource)
}
