//! What of an audit event counts here: `audit.k8s.io/v1`, of k8s.io/apiserver v0.37.

use jiff::Timestamp;
use serde::Deserialize;
use streamway_rbac::Stream;

use super::{Target, Verb};

/// A line of a log: an event, or as a webhook backend is sent them, a list of events.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Event {
    kind: String,
    api_version: String,
    items: Vec<Self>,
    stage: String,
    verb: String,
    user: User,
    impersonated_user: Option<User>,
    user_agent: String,
    object_ref: Option<ObjectRef>,
    response_status: Option<Status>,
    request_received_timestamp: Option<Timestamp>,
    stage_timestamp: Option<Timestamp>,
    annotations: Annotations,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct User {
    pub(super) username: String,
    pub(super) groups: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ObjectRef {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
    api_group: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "authorization.k8s.io/reason")]
    reason: Option<String>,
    #[serde(rename = "validation.policy.admission.k8s.io/validation_failure")]
    failures: Option<String>,
}

/// An entry of that annotation, which is a list of them in JSON.
#[derive(Debug, Deserialize)]
struct Failure {
    policy: String,
}

/// A request for one of the targets.
#[derive(Debug)]
pub(super) struct Request {
    /// Who it was for: whom somebody impersonated, if so.
    pub(super) user: User,
    pub(super) impersonator: Option<String>,
    pub(super) verb: Verb,
    pub(super) target: Target,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) code: u16,
    /// Whether the session is over: one that is not is told at its start too.
    pub(super) complete: bool,
    pub(super) at: Timestamp,
    pub(super) user_agent: String,
    pub(super) reason: Option<String>,
    /// Policies that would have refused it.
    pub(super) policies: Vec<String>,
}

impl Event {
    /// The events of a line; none where it holds something else.
    pub(super) fn all(self) -> Option<Vec<Self>> {
        let (group, _) = self.api_version.split_once('/')?;
        match self.kind.as_str() {
            "EventList" if group == "audit.k8s.io" => Some(self.items),
            "Event" if group == "audit.k8s.io" => Some(vec![self]),
            _ => None,
        }
    }

    /// When it came.
    pub(super) fn at(&self) -> Option<Timestamp> {
        self.request_received_timestamp.or(self.stage_timestamp)
    }

    /// The request, if it is for one of the targets and was answered.
    pub(super) fn request(self) -> Option<Request> {
        let at = self.at()?;
        let object = self.object_ref?;
        if !object.api_group.is_empty() {
            return None;
        }
        let target = match (object.resource.as_str(), object.subresource.as_str()) {
            ("pods", subresource) => {
                let mut streams = Stream::ALL.into_iter();
                Target::Stream(streams.find(|stream| stream.subresource() == subresource)?)
            }
            ("nodes", "proxy") => Target::NodesProxy,
            _ => return None,
        };
        let verb = match self.verb.as_str() {
            "get" => Verb::Get,
            "create" => Verb::Create,
            _ => return None,
        };
        let complete = match self.stage.as_str() {
            "ResponseStarted" => false,
            "ResponseComplete" | "Panic" => true,
            _ => return None,
        };
        let (user, impersonator) = match self.impersonated_user {
            Some(user) => (user, Some(self.user.username)),
            None => (self.user, None),
        };
        let failures = self.annotations.failures.as_deref().unwrap_or("[]");
        let failures: Vec<Failure> = serde_json::from_str(failures).unwrap_or_default();
        Some(Request {
            user,
            impersonator,
            verb,
            target,
            namespace: object.namespace,
            name: object.name,
            code: self.response_status?.code,
            complete,
            at,
            user_agent: self.user_agent,
            reason: self.annotations.reason,
            policies: failures.into_iter().map(|failure| failure.policy).collect(),
        })
    }
}
