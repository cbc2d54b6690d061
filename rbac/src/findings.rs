//! Who has one of the two verbs that a stream needs, and who could get around that.

use crate::audit::Audit;
use crate::index::Index;
use crate::path::Path;
use crate::question::Resource;
use crate::reach::Reach;
use crate::right::{Detour, Right, Stream};
use crate::subject::Subject;

/// Somebody with too much or too little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding<'a> {
    /// What it is.
    pub kind: Kind,
    /// Who, as bindings name them.
    pub subject: Subject,
    /// On which objects.
    pub reach: Reach<'a>,
    /// By which of the subject's own bindings: without them there is no finding.
    pub paths: Vec<Path<'a>>,
}

/// Somebody who may open streams, or half of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder<'a> {
    /// Who, as bindings name them.
    pub subject: Subject,
    /// What the subject's own bindings let it do, without namespace and name.
    pub right: Resource<'static>,
    /// On which objects.
    pub reach: Reach<'a>,
}

/// Kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `get` and not `create`: enough to open a WebSocket where the API server has no create check, and
    /// refused where it has.
    GetWithoutCreate(Stream),
    /// `create` and not `get`: works over SPDY only, after a WebSocket that is refused.
    CreateWithoutGet(Stream),
    /// `get nodes/proxy`: enough to run commands by talking to a kubelet.
    NodesProxy {
        /// Whether it is with `create`, so that the commands are allowed anyway.
        create: bool,
    },
    /// A way around, of somebody who may not open every stream as it is.
    Detour(Detour),
}

impl Kind {
    /// What the subject may do, without namespace and name.
    pub fn has(self) -> Resource<'static> {
        self.right().question()
    }

    /// What the subject may not do, without namespace and name.
    pub fn lacks(self) -> Option<Resource<'static>> {
        let right = match self {
            Self::GetWithoutCreate(stream) => Right::Create(stream),
            Self::CreateWithoutGet(stream) => Right::Get(stream),
            Self::NodesProxy { create: false } => Right::CreateNodesProxy,
            Self::NodesProxy { create: true } | Self::Detour(_) => return None,
        };
        Some(right.question())
    }

    /// What the subject may do.
    pub(crate) fn right(self) -> Right {
        match self {
            Self::GetWithoutCreate(stream) => Right::Get(stream),
            Self::CreateWithoutGet(stream) => Right::Create(stream),
            Self::NodesProxy { .. } => Right::GetNodesProxy,
            Self::Detour(detour) => Right::Detour(detour),
        }
    }
}

impl Index {
    /// All findings, by kind and subject.
    ///
    /// A subject is found for what its own bindings give it, less what it has in any other way that is
    /// known: by `system:authenticated` and the groups of service accounts, and by the groups of
    /// [`Policy::add_groups`](crate::Policy::add_groups). What a group gives is found with the group,
    /// once. `system:masters` is never found: the API server allows its members everything.
    pub fn findings(&self) -> Vec<Finding<'_>> {
        let mut findings = Audit::of(self).findings();
        findings.sort_by(|a, b| (a.kind, &a.subject).cmp(&(b.kind, &b.subject)));
        findings
    }

    /// Who may `get` and who may `create` streams and `nodes/proxy`, by their own bindings, in an order
    /// that does not depend on that of the objects.
    pub fn holders(&self) -> Vec<Holder<'_>> {
        let mut holders = Audit::of(self).holders();
        holders.sort_by(|a, b| {
            let key = |holder: &Holder<'_>| {
                let right = holder.right;
                (right.resource, right.subresource, right.verb)
            };
            (&a.subject, key(a)).cmp(&(&b.subject, key(b)))
        });
        holders
    }
}
