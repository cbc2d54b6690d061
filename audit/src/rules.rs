//! What is looked for: the catalogue, with ids that do not change.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use streamway_rbac::{Detour, Kind, Stream};

/// The id of a rule: `SW001`. It stays what it is in every release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RuleId(Kind);

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Its id.
    pub id: RuleId,
    /// Its name, in words with hyphens: `get-without-create-exec`.
    pub name: &'static str,
    /// What a subject is or may, after its name: `has get but not create on pods/exec`.
    pub says: &'static str,
    /// Why that is looked for, in a sentence or two.
    pub why: &'static str,
}

/// A text that is no rule's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rule's id")]
pub struct UnknownRule(String);

const GET: &str = "A WebSocket is opened with GET, which RBAC knows as get. API servers before 1.35, and \
    later ones whose create check is off, ask for no more.";
const CREATE: &str = "Clients open a WebSocket first, which needs get. It is refused, and the session \
    works over SPDY only, which is going away.";
const NODES: &str = "A kubelet takes a WebSocket that runs commands in any of its pods for get on \
    nodes/proxy, on every version, past the API server's admission and audit log.";
const DETOUR: &str = "It leads to rights that the subject does not have: to somebody else's, or to more \
    of its own.";

/// In the order of ids.
const TABLE: [(&str, Kind, &str, &str, &str); 16] = {
    use Detour::*;
    use Kind::{CreateWithoutGet, GetWithoutCreate, NodesProxy};
    use Stream::{Attach, Exec, PortForward};
    const fn detour(detour: Detour) -> Kind {
        Kind::Detour(detour)
    }
    [
        (
            "SW001",
            GetWithoutCreate(Exec),
            "get-without-create-exec",
            "has get but not create on pods/exec",
            GET,
        ),
        (
            "SW002",
            GetWithoutCreate(Attach),
            "get-without-create-attach",
            "has get but not create on pods/attach",
            GET,
        ),
        (
            "SW003",
            GetWithoutCreate(PortForward),
            "get-without-create-portforward",
            "has get but not create on pods/portforward",
            GET,
        ),
        (
            "SW011",
            CreateWithoutGet(Exec),
            "create-without-get-exec",
            "has create but not get on pods/exec",
            CREATE,
        ),
        (
            "SW012",
            CreateWithoutGet(Attach),
            "create-without-get-attach",
            "has create but not get on pods/attach",
            CREATE,
        ),
        (
            "SW013",
            CreateWithoutGet(PortForward),
            "create-without-get-portforward",
            "has create but not get on pods/portforward",
            CREATE,
        ),
        (
            "SW021",
            NodesProxy { create: false },
            "get-without-create-nodes-proxy",
            "has get but not create on nodes/proxy",
            NODES,
        ),
        (
            "SW022",
            NodesProxy { create: true },
            "get-and-create-nodes-proxy",
            "has get and create on nodes/proxy",
            NODES,
        ),
        (
            "SW031",
            detour(ImpersonateUsers),
            "impersonate-users",
            "may impersonate users",
            DETOUR,
        ),
        (
            "SW032",
            detour(ImpersonateGroups),
            "impersonate-groups",
            "may impersonate groups",
            DETOUR,
        ),
        (
            "SW033",
            detour(ImpersonateServiceAccounts),
            "impersonate-service-accounts",
            "may impersonate service accounts",
            DETOUR,
        ),
        (
            "SW034",
            detour(Token),
            "create-tokens",
            "may create tokens of service accounts",
            DETOUR,
        ),
        (
            "SW035",
            detour(EscalateRoles),
            "escalate-roles",
            "may escalate roles",
            DETOUR,
        ),
        (
            "SW036",
            detour(EscalateClusterRoles),
            "escalate-cluster-roles",
            "may escalate cluster roles",
            DETOUR,
        ),
        (
            "SW037",
            detour(BindRoles),
            "bind-roles",
            "may bind roles",
            DETOUR,
        ),
        (
            "SW038",
            detour(BindClusterRoles),
            "bind-cluster-roles",
            "may bind cluster roles",
            DETOUR,
        ),
    ]
};

impl Rule {
    /// All rules, in the order of their ids.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|&(_, kind, name, says, why)| Self {
            id: RuleId(kind),
            name,
            says,
            why,
        })
    }
}

impl RuleId {
    /// The rule that finds a kind.
    pub fn of(kind: Kind) -> Self {
        Self(kind)
    }

    /// What an index calls it.
    pub fn kind(self) -> Kind {
        self.0
    }

    /// The rule.
    pub fn rule(self) -> Rule {
        Rule::all().find(|rule| rule.id == self).unwrap_or(Rule {
            id: self,
            name: "",
            says: "",
            why: "",
        })
    }

    /// `SW001`.
    pub fn as_str(self) -> &'static str {
        let mut table = TABLE.iter();
        let row = table.find(|(_, kind, ..)| *kind == self.0);
        row.map_or("", |&(id, ..)| id)
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// By id or by name.
impl FromStr for RuleId {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        let mut table = TABLE.iter();
        let row = table.find(|(id, _, name, ..)| id.eq_ignore_ascii_case(text) || *name == text);
        row.map(|&(_, kind, ..)| Self(kind))
            .ok_or_else(|| UnknownRule(text.to_owned()))
    }
}

impl TryFrom<String> for RuleId {
    type Error = UnknownRule;

    fn try_from(text: String) -> Result<Self, UnknownRule> {
        text.parse()
    }
}

impl From<RuleId> for String {
    fn from(id: RuleId) -> Self {
        id.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_rule() {
        let streams = Stream::ALL.into_iter();
        let streams = streams.flat_map(|stream| {
            [
                Kind::GetWithoutCreate(stream),
                Kind::CreateWithoutGet(stream),
            ]
        });
        let nodes = [true, false].map(|create| Kind::NodesProxy { create });
        let detours = Detour::ALL.into_iter().map(Kind::Detour);
        let kinds: Vec<Kind> = streams.chain(nodes).chain(detours).collect();
        assert_eq!(kinds.len(), Rule::all().count());
        for kind in kinds {
            let id = RuleId::of(kind);
            let rule = id.rule();
            assert!(!rule.says.is_empty(), "{kind:?}");
            assert_eq!(id.as_str().parse(), Ok(id));
            assert_eq!(rule.name.parse(), Ok(id));
        }
        assert!("SW999".parse::<RuleId>().is_err());
    }

    #[test]
    fn ids_do_not_change() {
        let ids: Vec<_> = Rule::all().map(|rule| rule.id.as_str()).collect();
        let expected = "SW001 SW002 SW003 SW011 SW012 SW013 SW021 SW022 SW031 SW032 SW033 SW034 SW035 \
            SW036 SW037 SW038";
        assert_eq!(ids.join(" "), expected);
    }
}
