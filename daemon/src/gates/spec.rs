//! The table of gates.

/// How far a gate has come, as in Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Off by default, may vanish.
    Alpha,
    /// Usually on by default, can be turned off.
    Beta,
    /// General availability.
    Ga,
}

impl Stage {
    /// The stage as Kubernetes' `--help` and metrics write it; GA is `GA`, where the metric
    /// `kubernetes_feature_enabled` has an empty label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alpha => "ALPHA",
            Self::Beta => "BETA",
            Self::Ga => "GA",
        }
    }
}

/// What is known of a gate.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The name in `--feature-gates`.
    pub name: &'static str,
    /// Whether it is on where nothing is said.
    pub default: bool,
    /// How far it has come.
    pub stage: Stage,
    /// Gates that have to be on where this one is.
    pub depends_on: &'static [FeatureGate],
    /// What it does, in half a line.
    pub doc: &'static str,
}

/// A feature gate.
///
/// The first five are Kubernetes' (`pkg/features/kube_features.go` and
/// `k8s.io/apiserver/pkg/features` of 1.36) with their meaning carried over to our process; the
/// others are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum FeatureGate {
    /// WebSocket v5 is translated to SPDY.
    TranslateStreamCloseWebsocketRequests,
    /// Port-forward is tunnelled through WebSockets.
    PortForwardWebsockets,
    /// A WebSocket GET on `pods/exec`, `attach`, `portforward` needs `create` as well.
    AuthorizePodWebsocketUpgradeCreatePermission,
    /// v5 goes on to kubelets that declare that they speak it.
    ExtendWebSocketsToKubelet,
    /// What kubelets declare in `status.declaredFeatures` is read.
    NodeDeclaredFeatures,
    /// A WebSocket GET on a kubelet's `exec`, `attach`, `run`, `portForward` needs
    /// `create nodes/proxy` as well.
    AuthorizeNodeProxyCreateForStreaming,
    /// One refused forwarded connection does not end the whole port-forward.
    IsolatePortForwardErrors,
}

impl FeatureGate {
    /// Every gate, in the order of `--help`.
    pub const ALL: [Self; 7] = [
        Self::AuthorizeNodeProxyCreateForStreaming,
        Self::AuthorizePodWebsocketUpgradeCreatePermission,
        Self::ExtendWebSocketsToKubelet,
        Self::IsolatePortForwardErrors,
        Self::NodeDeclaredFeatures,
        Self::PortForwardWebsockets,
        Self::TranslateStreamCloseWebsocketRequests,
    ];

    /// The name in `--feature-gates`.
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// What is known of it.
    pub fn spec(self) -> &'static Spec {
        match self {
            Self::TranslateStreamCloseWebsocketRequests => &Spec {
                name: "TranslateStreamCloseWebsocketRequests",
                default: true,
                stage: Stage::Beta,
                depends_on: &[],
                doc: "exec and attach over WebSocket v5 are translated to SPDY",
            },
            Self::PortForwardWebsockets => &Spec {
                name: "PortForwardWebsockets",
                default: true,
                stage: Stage::Beta,
                depends_on: &[],
                doc: "port-forward is tunnelled through WebSockets",
            },
            Self::AuthorizePodWebsocketUpgradeCreatePermission => &Spec {
                name: "AuthorizePodWebsocketUpgradeCreatePermission",
                default: true,
                stage: Stage::Beta,
                depends_on: &[],
                doc: "a WebSocket GET on pods/exec, attach, portforward needs create as well",
            },
            Self::ExtendWebSocketsToKubelet => &Spec {
                name: "ExtendWebSocketsToKubelet",
                default: true,
                stage: Stage::Beta,
                depends_on: &[Self::NodeDeclaredFeatures],
                doc: "WebSockets pass untouched to kubelets that declare that they speak them",
            },
            Self::NodeDeclaredFeatures => &Spec {
                name: "NodeDeclaredFeatures",
                default: true,
                stage: Stage::Beta,
                depends_on: &[],
                doc: "what kubelets declare in their Node's status is read",
            },
            Self::AuthorizeNodeProxyCreateForStreaming => &Spec {
                name: "AuthorizeNodeProxyCreateForStreaming",
                default: true,
                stage: Stage::Beta,
                depends_on: &[],
                doc: "a WebSocket GET on a kubelet's exec, attach, run, portForward needs create \
                      nodes/proxy as well",
            },
            Self::IsolatePortForwardErrors => &Spec {
                name: "IsolatePortForwardErrors",
                default: true,
                stage: Stage::Beta,
                depends_on: &[],
                doc: "one refused forwarded connection does not end the whole port-forward",
            },
        }
    }
}
