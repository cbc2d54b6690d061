//! Who asks, and whom bindings name.

use std::fmt;

use crate::symbol::Symbol;

/// What the user names of service accounts begin with; `NAMESPACE:NAME` follows.
const ACCOUNT: &str = "system:serviceaccount:";
/// The group of all service accounts; with `:NAMESPACE`, that of those of a namespace.
const ACCOUNTS: &str = "system:serviceaccounts";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const ANONYMOUS: &str = "system:anonymous";
/// The group whose members the API server allows everything, before it looks at any rule.
pub(crate) const MASTERS: &str = "system:masters";

/// Who asks: what authentication came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Who {
    /// The user's name.
    pub name: String,
    /// All groups, those that Kubernetes adds too.
    pub groups: Vec<String>,
}

impl Who {
    /// Exactly this name and these groups, as in a `SubjectAccessReview`.
    pub fn exactly(name: &str, groups: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
        }
    }

    /// A user who has logged in, with the groups that the credential tells. Groups that Kubernetes
    /// adds are added: `system:authenticated`, and for a service account's name its two.
    pub fn user(name: &str, groups: &[&str]) -> Self {
        let mut who = Self::exactly(name, groups);
        who.add_implied(&Subject::of_user(name));
        who
    }

    /// A service account's token.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self::user(&account_name(namespace, name), &[])
    }

    /// A request without a credential.
    pub fn anonymous() -> Self {
        Self::user(ANONYMOUS, &[])
    }

    pub(crate) fn add_implied(&mut self, subject: &Subject) {
        let stranger = self.groups.iter().any(|group| group == UNAUTHENTICATED);
        for group in subject.implied_groups() {
            // Kubernetes leaves a credential alone that says so itself.
            let not_so = stranger && group == AUTHENTICATED;
            if !not_so && !self.groups.contains(&group) {
                self.groups.push(group);
            }
        }
    }
}

/// Whom a binding names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The members of a group.
    Group(String),
    /// A service account; a binding may name it as a user as well.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A user.
    User(String),
}

impl Subject {
    /// A user by name; a service account if the name is one's.
    pub fn of_user(name: &str) -> Self {
        let account = name
            .strip_prefix(ACCOUNT)
            .and_then(|rest| rest.split_once(':'))
            .filter(|(namespace, name)| {
                !namespace.is_empty() && !name.is_empty() && !name.contains(':')
            });
        match account {
            Some((namespace, name)) => Self::ServiceAccount {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
            None => Self::User(name.to_owned()),
        }
    }

    /// Somebody of whom no more is known than that the subject names them: the user or service
    /// account with the groups that Kubernetes gives it, or a member of the group without a name.
    pub fn who(&self) -> Who {
        let mut who = match self {
            Self::Group(group) => Who::exactly("", &[group]),
            Self::ServiceAccount { namespace, name } => {
                Who::exactly(&account_name(namespace, name), &[])
            }
            Self::User(name) => Who::exactly(name, &[]),
        };
        who.add_implied(self);
        who
    }

    /// The groups that everybody is in whom it names.
    pub(crate) fn implied_groups(&self) -> Vec<String> {
        let mut groups = Vec::new();
        match self {
            // Nobody is in both.
            Self::Group(group) if group == UNAUTHENTICATED => {}
            Self::User(name) if name == ANONYMOUS => groups.push(UNAUTHENTICATED.to_owned()),
            Self::Group(group) => {
                if group
                    .strip_prefix(ACCOUNTS)
                    .is_some_and(|rest| rest.starts_with(':'))
                {
                    groups.push(ACCOUNTS.to_owned());
                }
                if group != AUTHENTICATED {
                    groups.push(AUTHENTICATED.to_owned());
                }
            }
            Self::ServiceAccount { namespace, .. } => groups.extend([
                ACCOUNTS.to_owned(),
                format!("{ACCOUNTS}:{namespace}"),
                AUTHENTICATED.to_owned(),
            ]),
            Self::User(_) => groups.push(AUTHENTICATED.to_owned()),
        }
        groups
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "Group {name}"),
            Self::ServiceAccount { namespace, name } => {
                write!(f, "ServiceAccount {namespace}/{name}")
            }
            Self::User(name) => write!(f, "User {name}"),
        }
    }
}

/// The user name of a service account.
pub(crate) fn account_name(namespace: &str, name: &str) -> String {
    format!("{ACCOUNT}{namespace}:{name}")
}

/// A subject in symbols. A service account is the user of its name, however a binding names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Key {
    User(Symbol),
    Group(Symbol),
}
