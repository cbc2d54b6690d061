//! What can be done about findings.

use std::fmt;

use serde::{Deserialize, Serialize};
use streamway_rbac::Kind;

/// A way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fix {
    /// Which.
    pub kind: FixKind,
    /// What it means for the subject, in a sentence.
    pub text: String,
}

/// Ways out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FixKind {
    /// The subject needs the sessions: give what is missing.
    AddCreate,
    /// The same, of somebody who lacks `get`.
    AddGet,
    /// The subject does not need them: take what opens them.
    DropGet,
    /// It stays as it is, for a reason and for a time.
    Exempt,
}

impl FixKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::AddCreate, Self::AddGet, Self::DropGet, Self::Exempt];

    /// As on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AddCreate => "add-create",
            Self::AddGet => "add-get",
            Self::DropGet => "drop-get",
            Self::Exempt => "exempt",
        }
    }

    /// Those that help with a kind.
    pub(crate) fn of(kind: Kind) -> &'static [Self] {
        match kind {
            Kind::GetWithoutCreate(_) => &[Self::AddCreate, Self::DropGet, Self::Exempt],
            Kind::CreateWithoutGet(_) => &[Self::AddGet],
            Kind::NodesProxy { .. } => &[Self::DropGet],
            Kind::Detour(_) => &[],
        }
    }
}

impl fmt::Display for FixKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The ways out of a kind.
pub(crate) fn fixes(kind: Kind) -> Vec<Fix> {
    let (has, lacks) = (kind.has(), kind.lacks());
    let of = |verb: &str| format!("{verb} on {}/{}", has.resource, has.subresource);
    let fixes = FixKind::of(kind).iter().map(|&fix| {
        let text = match (fix, kind) {
            (FixKind::AddCreate | FixKind::AddGet, _) => {
                let verb = lacks.map_or("create", |lacks| lacks.verb);
                format!("add {} where it gets {}", verb, of(has.verb))
            }
            (FixKind::DropGet, Kind::NodesProxy { .. }) => {
                let instead = "monitoring can do with nodes/metrics, nodes/stats, nodes/log, and from \
                    1.36 on nodes/pods, nodes/healthz, nodes/configz";
                format!("drop {}: {instead}", of("get"))
            }
            (FixKind::DropGet, _) => format!("drop {}: nothing else needs it", of("get")),
            (FixKind::Exempt, _) => "exempt it from the create check, with a reason and an end".into(),
        };
        Fix { kind: fix, text }
    });
    fixes.collect()
}
