//! The search for findings: one pass over all grants, one over all subjects that have any of the rights.

use std::collections::BTreeMap;

use crate::findings::{Finding, Holder, Kind};
use crate::index::{Grant, Index};
use crate::names::Names;
use crate::path::Path;
use crate::reach::Reach;
use crate::right::{Detour, Right, Stream};
use crate::rule::Rule;
use crate::subject::{Key, MASTERS, Subject};
use crate::symbol::Symbol;

/// What every subject has of the rights in question.
pub(crate) struct Audit<'a> {
    index: &'a Index,
    /// By rule, the bits of the rights that it gives.
    rights: Vec<u32>,
    held: BTreeMap<Key, Held<'a>>,
}

/// What a subject's own bindings give it: by bit, what is somewhere.
type Held<'a> = BTreeMap<u32, Reach<'a>>;

impl<'a> Audit<'a> {
    pub(crate) fn of(index: &'a Index) -> Self {
        let asked = Right::all().map(|right| (right.bit(), right.question().asked(&index.symbols)));
        let asked: Vec<_> = asked.collect();
        let rights = index.rules.iter().map(|rule| {
            let covered = asked.iter();
            let covered = covered.filter(|(_, asked)| rule.covers(asked, &index.symbols));
            covered.map(|(bit, _)| bit).sum()
        });
        let mut audit = Self {
            index,
            rights: rights.collect(),
            held: BTreeMap::new(),
        };
        for grant in &index.grants {
            audit.take(grant);
        }
        audit
    }

    fn take(&mut self, grant: &Grant) {
        let namespace = self.index.symbols.text(grant.namespace);
        for (written, rule) in self.index.rules_of(grant) {
            let given = self.given(written.rule.place(), grant.namespace);
            if given == 0 {
                continue;
            }
            let names = self.names(rule);
            let held = self.held.entry(grant.to).or_default();
            for bit in Right::all().map(Right::bit).filter(|bit| given & bit != 0) {
                let reach = held.entry(bit).or_insert(Reach::NOWHERE);
                reach.add(namespace, &names);
            }
        }
    }

    /// The rights that a rule gives by a binding in a namespace.
    fn given(&self, rule: usize, namespace: Symbol) -> u32 {
        let rights = self.rights.get(rule).copied().unwrap_or_default();
        if namespace == Symbol::EMPTY || rights == 0 {
            return rights;
        }
        let lost = Right::all().filter(|right| right.is_cluster_wide());
        rights & !lost.map(Right::bit).sum::<u32>()
    }

    fn names(&self, rule: &Rule) -> Names<'a> {
        if rule.names().is_empty() {
            return Names::ALL;
        }
        let names = rule.names().iter();
        let names = names.map(|&name| self.index.symbols.text(name));
        // Nothing that these rights are asked for is without a name.
        Names::Only(names.filter(|name| !name.is_empty()).collect())
    }

    pub(crate) fn findings(&self) -> Vec<Finding<'a>> {
        let masters = self.index.symbols.find(MASTERS).map(Key::Group);
        let mut findings = Vec::new();
        for &key in self.held.keys() {
            let subject = self.index.subject(key);
            let all = self.all(key, &subject);
            if all.iter().any(|&key| Some(key) == masters) {
                continue;
            }
            let mut found = self.streams(&all, key);
            found.extend(self.nodes(&all, key));
            found.extend(self.detours(&all, key));
            found.retain(|(_, reach)| !reach.is_nowhere());
            findings.extend(found.into_iter().map(|(kind, reach)| Finding {
                kind,
                subject: subject.clone(),
                paths: self.paths(key, kind.right(), &reach),
                reach,
            }));
        }
        findings
    }

    pub(crate) fn holders(self) -> Vec<Holder<'a>> {
        let rights = Right::all().filter(|right| !matches!(right, Right::Detour(_)));
        let rights: Vec<Right> = rights.collect();
        let mut holders = Vec::new();
        for (key, mut held) in self.held {
            let subject = self.index.subject(key);
            holders.extend(rights.iter().filter_map(|right| {
                let reach = held.remove(&right.bit())?;
                Some(Holder {
                    subject: subject.clone(),
                    right: right.question(),
                    reach,
                })
            }));
        }
        holders
    }

    fn streams(&self, all: &[Key], key: Key) -> Vec<(Kind, Reach<'a>)> {
        let mut found = Vec::new();
        for stream in Stream::ALL {
            let (get, create) = (Right::Get(stream), Right::Create(stream));
            let get_only = self.without(self.own(key, get), all, create);
            found.push((Kind::GetWithoutCreate(stream), get_only));
            let create_only = self.without(self.own(key, create), all, get);
            found.push((Kind::CreateWithoutGet(stream), create_only));
        }
        found
    }

    fn nodes(&self, all: &[Key], key: Key) -> [(Kind, Reach<'a>); 2] {
        let get = self.own(key, Right::GetNodesProxy);
        let only = self.without(get.clone(), all, Right::CreateNodesProxy);
        let both = get.minus(&only);
        [
            (Kind::NodesProxy { create: false }, only),
            (Kind::NodesProxy { create: true }, both),
        ]
    }

    fn detours(&self, all: &[Key], key: Key) -> Vec<(Kind, Reach<'a>)> {
        let own = Detour::ALL.map(|detour| (detour, self.own(key, Right::Detour(detour))));
        if own.iter().all(|(_, reach)| reach.is_nowhere()) {
            return Vec::new();
        }
        // Whoever may open every stream gains none by a detour.
        let streams = Stream::ALL.into_iter();
        let rights = streams.flat_map(|stream| [Right::Get(stream), Right::Create(stream)]);
        let lacking = rights.fold(Reach::NOWHERE, |lacking, right| {
            lacking.or(&self.without(Reach::ALL, all, right))
        });
        let leads = |(detour, reach): (Detour, Reach<'a>)| {
            let leads = match Right::Detour(detour).is_cluster_wide() {
                true if lacking.is_nowhere() => Reach::NOWHERE,
                true => reach,
                false => reach.where_any(&lacking),
            };
            (Kind::Detour(detour), leads)
        };
        own.into_iter().map(leads).collect()
    }

    /// What a subject's own bindings give it of a right.
    fn own(&self, key: Key, right: Right) -> Reach<'a> {
        let reach = self.reach(key, right);
        reach.cloned().unwrap_or(Reach::NOWHERE)
    }

    /// A reach, less what any of `all` gives of a right.
    fn without(&self, mut reach: Reach<'a>, all: &[Key], right: Right) -> Reach<'a> {
        for other in all.iter().filter_map(|key| self.reach(*key, right)) {
            reach = reach.minus(other);
        }
        reach
    }

    /// A key, and the groups that everybody is in whom it stands for, or is known to be.
    fn all(&self, key: Key, subject: &Subject) -> Vec<Key> {
        let implied = subject.implied_groups();
        let implied = implied
            .iter()
            .filter_map(|group| self.index.symbols.find(group));
        let known = match key {
            Key::User(name) => self.index.groups.get(&name),
            Key::Group(_) => None,
        };
        let known = known.into_iter().flatten().copied();
        let groups = implied.chain(known).map(Key::Group);
        [key].into_iter().chain(groups).collect()
    }

    fn reach(&self, key: Key, right: Right) -> Option<&Reach<'a>> {
        self.held.get(&key)?.get(&right.bit())
    }

    /// The ways by which a subject has a right anywhere in a reach.
    fn paths(&self, key: Key, right: Right, reach: &Reach<'a>) -> Vec<Path<'a>> {
        let mut paths = Vec::new();
        for grant in self.index.grants_of(key, None) {
            let namespace = self.index.symbols.text(grant.namespace);
            for (written, rule) in self.index.rules_of(grant) {
                let given = self.given(written.rule.place(), grant.namespace);
                if given & right.bit() != 0 && meets(namespace, &self.names(rule), reach) {
                    paths.extend(self.index.path(grant, written));
                }
            }
        }
        paths
    }
}

/// Whether names in a namespace, empty for everywhere, are any of a reach.
fn meets(namespace: &str, names: &Names<'_>, reach: &Reach<'_>) -> bool {
    let some = |others: &Names<'_>| !names.and(others).is_none();
    if !namespace.is_empty() {
        return some(reach.names(namespace));
    }
    some(&reach.everywhere) || reach.namespaces.values().any(some)
}
