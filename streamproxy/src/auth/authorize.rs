//! May they: a kubelet's attributes for a request, and the API server's answer.

use std::time::Duration;

use http::{Method, Uri};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Client;
use moka::Expiry;
use moka::future::Cache;

use super::review::{ReviewError, Reviewer};
use super::{AuthError, UserInfo, is_clean};

/// How long a yes counts (kubelet: `authorization.webhook.cacheAuthorizedTTL`).
const ALLOWED_TTL: Duration = Duration::from_secs(300);

/// How long a no counts (kubelet: `authorization.webhook.cacheUnauthorizedTTL`).
const DENIED_TTL: Duration = Duration::from_secs(30);

/// Answers that are remembered.
const ANSWERS: u64 = 8192;

const PATH: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

const CREATE_REMEDY: &str = ": streaming needs create as well as get on nodes/proxy; add to the caller's ClusterRole: \
     {apiGroups: [\"\"], resources: [nodes/proxy], verbs: [create]}";

/// Authorizes as a kubelet with `authorization.mode: Webhook`, or lets everyone in.
#[derive(Debug)]
pub struct Authorizer {
    reviews: Option<Reviews>,
    node: String,
    /// `AuthorizeNodeProxyCreateForStreaming`.
    create_for_streaming: bool,
}

#[derive(Debug)]
struct Reviews {
    reviewer: Reviewer,
    cache: Cache<Question, bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    user: UserInfo,
    verb: &'static str,
    subresource: &'static str,
}

/// A yes counts longer than a no.
#[derive(Debug)]
struct ByAnswer;

impl Expiry<Question, bool> for ByAnswer {
    fn expire_after_create(
        &self,
        _question: &Question,
        allowed: &bool,
        _now: std::time::Instant,
    ) -> Option<Duration> {
        Some(if *allowed { ALLOWED_TTL } else { DENIED_TTL })
    }
}

impl Authorizer {
    /// Asks `client` about `node`; without a client everyone may everything.
    pub(crate) fn new(client: Option<Client>, node: &str, create_for_streaming: bool) -> Self {
        let reviews = client.map(|client| Reviews {
            reviewer: Reviewer::new(client, PATH),
            cache: Cache::builder()
                .max_capacity(ANSWERS)
                .expire_after(ByAnswer)
                .build(),
        });
        Self {
            reviews,
            node: node.to_owned(),
            create_for_streaming,
        }
    }

    /// Whether `user` may make a request.
    ///
    /// # Errors
    ///
    /// Says why not. A path that has more than one reading is refused for everyone.
    pub async fn authorize(
        &self,
        user: &UserInfo,
        method: &Method,
        uri: &Uri,
    ) -> Result<(), AuthError> {
        if !is_clean(uri.path()) {
            return Err(AuthError::UncleanPath);
        }
        let Some(reviews) = &self.reviews else {
            return Ok(());
        };
        let verb = verb(method);
        let subresources = subresources(uri.path());
        let mut allowed = false;
        for subresource in &subresources {
            if reviews.ask(&self.node, user, verb, subresource).await? {
                allowed = true;
                break;
            }
        }
        let forbidden = |verb, subresources, remedy| AuthError::Forbidden {
            user: user.name.clone(),
            verb,
            subresources,
            remedy,
        };
        if !allowed {
            return Err(forbidden(verb, subresources.join(" "), ""));
        }
        let by_get = self.create_for_streaming && verb != "create" && runs_commands(uri.path());
        if by_get && !reviews.ask(&self.node, user, "create", "proxy").await? {
            return Err(forbidden("create", "proxy".to_owned(), CREATE_REMEDY));
        }
        Ok(())
    }
}

impl Reviews {
    async fn ask(
        &self,
        node: &str,
        user: &UserInfo,
        verb: &'static str,
        subresource: &'static str,
    ) -> Result<bool, AuthError> {
        let question = Question {
            user: user.clone(),
            verb,
            subresource,
        };
        let review = self.review(node, question.clone());
        self.cache
            .try_get_with(question, review)
            .await
            .map_err(|error| {
                tracing::warn!(%error, user = user.name, verb, subresource, "authorization failed");
                AuthError::Unavailable {
                    user: user.name.clone(),
                    verb,
                    subresource,
                }
            })
    }

    async fn review(&self, node: &str, question: Question) -> Result<bool, ReviewError> {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let Question {
            user,
            verb,
            subresource,
        } = question;
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.name),
                uid: some(&user.uid),
                groups: Some(user.groups),
                extra: Some(user.extra).filter(|extra| !extra.is_empty()),
                resource_attributes: Some(ResourceAttributes {
                    verb: some(verb),
                    version: some("v1"),
                    resource: some("nodes"),
                    subresource: some(subresource),
                    name: some(node),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let status = self
            .reviewer
            .post(&review)
            .await?
            .status
            .unwrap_or_default();
        match (status.allowed, status.denied == Some(true)) {
            (true, true) => Err(ReviewError::Failed("both allowed and denied".to_owned())),
            (allowed, _) => Ok(allowed),
        }
    }
}

fn verb(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "GET" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

/// The subresources of `nodes` of which one must be allowed, in a kubelet's order (1.36,
/// `KubeletFineGrainedAuthz` on).
fn subresources(path: &str) -> Vec<&'static str> {
    const FINE: [(&str, &str); 4] = [
        ("/pods", "pods"),
        ("/healthz", "healthz"),
        ("/configz", "configz"),
        ("/runningpods", "pods"),
    ];
    const COARSE: [(&str, &str); 6] = [
        ("/stats", "stats"),
        ("/metrics", "metrics"),
        ("/logs", "log"),
        ("/checkpoint", "checkpoint"),
        ("/statusz", "statusz"),
        ("/flagz", "configz"),
    ];
    let find = |table: &[(&str, &'static str)]| {
        table
            .iter()
            .find(|(prefix, _)| is_below(path, prefix))
            .map(|(_, subresource)| *subresource)
    };
    find(&FINE)
        .into_iter()
        .chain([find(&COARSE).unwrap_or("proxy")])
        .collect()
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether requests below a path run commands or open connections in pods.
fn runs_commands(path: &str) -> bool {
    ["/exec", "/attach", "/portForward", "/run"]
        .iter()
        .any(|prefix| is_below(path, prefix))
}

#[cfg(test)]
mod tests;
