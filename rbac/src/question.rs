//! What is asked, in the words of a `SubjectAccessReview`.

use crate::symbol::{Symbol, Symbols};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question<'a> {
    /// A verb on an object or a collection.
    Resource(Resource<'a>),
    /// A verb on a path that is no resource: `/metrics`, `/healthz`.
    Url {
        /// The request's method in lower case.
        verb: &'a str,
        /// The path, from `/` on.
        path: &'a str,
    },
}

/// A verb on an object or a collection. A field that does not apply is empty.
///
/// ```
/// # use streamway_rbac::Resource;
/// let exec = Resource {
///     verb: "get",
///     resource: "pods",
///     subresource: "exec",
///     namespace: "default",
///     name: "box",
///     ..Resource::default()
/// };
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resource<'a> {
    /// `get`, `list`, `create` …; `*` asks for all verbs at once.
    pub verb: &'a str,
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The resource in the plural: `pods`.
    pub resource: &'a str,
    /// What stands behind the name in the path: `exec`.
    pub subresource: &'a str,
    /// The object's namespace; empty for objects without one, and for all namespaces.
    pub namespace: &'a str,
    /// The object's name. The API server knows none for `create` of a whole object, and for `list`,
    /// `watch` and `deletecollection` only where the request's field selector is
    /// `metadata.name=NAME`. So a rule with `resourceNames` gives none of these otherwise.
    pub name: &'a str,
}

/// A question in a policy's symbols; `None` is a string that the policy does not have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) verb: Option<Symbol>,
    pub(crate) about: About<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum About<'a> {
    Resource {
        group: Option<Symbol>,
        /// `pods` or `pods/exec`.
        resource: Option<Symbol>,
        /// `*/exec`, where there is a subresource.
        any_resource: Option<Symbol>,
        name: Option<Symbol>,
    },
    Url(&'a str),
}

impl<'a> Question<'a> {
    /// The namespace whose RoleBindings count; empty for none.
    pub(crate) fn namespace(&self) -> &'a str {
        match self {
            Self::Resource(resource) => resource.namespace,
            Self::Url { .. } => "",
        }
    }

    pub(crate) fn asked(&self, symbols: &Symbols) -> Asked<'a> {
        match *self {
            Self::Resource(asked) => asked.asked(symbols),
            Self::Url { verb, path } => Asked {
                verb: symbols.find(verb),
                about: About::Url(path),
            },
        }
    }
}

impl Resource<'_> {
    pub(crate) fn asked<'q>(&self, symbols: &Symbols) -> Asked<'q> {
        let (resource, any_resource) = if self.subresource.is_empty() {
            (symbols.find(self.resource), None)
        } else {
            let under = |parent: &str| symbols.find(&format!("{parent}/{}", self.subresource));
            (under(self.resource), under("*"))
        };
        Asked {
            verb: symbols.find(self.verb),
            about: About::Resource {
                group: symbols.find(self.group),
                resource,
                any_resource,
                name: symbols.find(self.name),
            },
        }
    }
}
