//! What logs say of findings.

use std::collections::HashMap;

use streamway_rbac::{Index, Kind};

use super::{AuditLog, Target, Use, Verb};
use crate::evidence::{self, Evidence};
use crate::finding::Finding;
use crate::reach::Reach;
use crate::report::{Report, Warning};
use crate::subject::SubjectKind;

/// Users that are told for a finding.
const USERS: usize = 20;

impl AuditLog {
    /// Adds to each finding who used it, and to the report what was read. `index` says who would be
    /// refused.
    pub fn join(&self, report: &mut Report, index: &Index) {
        let by_name = self.by_name();
        for finding in &mut report.findings {
            let Some((target, verb)) = wanted(finding.rule.kind()) else {
                continue;
            };
            let name = name(finding);
            let uses = by_name.get(&name).into_iter().flatten();
            let uses = uses.filter(|own| (own.target(), own.verb()) == (target, verb));
            finding.evidence = Some(of_uses(uses.copied(), &finding.reach, index));
        }
        let (from, to) = self.period().unzip();
        report.log = Some(evidence::Log {
            events: self.events(),
            unreadable: self.unreadable().count,
            from,
            to,
        });
        for text in self.complaints() {
            report.warn(Warning {
                text,
                location: None,
                incomplete: false,
            });
        }
    }

    /// Uses by the user and by each of the user's groups.
    fn by_name(&self) -> HashMap<(bool, String), Vec<&Use>> {
        let mut by_name: HashMap<_, Vec<&Use>> = HashMap::new();
        for own in self.uses() {
            let groups = own.groups().iter().map(|group| (true, group.clone()));
            for name in groups.chain([(false, own.user().to_owned())]) {
                by_name.entry(name).or_default().push(own);
            }
        }
        by_name
    }

    fn complaints(&self) -> Vec<String> {
        let mut texts = Vec::new();
        let unreadable = self.unreadable();
        if unreadable.count > 0 {
            let first = unreadable.first.iter();
            let first: Vec<_> = first
                .map(|(source, line)| format!("{source}:{line}"))
                .collect();
            let dots = if unreadable.count > first.len() as u64 {
                ", …"
            } else {
                ""
            };
            let (lines, first) = (unreadable.count, first.join(", "));
            texts.push(format!(
                "{lines} lines of the audit log could not be read: {first}{dots}"
            ));
        }
        if self.other() > 0 {
            let lines = self.other();
            texts.push(format!(
                "{lines} lines of the audit log are JSON and no events of audit.k8s.io: exports of \
                 clouds need the event taken out of their own wrapping"
            ));
        }
        if self.left_out() > 0 {
            let requests = self.left_out();
            texts.push(format!(
                "{requests} requests in the audit log are not counted: there was no room for more users"
            ));
        }
        texts
    }
}

/// Whether it is a group, and the name that a log has for a finding's subject.
fn name(finding: &Finding) -> (bool, String) {
    let subject = &finding.subject;
    let name = match subject.kind {
        SubjectKind::Group => return (true, subject.name.clone()),
        SubjectKind::User => subject.name.clone(),
        SubjectKind::ServiceAccount => {
            format!(
                "system:serviceaccount:{}:{}",
                subject.namespace, subject.name
            )
        }
    };
    (false, name)
}

/// What a log has of a kind's right.
fn wanted(kind: Kind) -> Option<(Target, Verb)> {
    match kind {
        Kind::GetWithoutCreate(stream) => Some((Target::Stream(stream), Verb::Get)),
        Kind::CreateWithoutGet(stream) => Some((Target::Stream(stream), Verb::Create)),
        Kind::NodesProxy { .. } => Some((Target::NodesProxy, Verb::Get)),
        Kind::Detour(_) => None,
    }
}

fn of_uses<'u>(uses: impl Iterator<Item = &'u Use>, reach: &Reach, index: &Index) -> Evidence {
    let mut told = Evidence::default();
    let mut users: HashMap<&str, evidence::Use> = HashMap::new();
    for own in uses {
        let passed = own.passed().min(within(own, reach));
        let (Some((first, last)), 1..) = (own.let_through, passed) else {
            continue;
        };
        told.uses += passed;
        told.first = told.first.into_iter().chain([first]).min();
        told.last = told.last.max(Some(last));
        let refused = own.will_be_refused(index);
        let user = users.entry(own.user()).or_insert_with(|| evidence::Use {
            user: own.user().to_owned(),
            uses: 0,
            last,
            will_be_refused: true,
        });
        user.uses += passed;
        user.last = user.last.max(last);
        user.will_be_refused &= refused;
    }
    let mut users: Vec<_> = users.into_values().collect();
    users.sort_by(|a, b| (b.uses, &a.user).cmp(&(a.uses, &b.user)));
    told.more_users = users.len().saturating_sub(USERS) as u64;
    users.truncate(USERS);
    told.users = users;
    told
}

/// Requests for objects in a reach; those of objects whose names were not kept may be any.
fn within(own: &Use, reach: &Reach) -> u64 {
    let names = reach.names(own.namespace());
    let known = own.names.iter().filter(|(name, _)| names.contains(name));
    let known: u64 = known.map(|(_, count)| count.requests()).sum();
    let others = if names.is_none() {
        0
    } else {
        own.others.requests()
    };
    known + others
}
