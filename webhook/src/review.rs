//! `AdmissionReview` of `admission.k8s.io/v1`: what is asked, and the answer.
//!
//! Objects stay text until somebody wants a field of theirs: a review of a Node is tens of kilobytes, and
//! few of them are looked at.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::access::User;
use crate::body::Refusal;

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    request: Option<&'a RawValue>,
}

/// What the API server asks; of `request`, the fields that are looked at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request<'a> {
    /// Stands in the answer again.
    #[serde(borrow)]
    pub(crate) uid: Cow<'a, str>,
    /// What is written.
    #[serde(borrow)]
    pub(crate) resource: Resource<'a>,
    /// Which part of it.
    #[serde(borrow, default)]
    pub(crate) sub_resource: Cow<'a, str>,
    /// `UPDATE`, …
    #[serde(borrow, default)]
    pub(crate) operation: Cow<'a, str>,
    /// The object's name.
    #[serde(borrow, default)]
    pub(crate) name: Cow<'a, str>,
    /// The object's namespace, where it has one.
    #[serde(borrow, default)]
    pub(crate) namespace: Cow<'a, str>,
    /// Who asks.
    #[serde(borrow)]
    user_info: Option<&'a RawValue>,
    /// The object as it is to be.
    #[serde(borrow)]
    pub(crate) object: Option<&'a RawValue>,
    /// The object as it is.
    #[serde(borrow)]
    pub(crate) old_object: Option<&'a RawValue>,
}

/// A kind of objects, as in a path.
#[derive(Debug, Deserialize)]
pub(crate) struct Resource<'a> {
    #[serde(borrow, default)]
    group: Cow<'a, str>,
    #[serde(borrow, default)]
    version: Cow<'a, str>,
    #[serde(borrow, default)]
    resource: Cow<'a, str>,
}

impl<'a> Request<'a> {
    /// Reads a review.
    ///
    /// # Errors
    /// 400 for what is no review of this version, or one without a UID.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Refusal> {
        let asked: Asked<'a> = serde_json::from_slice(body)
            .map_err(|error| Refusal::bad(format!("the body is no {KIND}: {error}")))?;
        if (&*asked.api_version, &*asked.kind) != (API_VERSION, KIND) {
            return Err(Refusal::bad(format!(
                "the body is {:?} of {:?}, not {KIND} of {API_VERSION}; \
                 admissionReviewVersions must be [v1]",
                asked.kind, asked.api_version
            )));
        }
        let Some(request) = asked.request else {
            return Err(Refusal::bad("the review has no request"));
        };
        let request: Self = serde_json::from_str(request.get()).map_err(|error| {
            Refusal::bad(format!("the review's request cannot be read: {error}"))
        })?;
        if request.uid.is_empty() {
            return Err(Refusal::bad("the review's request has no uid"));
        }
        Ok(request)
    }

    /// Who asks.
    ///
    /// # Errors
    /// 400 where that cannot be read.
    pub(crate) fn user(&self) -> Result<User, Refusal> {
        let Some(user) = self.user_info else {
            return Err(Refusal::bad("the review's request has no userInfo"));
        };
        serde_json::from_str(user.get())
            .map_err(|error| Refusal::bad(format!("the review's userInfo cannot be read: {error}")))
    }

    /// Checks that the request is one that the path is for.
    ///
    /// # Errors
    /// 400, with what the webhook configuration's rules must say.
    pub(crate) fn expect(
        &self,
        (group, version, resource, sub_resource): (&str, &str, &str, &str),
        operation: &str,
    ) -> Result<(), Refusal> {
        let asked = &self.resource;
        let found = (
            &*asked.group,
            &*asked.version,
            &*asked.resource,
            &*self.sub_resource,
        );
        if (found, &*self.operation) == ((group, version, resource, sub_resource), operation) {
            return Ok(());
        }
        Err(Refusal::bad(format!(
            "this path is for {operation} of {resource}/{sub_resource} {version}, and was asked about \
             {} of {}/{} {}/{}; correct the webhook configuration's rules",
            self.operation, asked.resource, self.sub_resource, asked.group, asked.version
        )))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'a> {
    api_version: &'static str,
    kind: &'static str,
    response: Response<'a>,
}

/// The answer.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    audit_annotations: BTreeMap<&'static str, &'a str>,
}

/// Why something is not allowed.
#[derive(Debug, Serialize)]
struct Status<'a> {
    code: u16,
    reason: &'static str,
    message: &'a str,
}

/// A note in the API server's audit log: its name, and what it says.
pub(crate) type Note<'a> = (&'static str, &'a str);

/// The review that allows the request `uid`, with a JSON patch where there is one. Whoever wrote the
/// object sees `warnings`.
pub(crate) fn allow<P: Serialize>(uid: &str, patch: Option<&P>, warnings: &[String]) -> Vec<u8> {
    // Neither can fail: both hold strings, numbers and lists of them.
    let patch = patch.map(|patch| STANDARD.encode(serde_json::to_vec(patch).unwrap_or_default()));
    answered(Response {
        uid,
        allowed: true,
        patch_type: patch.as_ref().map(|_| "JSONPatch"),
        patch,
        warnings,
        ..Response::default()
    })
}

/// The review that allows the request `uid`, with a note in the audit log.
pub(crate) fn allow_noted(uid: &str, warnings: &[String], (name, note): Note<'_>) -> Vec<u8> {
    answered(Response {
        uid,
        allowed: true,
        warnings,
        audit_annotations: [(name, note)].into(),
        ..Response::default()
    })
}

/// The review that refuses the request `uid` with 403, with a note in the audit log.
pub(crate) fn deny(uid: &str, message: &str, (name, note): Note<'_>) -> Vec<u8> {
    answered(Response {
        uid,
        status: Some(Status {
            code: 403,
            reason: "Forbidden",
            message,
        }),
        audit_annotations: [(name, note)].into(),
        ..Response::default()
    })
}

fn answered(response: Response<'_>) -> Vec<u8> {
    let answer = Answered {
        api_version: API_VERSION,
        kind: KIND,
        response,
    };
    serde_json::to_vec(&answer).unwrap_or_default()
}
