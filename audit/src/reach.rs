//! Where a right reaches, in reports.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use streamway_rbac as rbac;

/// Names in namespaces, as [`rbac::Reach`] has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// In every namespace that is not in `namespaces`; for what has no namespace, in all.
    pub everywhere: Names,
    /// In these instead; one with no name is an exception.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub namespaces: BTreeMap<String, Names>,
}

/// Names of objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Names {
    /// These.
    Only(BTreeSet<String>),
    /// All but these.
    AllBut(BTreeSet<String>),
}

impl Reach {
    /// The names in a namespace.
    pub fn names(&self, namespace: &str) -> &Names {
        self.namespaces.get(namespace).unwrap_or(&self.everywhere)
    }

    /// Whether it reaches anything in a namespace.
    pub fn meets(&self, namespace: &str) -> bool {
        !self.names(namespace).is_none()
    }

    /// Whether another reaches all that it does.
    pub fn is_within(&self, other: &Self) -> bool {
        let namespaces = self.namespaces.keys().chain(other.namespaces.keys());
        let mut namespaces = namespaces.map(String::as_str);
        self.everywhere.is_within(&other.everywhere)
            && namespaces.all(|own| self.names(own).is_within(other.names(own)))
    }
}

impl Names {
    /// Whether there is no name in it.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::Only(names) if names.is_empty())
    }

    /// Whether every name is in it.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::AllBut(names) if names.is_empty())
    }

    /// Whether a name is in it.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::Only(names) => names.contains(name),
            Self::AllBut(names) => !names.contains(name),
        }
    }

    /// Whether all its names are another's.
    pub fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Only(own), other) => own.iter().all(|name| other.contains(name)),
            (Self::AllBut(own), Self::AllBut(others)) => others.is_subset(own),
            (Self::AllBut(_), Self::Only(_)) => false,
        }
    }
}

impl From<&rbac::Reach<'_>> for Reach {
    fn from(reach: &rbac::Reach<'_>) -> Self {
        let namespaces = reach.namespaces.iter();
        let namespaces = namespaces.map(|(&namespace, names)| (namespace.to_owned(), names.into()));
        Self {
            everywhere: (&reach.everywhere).into(),
            namespaces: namespaces.collect(),
        }
    }
}

impl From<&rbac::Names<'_>> for Names {
    fn from(names: &rbac::Names<'_>) -> Self {
        let owned = |names: &BTreeSet<&str>| names.iter().map(|&name| name.to_owned()).collect();
        match names {
            rbac::Names::Only(names) => Self::Only(owned(names)),
            rbac::Names::AllBut(names) => Self::AllBut(owned(names)),
        }
    }
}

/// For people: `everywhere`, `in a, b`, `everywhere but in a`, `in a (only web)`.
impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (without, with): (Vec<_>, Vec<_>) = self
            .namespaces
            .iter()
            .partition(|(_, names)| names.is_none());
        if !self.everywhere.is_none() {
            write!(f, "everywhere{}", Limit(&self.everywhere))?;
            for (place, (namespace, _)) in without.iter().enumerate() {
                let before = if place == 0 { " but in " } else { ", " };
                write!(f, "{before}{namespace}")?;
            }
            if !with.is_empty() {
                f.write_str("; ")?;
            }
        } else if with.is_empty() {
            return f.write_str("nowhere");
        }
        for (place, (namespace, names)) in with.iter().enumerate() {
            let before = if place == 0 { "in " } else { ", " };
            write!(f, "{before}{namespace}{}", Limit(names))?;
        }
        Ok(())
    }
}

/// ` (only a, b)`, ` (all but a)`; nothing for all names.
struct Limit<'a>(&'a Names);

impl fmt::Display for Limit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, names) = match self.0 {
            Names::AllBut(names) if names.is_empty() => return Ok(()),
            Names::AllBut(names) => ("all but", names),
            Names::Only(names) => ("only", names),
        };
        write!(f, " ({before} ")?;
        for (place, name) in names.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{name}")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a,b`, `!a` for all but a, `*` for all.
    fn names(text: &str) -> Names {
        let set = |text: &str| {
            let names = text.split(',').filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        };
        match text.strip_prefix('!') {
            Some(rest) => Names::AllBut(set(rest)),
            None if text == "*" => Names::AllBut(BTreeSet::new()),
            None => Names::Only(set(text)),
        }
    }

    /// The first is everywhere's, the others are `NAMESPACE=NAMES`.
    fn reach(texts: &[&str]) -> Reach {
        let (everywhere, rest) = texts.split_first().unwrap();
        let namespaces = rest.iter().map(|text| {
            let (namespace, own) = text.split_once('=').unwrap();
            (namespace.to_owned(), names(own))
        });
        Reach {
            everywhere: names(everywhere),
            namespaces: namespaces.collect(),
        }
    }

    #[test]
    fn words() {
        let table: [(&[&str], &str); 8] = [
            (&[""], "nowhere"),
            (&["*"], "everywhere"),
            (&["*", "a=", "b="], "everywhere but in a, b"),
            (&["", "a=*", "b=*"], "in a, b"),
            (&["", "a=web", "b=!db"], "in a (only web), b (all but db)"),
            (&["web"], "everywhere (only web)"),
            (
                &["*", "a=", "b=!x"],
                "everywhere but in a; in b (all but x)",
            ),
            (&["x", "a=*"], "everywhere (only x); in a"),
        ];
        for (texts, expected) in table {
            assert_eq!(reach(texts).to_string(), expected);
        }
    }

    #[test]
    fn what_is_within_what() {
        let ordered: [&[&str]; 5] = [&[""], &["", "a=web"], &["", "a=*"], &["*", "b="], &["*"]];
        for (i, smaller) in ordered.iter().enumerate() {
            for (j, larger) in ordered.iter().enumerate() {
                let within = reach(smaller).is_within(&reach(larger));
                assert_eq!(within, i <= j, "{smaller:?} in {larger:?}");
            }
        }
        // Neither is within the other.
        let (a, b) = (reach(&["", "a=*"]), reach(&["", "b=*"]));
        assert!(!a.is_within(&b) && !b.is_within(&a));
        assert!(reach(&["!x,y"]).is_within(&reach(&["!x"])));
        assert!(!reach(&["!x"]).is_within(&reach(&["!x,y"])));
    }
}
