//! The rights that findings are about.

use crate::question::Resource;

/// What opens a stream into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// `pods/exec`.
    Exec,
    /// `pods/attach`.
    Attach,
    /// `pods/portforward`.
    PortForward,
}

impl Stream {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Exec, Self::Attach, Self::PortForward];

    /// The subresource of pods.
    pub fn subresource(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
        }
    }
}

/// Ways to somebody else's rights, or to more of one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detour {
    /// `impersonate` on users: act as one.
    ImpersonateUsers,
    /// `impersonate` on groups: act as a member, together with a user that may be impersonated.
    ImpersonateGroups,
    /// `impersonate` on service accounts: act as one.
    ImpersonateServiceAccounts,
    /// `create` on serviceaccounts/token: log in as a service account.
    Token,
    /// `escalate` on roles: write any rule into one that may be written.
    EscalateRoles,
    /// `escalate` on clusterroles.
    EscalateClusterRoles,
    /// `bind` on roles: bind one without having its rights, where bindings may be written.
    BindRoles,
    /// `bind` on clusterroles.
    BindClusterRoles,
}

impl Detour {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ImpersonateUsers,
        Self::ImpersonateGroups,
        Self::ImpersonateServiceAccounts,
        Self::Token,
        Self::EscalateRoles,
        Self::EscalateClusterRoles,
        Self::BindRoles,
        Self::BindClusterRoles,
    ];
}

/// A verb on a resource, in any namespace and of any name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right {
    Get(Stream),
    Create(Stream),
    GetNodesProxy,
    CreateNodesProxy,
    Detour(Detour),
}

impl Right {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let streams = Stream::ALL.into_iter();
        let streams = streams.flat_map(|stream| [Self::Get(stream), Self::Create(stream)]);
        let nodes = [Self::GetNodesProxy, Self::CreateNodesProxy];
        let detours = Detour::ALL.into_iter().map(Self::Detour);
        streams.chain(nodes).chain(detours)
    }

    /// A bit of its own.
    pub(crate) fn bit(self) -> u32 {
        let place = match self {
            Self::Get(stream) => stream as u32,
            Self::Create(stream) => 3 + stream as u32,
            Self::GetNodesProxy => 6,
            Self::CreateNodesProxy => 7,
            Self::Detour(detour) => 8 + detour as u32,
        };
        1 << place
    }

    /// Its question, without namespace and name.
    pub(crate) fn question(self) -> Resource<'static> {
        let core = |verb, resource, subresource| Resource {
            verb,
            resource,
            subresource,
            ..Resource::default()
        };
        let rbac = |verb, resource| Resource {
            verb,
            group: "rbac.authorization.k8s.io",
            resource,
            ..Resource::default()
        };
        match self {
            Self::Get(stream) => core("get", "pods", stream.subresource()),
            Self::Create(stream) => core("create", "pods", stream.subresource()),
            Self::GetNodesProxy => core("get", "nodes", "proxy"),
            Self::CreateNodesProxy => core("create", "nodes", "proxy"),
            Self::Detour(detour) => match detour {
                Detour::ImpersonateUsers => core("impersonate", "users", ""),
                Detour::ImpersonateGroups => core("impersonate", "groups", ""),
                Detour::ImpersonateServiceAccounts => core("impersonate", "serviceaccounts", ""),
                Detour::Token => core("create", "serviceaccounts", "token"),
                Detour::EscalateRoles => rbac("escalate", "roles"),
                Detour::EscalateClusterRoles => rbac("escalate", "clusterroles"),
                Detour::BindRoles => rbac("bind", "roles"),
                // Asked for in the namespace of the binding, empty for a ClusterRoleBinding.
                Detour::BindClusterRoles => rbac("bind", "clusterroles"),
            },
        }
    }

    /// Whether it is asked for without a namespace, so that no RoleBinding gives it.
    pub(crate) fn is_cluster_wide(self) -> bool {
        matches!(
            self,
            Self::GetNodesProxy
                | Self::CreateNodesProxy
                | Self::Detour(
                    Detour::ImpersonateUsers
                        | Detour::ImpersonateGroups
                        | Detour::EscalateClusterRoles
                )
        )
    }
}
