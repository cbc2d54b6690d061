//! The API server in question: its version, and the gates that decide what a right is good for.

use serde::{Deserialize, Serialize};

use crate::version::Version;

/// Asks for `create` as well where a stream is opened with GET.
pub const CREATE_CHECK: &str = "AuthorizePodWebsocketUpgradeCreatePermission";
pub(crate) const EXEC_WEBSOCKETS: &str = "TranslateStreamCloseWebsocketRequests";
pub(crate) const FORWARD_WEBSOCKETS: &str = "PortForwardWebsockets";

/// Gates, and the minor version from which each is on unless somebody turns it off
/// (`pkg/features/kube_features.go` of Kubernetes 1.37).
const GATES: [(&str, u32); 3] = [
    (CREATE_CHECK, 35),
    (FORWARD_WEBSOCKETS, 31),
    (EXEC_WEBSOCKETS, 30),
];

/// What is known of an API server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Its version; none where nobody said, as with manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The gates that matter here, in the order of their names; none without a version, unless told.
    pub gates: Vec<Gate>,
}

/// A feature gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Its name.
    pub name: String,
    /// Whether it is on.
    pub enabled: bool,
    /// How that is known.
    pub origin: Origin,
}

/// How something is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Origin {
    /// It is the version's default.
    Assumed,
    /// The server told it, in `kubernetes_feature_enabled` of its `/metrics`.
    Server,
    /// The caller did.
    Flag,
}

impl Server {
    /// A server of a version, with its default gates.
    pub fn of(version: Option<Version>) -> Self {
        let gates = version.iter().flat_map(|version| {
            GATES.iter().map(|&(name, since)| Gate {
                name: name.to_owned(),
                enabled: version.is_at_least(since),
                origin: Origin::Assumed,
            })
        });
        let gates = gates.collect();
        Self { version, gates }
    }

    /// Whether a gate matters here.
    pub fn knows_gate(name: &str) -> bool {
        GATES.iter().any(|&(known, _)| known == name)
    }

    /// Says what a gate is; one that does not matter is passed over.
    pub fn tell(&mut self, name: &str, enabled: bool, origin: Origin) {
        if !Self::knows_gate(name) {
            return;
        }
        self.gates.retain(|gate| gate.name != name);
        self.gates.push(Gate {
            name: name.to_owned(),
            enabled,
            origin,
        });
        self.gates.sort_by(|a, b| a.name.cmp(&b.name));
    }

    /// Whether a gate is on, if that is known.
    pub fn is_on(&self, name: &str) -> Option<bool> {
        let gate = self.gates.iter().find(|gate| gate.name == name);
        gate.map(|gate| gate.enabled)
    }

    /// Whether it asks for `create` by itself, if that is known.
    pub fn checks_create(&self) -> Option<bool> {
        self.is_on(CREATE_CHECK)
    }

    /// `API server 1.34`, `this API server`.
    pub(crate) fn called(&self) -> String {
        match &self.version {
            Some(version) => format!("API server {}", version.short()),
            None => "this API server".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_follow_the_version_until_told() {
        let table = [
            (None, None),
            (Some("v1.28.15"), Some(false)),
            (Some("v1.34.4"), Some(false)),
            (Some("v1.35.0"), Some(true)),
        ];
        for (version, checks) in table {
            let version = version.map(|text| Version::parse(text).unwrap());
            let mut server = Server::of(version);
            assert_eq!(server.checks_create(), checks);
            server.tell(CREATE_CHECK, false, Origin::Flag);
            assert_eq!(server.checks_create(), Some(false));
            server.tell(CREATE_CHECK, true, Origin::Server);
            assert_eq!(server.checks_create(), Some(true));
            server.tell("SomethingElse", true, Origin::Flag);
            assert_eq!(server.is_on("SomethingElse"), None);
        }
    }
}
