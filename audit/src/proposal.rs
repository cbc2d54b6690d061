//! What would mend findings, as patches, and all that they would do.

mod effects;
mod rules;

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use streamway_rbac::{Object, ObjectKind, Policy};

use crate::finding::{Finding, ObjectRef};
use crate::fix::FixKind;
use crate::location::Location;
use crate::report::API_VERSION;
pub use effects::Effect;
use rules::{Changed, dropped};

/// The kind of proposals.
pub const PROPOSAL_KIND: &str = "AuditProposal";

/// What would mend findings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`PROPOSAL_KIND`].
    pub kind: String,
    /// Which fix.
    pub fix: FixKind,
    /// Roles that change, one change for each.
    pub changes: Vec<Change>,
    /// What would become of everybody's rights: those of the findings, and others that the same roles
    /// are bound to.
    pub effects: Vec<Effect>,
    /// Paths that cannot be mended so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Left>,
}

/// A change of a role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Which.
    pub role: ObjectRef,
    /// Where a rule of it is written that is in question, in a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// RFC 6902. It tests what it changes, so that it is refused where the role changed meanwhile.
    pub patch: Vec<Value>,
    /// All of its rules after it.
    pub rules: Vec<PolicyRule>,
    /// What the API server said to it, where it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<DryRun>,
}

/// What an API server said to a change that it did not keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "result")]
pub enum DryRun {
    /// It would do it.
    Accepted,
    /// It would not.
    Refused {
        /// Why.
        text: String,
    },
}

/// A path that stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// The finding.
    pub title: String,
    /// The path, for people.
    pub path: String,
    /// Why, and what to do instead.
    pub why: String,
}

impl Proposal {
    /// What would mend those of the findings that a fix is for. `policy` is what they were found in.
    ///
    /// [`FixKind::Exempt`] changes no role: it is the caller's to write down.
    pub fn of(fix: FixKind, findings: &[Finding], policy: &Policy) -> Self {
        let mut work = Work {
            fix,
            policy,
            roles: BTreeMap::new(),
            left: Vec::new(),
        };
        let mended = findings.iter().filter(|finding| {
            let mut fixes = finding.fixes.iter();
            finding.suppressed.is_none() && fixes.any(|own| own.kind == fix)
        });
        let mended: Vec<&Finding> = mended.collect();
        for finding in &mended {
            work.take(finding);
        }
        let changes: Vec<Change> = work.roles.into_iter().map(change).collect();
        let effects = effects::of(policy, &changes, &mended);
        Self {
            api_version: API_VERSION.to_owned(),
            kind: PROPOSAL_KIND.to_owned(),
            fix,
            changes,
            effects,
            left: work.left,
        }
    }
}

struct Work<'p> {
    fix: FixKind,
    policy: &'p Policy,
    roles: BTreeMap<ObjectRef, Edit>,
    left: Vec<Left>,
}

/// What is to become of a role.
struct Edit {
    location: Option<Location>,
    before: Vec<PolicyRule>,
    /// By place.
    changed: BTreeMap<usize, Changed>,
    added: Vec<PolicyRule>,
}

impl Work<'_> {
    fn take(&mut self, finding: &Finding) {
        for path in &finding.paths {
            if let Err(why) = self.mend(finding, path) {
                self.left.push(Left {
                    title: finding.title.clone(),
                    path: path.to_string(),
                    why: why.to_owned(),
                });
            }
        }
    }

    fn mend(&mut self, finding: &Finding, path: &crate::finding::Path) -> Result<(), &'static str> {
        let role = object(&path.written_in).ok_or("it is written in no role")?;
        if self.policy.is_aggregated(&role) {
            return Err("its rules are aggregated, and no role is there that they come from");
        }
        let rules = self.policy.rules(&role).ok_or("the role is not there")?;
        let rule = rules.get(path.rule).ok_or("the rule is not there")?.clone();
        let kind = finding.rule.kind();
        let has = kind.has();
        let resource = format!("{}/{}", has.resource, has.subresource);
        let edit = self
            .roles
            .entry(path.written_in.clone())
            .or_insert_with(|| Edit {
                location: path.rule_location.clone(),
                before: rules,
                changed: BTreeMap::new(),
                added: Vec::new(),
            });
        match (self.fix, kind.lacks()) {
            (FixKind::AddCreate | FixKind::AddGet, Some(lacks)) => {
                rules::add(&mut edit.added, lacks.verb, &resource, rule.resource_names);
                Ok(())
            }
            (FixKind::DropGet, _) => {
                let changed = edit.changed.entry(path.rule).or_default();
                let result = dropped(&rule, &resource).map(|()| changed.drop(&resource));
                if edit.is_empty() {
                    self.roles.remove(&path.written_in);
                }
                result
            }
            _ => Err("this fix changes no role"),
        }
    }
}

impl Edit {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.values().all(Changed::is_empty)
    }
}

fn change((role, edit): (ObjectRef, Edit)) -> Change {
    let mut patch = Vec::new();
    let mut rules = edit.before.clone();
    let mut added = edit.added;
    // From the end, so that places stay what they are.
    for (&place, changed) in edit.changed.iter().rev() {
        let Some(before) = edit.before.get(place).filter(|_| !changed.is_empty()) else {
            continue;
        };
        let path = format!("/rules/{place}");
        patch.push(json!({"op": "test", "path": path, "value": before}));
        let (kept, apart) = changed.apply(before);
        added.extend(apart);
        match kept {
            Some(kept) => {
                patch.push(json!({"op": "replace", "path": path, "value": kept}));
                if let Some(rule) = rules.get_mut(place) {
                    *rule = kept;
                }
            }
            None => {
                patch.push(json!({"op": "remove", "path": path}));
                rules.remove(place);
            }
        }
    }
    for rule in added {
        patch.push(json!({"op": "add", "path": "/rules/-", "value": rule}));
        rules.push(rule);
    }
    Change {
        role,
        location: edit.location,
        patch,
        rules,
        dry_run: None,
    }
}

/// A role for a policy.
fn object(role: &ObjectRef) -> Option<Object<'_>> {
    let kind = match role.kind.as_str() {
        "Role" => ObjectKind::Role,
        "ClusterRole" => ObjectKind::ClusterRole,
        _ => return None,
    };
    Some(Object {
        kind,
        namespace: &role.namespace,
        name: &role.name,
    })
}
