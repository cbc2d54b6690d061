//! Whether a certificate signing request may be approved. Pure.
//!
//! An agent's certificate is good for its own node's kubelet and nothing else, so it must go to
//! nobody but a pod of the agents' on that node. What the API server vouches for is who asked: the
//! user, and in `extra` the pod that its token is bound to and the node that this pod runs on (API
//! server 1.30 and later). What the request itself says is checked against that.

use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestSpec,
};
use k8s_openapi::api::core::v1::Pod;
use streamway_crds::names;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

/// Usages that a client's certificate needs; an RSA key's has the second too.
const USAGES: [&str; 3] = ["client auth", "digital signature", "key encipherment"];

/// What is to be done with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is not about our names, or is decided: somebody else's.
    NotOurs,
    /// The pod that asks is not known yet: look again.
    NotYet,
    /// It is an agent's, for its own node.
    Approve {
        /// The node.
        node: String,
    },
    /// It claims a name of ours and may not have it.
    Deny(Refusal),
}

/// Why a request that claims our names is denied. The texts are what `kubectl describe csr` shows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the subject must be CN={AGENT_USER_PREFIX}NODE, O={AGENT_GROUP} and nothing else, not {0}", AGENT_USER_PREFIX = names::AGENT_USER_PREFIX, AGENT_GROUP = names::AGENT_GROUP)]
    Subject(String),
    #[error("{asked} asks; only the agents' ServiceAccount {wanted} may have such a certificate")]
    User { asked: String, wanted: String },
    #[error(
        "the token that asks is not bound to a pod on a node ({0} is missing): the agent must use its pod's own, and the API server be 1.30 or later"
    )]
    NotBound(&'static str),
    #[error("a pod on node {asked} asks for the certificate of node {claimed}")]
    OtherNode { asked: String, claimed: String },
    #[error("pod {0} is not the pod of node {1} that it says it is")]
    OtherPod(String, String),
    #[error("the usages must be client auth and digital signature, not {0}")]
    Usages(String),
    #[error("nothing but a subject may be asked for: no alternative names, no other extensions")]
    Extensions,
}

/// Whose requests are approved.
#[derive(Debug, Clone)]
pub(crate) struct Agents {
    /// Namespace of their pods and ServiceAccount.
    pub(crate) namespace: String,
    /// Their ServiceAccount.
    pub(crate) service_account: String,
}

impl Agents {
    /// Decides on `request`. `pod` tells an agent's pod by name, as it is known here.
    pub(crate) fn check(
        &self,
        request: &CertificateSigningRequest,
        pod: impl FnOnce(&str) -> Option<std::sync::Arc<Pod>>,
    ) -> Verdict {
        let spec = &request.spec;
        if spec.signer_name != names::AGENT_SIGNER || is_decided(request) {
            return Verdict::NotOurs;
        }
        let Some(Ok(pem)) = Pem::iter_from_buffer(&spec.request.0).next() else {
            return Verdict::NotOurs;
        };
        // Bytes behind the request: Go, and so the signer, takes none.
        let Ok((&[], parsed)) = X509CertificationRequest::from_der(&pem.contents) else {
            return Verdict::NotOurs;
        };
        let subject = &parsed.certification_request_info.subject;
        if !claims_our_names(subject) {
            return Verdict::NotOurs;
        }
        match self.refusal(spec, &parsed, pod) {
            Ok(Some(node)) => Verdict::Approve { node },
            Ok(None) => Verdict::NotYet,
            Err(refusal) => Verdict::Deny(refusal),
        }
    }

    /// The node whose certificate it may be; none where the pod is not known yet.
    fn refusal(
        &self,
        spec: &CertificateSigningRequestSpec,
        parsed: &X509CertificationRequest<'_>,
        pod: impl FnOnce(&str) -> Option<std::sync::Arc<Pod>>,
    ) -> Result<Option<String>, Refusal> {
        let subject = &parsed.certification_request_info.subject;
        let node = node_of(subject).ok_or_else(|| Refusal::Subject(subject.to_string()))?;
        has_usages(spec)?;
        has_no_attributes(parsed)?;
        let wanted = format!(
            "system:serviceaccount:{}:{}",
            self.namespace, self.service_account
        );
        let asked = spec.username.as_deref().unwrap_or_default();
        if asked != wanted {
            let asked = asked.to_owned();
            return Err(Refusal::User { asked, wanted });
        }
        let extra = |name| one_of(spec, name).ok_or(Refusal::NotBound(name));
        let bound = extra(names::EXTRA_NODE_NAME)?;
        let (pod_name, uid) = (extra(names::EXTRA_POD_NAME)?, extra(names::EXTRA_POD_UID)?);
        if bound != node {
            return Err(Refusal::OtherNode {
                asked: bound.to_owned(),
                claimed: node.to_owned(),
            });
        }
        let Some(pod) = pod(pod_name) else {
            return Ok(None);
        };
        let runs_on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        if pod.metadata.uid.as_deref() != Some(uid) || runs_on != Some(node) {
            return Err(Refusal::OtherPod(pod_name.to_owned(), node.to_owned()));
        }
        Ok(Some(node.to_owned()))
    }
}

fn is_decided(request: &CertificateSigningRequest) -> bool {
    let status = request.status.as_ref();
    status.is_some_and(|status| {
        status.certificate.is_some()
            || status.conditions.iter().flatten().any(|condition| {
                ["Approved", "Denied", "Failed"].contains(&condition.type_.as_str())
            })
    })
}

/// Whether a subject has our group or a user's name of ours anywhere.
fn claims_our_names(subject: &X509Name<'_>) -> bool {
    subject.iter_attributes().any(|attribute| {
        attribute.as_str().is_ok_and(|value| {
            value == names::AGENT_GROUP || value.starts_with(names::AGENT_USER_PREFIX)
        })
    })
}

/// The node of a subject that is exactly an agent's.
fn node_of<'a>(subject: &'a X509Name<'_>) -> Option<&'a str> {
    let mut names = subject.iter_common_name();
    let mut groups = subject.iter_organization();
    let (name, group) = (names.next()?.as_str().ok()?, groups.next()?.as_str().ok()?);
    let node = name.strip_prefix(names::AGENT_USER_PREFIX)?;
    let nothing_else = subject.iter_attributes().count() == 2;
    (group == names::AGENT_GROUP && !node.is_empty() && nothing_else).then_some(node)
}

fn has_usages(spec: &CertificateSigningRequestSpec) -> Result<(), Refusal> {
    let usages = spec.usages.as_deref().unwrap_or_default();
    let known = usages.iter().all(|usage| USAGES.contains(&usage.as_str()));
    let has = |name: &str| usages.iter().any(|usage| usage == name);
    if known && has("client auth") && has("digital signature") {
        return Ok(());
    }
    Err(Refusal::Usages(usages.join(", ")))
}

/// The cluster's signer copies alternative names from the request. An agent's has no attributes at
/// all, so there is nothing that the signer could read otherwise than this does.
fn has_no_attributes(parsed: &X509CertificationRequest<'_>) -> Result<(), Refusal> {
    let attributes = parsed.certification_request_info.attributes();
    attributes
        .is_empty()
        .then_some(())
        .ok_or(Refusal::Extensions)
}

/// The value of an `extra` that has one.
fn one_of<'a>(spec: &'a CertificateSigningRequestSpec, name: &str) -> Option<&'a str> {
    match spec.extra.as_ref()?.get(name)?.as_slice() {
        [value] if !value.is_empty() => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
