//! What is wrong with a manifest.

use std::fmt;
use std::sync::Arc;

use super::Place;

/// Something in a manifest that cannot be taken as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub cause: Cause,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.cause)
    }
}

/// What is wrong. Unless [`is_warning`](Self::is_warning), the object or the document was left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Cause {
    /// The text is neither YAML nor JSON.
    #[error("{0}")]
    Syntax(String),
    /// A Helm template that was not rendered.
    #[error("a template that is not rendered: pass the output of `helm template`")]
    Template,
    /// Bytes that are no UTF-8.
    #[error("not UTF-8 text")]
    NotUtf8,
    /// UTF-16, as PowerShell's `>` writes it.
    #[error("UTF-16 text: convert it to UTF-8")]
    Utf16,
    /// A document of more bytes than are read at once.
    #[error("a document of more than {} MiB", .0 >> 20)]
    TooLong(usize),
    /// A document whose aliases stand for more than can be meant.
    #[error("aliases that stand for more than {0} nodes")]
    Aliases(usize),
    /// A key that is there twice in one mapping; the API server refuses it.
    #[error("the key {0} is there twice")]
    TwiceKey(String),
    /// A field that is not of its type.
    #[error("{field} is {found}, not {expected}")]
    Field {
        /// Its path in the object.
        field: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// An object that needs a name.
    #[error("{0} without a name")]
    NoName(&'static str),
    /// A version of the RBAC API that is not known.
    #[error("{0} is no version of the RBAC API: it is rbac.authorization.k8s.io/v1")]
    Version(String),
    /// A version of the RBAC API that API servers no longer serve. The object is read all the same.
    #[error(
        "{version} is gone since Kubernetes 1.{since}: an API server refuses it, write rbac.authorization.k8s.io/v1"
    )]
    Gone {
        /// As written.
        version: String,
        /// Minor version of the first Kubernetes without it.
        since: u32,
    },
    /// A role that is bound, and not among what was read.
    #[error("{0} is bound and not among these manifests: what it gives is not known")]
    NoRole(String),
    /// An object that was read before. The later one counts.
    #[error("{object} again, first in {first}: the later one counts")]
    Twice {
        /// Its kind, namespace and name.
        object: String,
        /// Where the earlier one is.
        first: Place,
    },
}

impl Cause {
    /// Whether the object was read all the same.
    pub fn is_warning(&self) -> bool {
        matches!(
            self,
            Self::Gone { .. } | Self::Twice { .. } | Self::NoRole(_)
        )
    }
}

/// Problems, of which only so many are kept.
#[derive(Debug, Clone, Default)]
pub(super) struct Problems {
    pub(super) kept: Vec<Problem>,
    pub(super) left_out: usize,
}

impl Problems {
    /// Problems that are told one by one.
    const MOST: usize = 1000;

    pub(super) fn add(&mut self, source: &Arc<str>, line: u32, cause: Cause) {
        if self.kept.len() >= Self::MOST {
            self.left_out += 1;
            return;
        }
        let place = Place {
            source: Arc::clone(source),
            line,
        };
        self.kept.push(Problem { place, cause });
    }
}
