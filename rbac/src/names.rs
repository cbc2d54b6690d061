//! Sets of names: some, or all but some.

use std::collections::BTreeSet;
use std::fmt;

/// Names of objects: those that a rule is limited to, or what is left of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names<'a> {
    /// These.
    Only(BTreeSet<&'a str>),
    /// All but these.
    AllBut(BTreeSet<&'a str>),
}

impl<'a> Names<'a> {
    /// No name.
    pub const NONE: Self = Self::Only(BTreeSet::new());
    /// Any name.
    pub const ALL: Self = Self::AllBut(BTreeSet::new());

    /// Whether there is no name in it.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Whether every name is in it.
    pub fn is_all(&self) -> bool {
        *self == Self::ALL
    }

    /// Whether a name is in it.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::Only(names) => names.contains(name),
            Self::AllBut(names) => !names.contains(name),
        }
    }

    pub(crate) fn or(&self, other: &Self) -> Self {
        use Names::{AllBut, Only};
        match (self, other) {
            (Only(a), Only(b)) => Only(a | b),
            (AllBut(a), AllBut(b)) => AllBut(a & b),
            (Only(some), AllBut(missing)) | (AllBut(missing), Only(some)) => AllBut(missing - some),
        }
    }

    pub(crate) fn and(&self, other: &Self) -> Self {
        self.minus(&other.others())
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        use Names::{AllBut, Only};
        match (self, other) {
            (Only(a), Only(b)) => Only(a - b),
            (Only(a), AllBut(b)) => Only(a & b),
            (AllBut(a), Only(b)) => AllBut(a | b),
            (AllBut(a), AllBut(b)) => Only(b - a),
        }
    }

    fn others(&self) -> Self {
        match self {
            Self::Only(names) => Self::AllBut(names.clone()),
            Self::AllBut(names) => Self::Only(names.clone()),
        }
    }
}

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (names, all_but) = match self {
            Self::Only(names) if names.is_empty() => return f.write_str("none"),
            Self::AllBut(names) if names.is_empty() => return f.write_str("all"),
            Self::Only(names) => (names, ""),
            Self::AllBut(names) => (names, "all but "),
        };
        f.write_str(all_but)?;
        for (place, name) in names.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}
