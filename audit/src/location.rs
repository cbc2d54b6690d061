//! Where things are written.

use std::fmt;

use serde::{Deserialize, Serialize};
use streamway_rbac::Path;

use crate::manifests::{Place, Places};

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    /// The file's name, as it was given; `-` for standard input.
    pub file: String,
    /// From 1.
    pub line: u32,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Knows where the parts of a path are written.
pub trait Locate {
    /// The path's subject in its binding; the binding, if no more is known.
    fn subject(&self, path: &Path<'_>) -> Option<Location>;

    /// The path's rule.
    fn rule(&self, path: &Path<'_>) -> Option<Location>;
}

/// For objects of a cluster, which no file holds.
#[derive(Debug, Clone, Copy)]
pub struct Nowhere;

impl Locate for Nowhere {
    fn subject(&self, _path: &Path<'_>) -> Option<Location> {
        None
    }

    fn rule(&self, _path: &Path<'_>) -> Option<Location> {
        None
    }
}

impl Locate for Places {
    fn subject(&self, path: &Path<'_>) -> Option<Location> {
        let place = Self::subject(self, path);
        let binding = || self.object(&path.binding).cloned();
        place.or_else(binding).map(Location::from)
    }

    fn rule(&self, path: &Path<'_>) -> Option<Location> {
        Self::rule(self, path).map(Location::from)
    }
}

impl From<Place> for Location {
    fn from(place: Place) -> Self {
        Self {
            file: place.source.to_string(),
            line: place.line,
        }
    }
}
