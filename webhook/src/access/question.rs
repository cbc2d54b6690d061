//! Who wants what.

use std::collections::BTreeMap;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use serde::Deserialize;
use streamway_crds::ExemptResource;

/// What a session is opened by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// `pods/exec`.
    Exec,
    /// `pods/attach`.
    Attach,
    /// `pods/portforward`.
    Portforward,
    /// `nodes/proxy`: a kubelet's API, in which a command is a GET as well.
    NodesProxy,
}

impl Target {
    /// The target of a subresource of the core group; none for what opens no session.
    pub(crate) fn of(resource: &str, subresource: &str) -> Option<Self> {
        match (resource, subresource) {
            ("pods", "exec") => Some(Self::Exec),
            ("pods", "attach") => Some(Self::Attach),
            ("pods", "portforward") => Some(Self::Portforward),
            ("nodes", "proxy") => Some(Self::NodesProxy),
            _ => None,
        }
    }

    /// As in a Role's rules.
    pub(crate) fn resource(self) -> &'static str {
        match self {
            Self::Exec => "pods/exec",
            Self::Attach => "pods/attach",
            Self::Portforward => "pods/portforward",
            Self::NodesProxy => "nodes/proxy",
        }
    }

    /// For metrics.
    pub(crate) fn subresource(self) -> &'static str {
        self.parts().1
    }

    /// Resource and subresource.
    pub(crate) fn parts(self) -> (&'static str, &'static str) {
        let parts = self.resource().split_once('/');
        parts.unwrap_or_default()
    }

    /// As in an AccessExemption.
    pub(super) fn exempt(self) -> ExemptResource {
        match self {
            Self::Exec => ExemptResource::PodsExec,
            Self::Attach => ExemptResource::PodsAttach,
            Self::Portforward => ExemptResource::PodsPortforward,
            Self::NodesProxy => ExemptResource::NodesProxy,
        }
    }
}

/// A user as API servers tell of one, in reviews of either kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
pub(crate) struct User {
    /// The name.
    #[serde(default, rename = "username", alias = "user")]
    pub(crate) name: String,
    /// The UID, where the authenticator knows one.
    #[serde(default)]
    pub(crate) uid: String,
    /// The groups.
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    /// What else the authenticator knows; authorizers may look at it.
    #[serde(default)]
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

/// Whether somebody may open a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    /// Who.
    pub(crate) user: User,
    /// By what.
    pub(crate) target: Target,
    /// The pod's namespace; empty for a node, and for all namespaces at once.
    pub(crate) namespace: String,
    /// The pod or the node; empty for all at once.
    pub(crate) name: String,
}

impl Question {
    /// Whether they may `create` it, as the API server is asked.
    pub(super) fn create(&self) -> SubjectAccessReview {
        let (resource, subresource) = self.target.parts();
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let user = &self.user;
        SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: some(&user.name),
                uid: some(&user.uid),
                groups: Some(user.groups.clone()).filter(|groups| !groups.is_empty()),
                extra: Some(user.extra.clone()).filter(|extra| !extra.is_empty()),
                resource_attributes: Some(ResourceAttributes {
                    verb: some("create"),
                    version: some("v1"),
                    resource: some(resource),
                    subresource: some(subresource),
                    namespace: some(&self.namespace),
                    name: some(&self.name),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        }
    }

    /// What is told to somebody who is refused: what they lack, and the rule that would give it.
    pub(crate) fn remedy(&self) -> String {
        let (user, resource) = (&self.user.name, self.target.resource());
        let rule = format!("{{apiGroups: [\"\"], resources: [{resource}], verbs: [create]}}");
        if self.target == Target::NodesProxy {
            return format!(
                "{user} may not create nodes/proxy, and get on it runs commands in every pod of the node; \
                 add to a ClusterRole that they have: {rule}, or ask for what they need of nodes/metrics, \
                 nodes/stats, nodes/log, nodes/pods, nodes/healthz and nodes/configz"
            );
        }
        let place = match self.namespace.as_str() {
            "" => "all namespaces".to_owned(),
            namespace => format!("namespace {namespace}"),
        };
        format!(
            "{user} may not create {resource} in {place}, and a session needs create as well as get; add \
             to a Role that they have: {rule}"
        )
    }

    /// Bytes that remembering it takes, about.
    pub(super) fn weight(&self) -> u32 {
        let user = &self.user;
        let extra = user.extra.iter();
        let extra = extra.map(|(key, values)| key.len() + lengths(values));
        let text = user.name.len() + user.uid.len() + self.namespace.len() + self.name.len();
        let all = text + lengths(&user.groups) + extra.sum::<usize>() + OVERHEAD;
        u32::try_from(all).unwrap_or(u32::MAX)
    }
}

/// Of an entry of the cache: what its strings' and lists' own fields take.
const OVERHEAD: usize = 400;

fn lengths(texts: &[String]) -> usize {
    let each = texts.iter();
    each.map(|text| text.len() + size_of::<String>()).sum()
}
