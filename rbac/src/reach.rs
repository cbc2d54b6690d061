//! Where a right reaches: names in namespaces.

use std::collections::BTreeMap;
use std::fmt;

use crate::names::Names;

/// Names in namespaces. Namespaces that nobody has heard of count too: a ClusterRoleBinding reaches them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach<'a> {
    /// In every namespace that is not in `namespaces`; for what has no namespace, in all.
    pub everywhere: Names<'a>,
    /// In these instead. Each differs from `everywhere`; one with no name is an exception.
    pub namespaces: BTreeMap<&'a str, Names<'a>>,
}

impl<'a> Reach<'a> {
    pub(crate) const NOWHERE: Self = Self {
        everywhere: Names::NONE,
        namespaces: BTreeMap::new(),
    };
    pub(crate) const ALL: Self = Self {
        everywhere: Names::ALL,
        namespaces: BTreeMap::new(),
    };

    /// Whether it reaches nothing.
    pub fn is_nowhere(&self) -> bool {
        *self == Self::NOWHERE
    }

    /// The names in a namespace.
    pub fn names(&self, namespace: &str) -> &Names<'a> {
        self.namespaces.get(namespace).unwrap_or(&self.everywhere)
    }

    /// Whether it reaches an object.
    pub fn contains(&self, namespace: &str, name: &str) -> bool {
        self.names(namespace).contains(name)
    }

    /// Adds names in a namespace, empty for everywhere.
    pub(crate) fn add(&mut self, namespace: &'a str, names: &Names<'a>) {
        if !namespace.is_empty() {
            let sum = self.names(namespace).or(names);
            self.set(namespace, sum);
            return;
        }
        let everywhere = self.everywhere.or(names);
        self.namespaces.retain(|_, own| {
            *own = own.or(names);
            *own != everywhere
        });
        self.everywhere = everywhere;
    }

    pub(crate) fn or(&self, other: &Self) -> Self {
        self.with(other, Names::or)
    }

    /// What is left of it without another.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        if self.everywhere.is_none() {
            // The common case, whose cost must not grow with what others have elsewhere.
            let mut left = Self::NOWHERE;
            for (namespace, names) in &self.namespaces {
                left.set(namespace, names.minus(other.names(namespace)));
            }
            return left;
        }
        self.with(other, Names::minus)
    }

    /// It in namespaces where another has any name.
    pub(crate) fn where_any(&self, other: &Self) -> Self {
        self.with(other, |own, others| {
            if others.is_none() {
                Names::NONE
            } else {
                own.clone()
            }
        })
    }

    fn with(&self, other: &Self, join: impl Fn(&Names<'a>, &Names<'a>) -> Names<'a>) -> Self {
        let mut joined = Self {
            everywhere: join(&self.everywhere, &other.everywhere),
            namespaces: BTreeMap::new(),
        };
        for namespace in self.namespaces.keys().chain(other.namespaces.keys()) {
            let names = join(self.names(namespace), other.names(namespace));
            joined.set(namespace, names);
        }
        joined
    }

    fn set(&mut self, namespace: &'a str, names: Names<'a>) {
        if names == self.everywhere {
            self.namespaces.remove(namespace);
        } else {
            self.namespaces.insert(namespace, names);
        }
    }
}

impl fmt::Display for Reach<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_nowhere() {
            return f.write_str("nowhere");
        }
        let mut comma = "";
        if !self.everywhere.is_none() {
            write!(f, "everywhere: {}", self.everywhere)?;
            comma = "; ";
        }
        for (namespace, names) in &self.namespaces {
            write!(f, "{comma}in {namespace}: {names}")?;
            comma = "; ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Objects in namespaces of which the sets below know one, with names of which they know two.
    const OBJECTS: [(&str, &str); 6] = [
        ("n", "a"),
        ("n", "b"),
        ("n", "c"),
        ("m", "a"),
        ("m", "b"),
        ("m", "c"),
    ];

    fn all_names() -> Vec<Names<'static>> {
        let some = [&[][..], &["a"], &["b"], &["a", "b"]];
        let some = some.map(|names| names.iter().copied().collect::<BTreeSet<_>>());
        let only = some.iter().cloned().map(Names::Only);
        only.chain(some.iter().cloned().map(Names::AllBut))
            .collect()
    }

    fn all_reaches() -> Vec<Reach<'static>> {
        let mut reaches = Vec::new();
        for everywhere in all_names() {
            for names in all_names() {
                let mut reach = Reach {
                    everywhere: everywhere.clone(),
                    namespaces: BTreeMap::new(),
                };
                reach.set("n", names);
                reaches.push(reach);
            }
        }
        reaches
    }

    fn check(reach: &Reach<'_>, expected: impl Fn(&str, &str) -> bool, of: &dyn fmt::Debug) {
        for (namespace, name) in OBJECTS {
            let told = reach.contains(namespace, name);
            assert_eq!(
                told,
                expected(namespace, name),
                "{namespace}/{name}: {of:?}"
            );
        }
        let mut own = reach.namespaces.values();
        assert!(own.all(|names| *names != reach.everywhere), "{of:?}");
    }

    #[test]
    fn sets() {
        for a in all_reaches() {
            for b in all_reaches() {
                let of = (&a, &b);
                let (in_a, in_b) = (
                    |n: &str, name: &str| a.contains(n, name),
                    |n: &str, name: &str| b.contains(n, name),
                );
                check(&a.or(&b), |n, name| in_a(n, name) || in_b(n, name), &of);
                check(&a.minus(&b), |n, name| in_a(n, name) && !in_b(n, name), &of);
                let any = |n: &str| !b.names(n).is_none();
                check(&a.where_any(&b), |n, name| in_a(n, name) && any(n), &of);
            }
        }
    }

    #[test]
    fn adding() {
        for before in all_reaches() {
            for names in all_names() {
                for namespace in ["", "n", "m"] {
                    let mut reach = before.clone();
                    reach.add(namespace, &names);
                    let expected = |n: &str, name: &str| {
                        let there = namespace.is_empty() || namespace == n;
                        before.contains(n, name) || (there && names.contains(name))
                    };
                    check(&reach, expected, &(&before, &names, namespace));
                }
            }
        }
    }
}
