//! A client's own `Impersonate-*` headers, where the gateway itself impersonates the client.
//!
//! An API server would add them to the gateway's rights. So each is checked first against the
//! client's: the client, impersonated, is asked for the verb `impersonate` on it, as the API server's
//! own filter would ask (`k8s.io/apiserver@v0.36.3/pkg/endpoints/filters/impersonation`).

use http::HeaderMap;
use http::header::HeaderName;

pub(super) const USER: HeaderName = HeaderName::from_static("impersonate-user");
pub(super) const UID: HeaderName = HeaderName::from_static("impersonate-uid");
pub(super) const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
const EXTRA: &str = "impersonate-extra-";
const ANY: &str = "impersonate-";

/// What must be allowed: the verb `impersonate` on this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::gateway) struct Question {
    pub(in crate::gateway) group: &'static str,
    pub(in crate::gateway) resource: &'static str,
    pub(in crate::gateway) subresource: String,
    pub(in crate::gateway) namespace: String,
    pub(in crate::gateway) name: String,
}

/// What a client's headers ask for.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::gateway) enum Target {
    /// Nothing.
    Nobody,
    /// To be another, if all of these are allowed.
    Other(Vec<Question>),
    /// Groups, a UID or extras, but no user.
    NoUser,
    /// A group that nobody becomes through the gateway.
    Masters,
}

const AUTHENTICATION: &str = "authentication.k8s.io";

/// Reads a client's headers.
pub(in crate::gateway) fn questions(headers: &HeaderMap) -> Target {
    if !headers.keys().any(|name| name.as_str().starts_with(ANY)) {
        return Target::Nobody;
    }
    let values = |name: &HeaderName| -> Vec<String> {
        let all = headers.get_all(name).iter();
        all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .filter(|value| !value.is_empty())
            .collect()
    };
    let question = |group, resource, name: &str| Question {
        group,
        resource,
        subresource: String::new(),
        namespace: String::new(),
        name: name.to_owned(),
    };
    let Some(user) = values(&USER).into_iter().next() else {
        return Target::NoUser;
    };
    let mut all = vec![match service_account(&user) {
        Some((namespace, name)) => Question {
            namespace: namespace.to_owned(),
            ..question("", "serviceaccounts", name)
        },
        None => question("", "users", &user),
    }];
    for group in values(&GROUP) {
        if group == super::MASTERS {
            return Target::Masters;
        }
        all.push(question("", "groups", &group));
    }
    if let Some(uid) = values(&UID).first() {
        all.push(question(AUTHENTICATION, "uids", uid));
    }
    for name in headers.keys() {
        let Some(key) = name.as_str().strip_prefix(EXTRA) else {
            continue;
        };
        let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy();
        for value in values(name) {
            all.push(Question {
                subresource: key.clone().into_owned(),
                ..question(AUTHENTICATION, "userextras", &value)
            });
        }
    }
    Target::Other(all)
}

/// `system:serviceaccount:NAMESPACE:NAME`.
fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user
        .strip_prefix("system:serviceaccount:")?
        .split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(pairs: &[(&'static str, &'static str)]) -> Target {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        questions(&headers)
    }

    fn question(group: &'static str, resource: &'static str, name: &str) -> Question {
        Question {
            group,
            resource,
            subresource: String::new(),
            namespace: String::new(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn what_is_asked_of_whom() {
        assert_eq!(asked(&[("accept", "*/*")]), Target::Nobody);
        assert_eq!(
            asked(&[
                ("impersonate-user", "jane"),
                ("impersonate-group", "dev"),
                ("impersonate-group", "ops"),
                ("impersonate-uid", "7"),
                ("impersonate-extra-acme.com%2fscope", "all"),
            ]),
            Target::Other(vec![
                question("", "users", "jane"),
                question("", "groups", "dev"),
                question("", "groups", "ops"),
                question(AUTHENTICATION, "uids", "7"),
                Question {
                    subresource: "acme.com/scope".to_owned(),
                    ..question(AUTHENTICATION, "userextras", "all")
                },
            ])
        );
        assert_eq!(
            asked(&[("impersonate-user", "system:serviceaccount:ci:bot")]),
            Target::Other(vec![Question {
                namespace: "ci".to_owned(),
                ..question("", "serviceaccounts", "bot")
            }])
        );
        assert_eq!(
            asked(&[("impersonate-user", "system:serviceaccount:ci")]),
            Target::Other(vec![question("", "users", "system:serviceaccount:ci")])
        );
    }

    #[test]
    fn what_nobody_gets() {
        assert_eq!(asked(&[("impersonate-group", "dev")]), Target::NoUser);
        assert_eq!(asked(&[("impersonate-whatever", "x")]), Target::NoUser);
        assert_eq!(
            asked(&[
                ("impersonate-user", "jane"),
                ("impersonate-group", "system:masters")
            ]),
            Target::Masters
        );
    }
}
