//! Which findings somebody wants to see.

use std::str::FromStr;

use crate::finding::Finding;
use crate::rules::Rule;
use crate::severity::Severity;
use crate::subject::{Subject, SubjectKind};

/// What findings must meet, all of it; an empty list asks for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Reaches something in one of these.
    pub namespaces: Vec<String>,
    /// Is about one of these.
    pub subjects: Vec<SubjectPattern>,
    /// Is as bad as this at least.
    pub severity: Option<Severity>,
    /// Is found by one of these.
    pub rules: Vec<RulePattern>,
}

/// `jane`, `User/jane`, `ServiceAccount/web/runner`, `web/runner`, `system:serviceaccount:web:runner`;
/// `*` at the end stands for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectPattern {
    kind: Option<SubjectKind>,
    namespace: Option<String>,
    name: String,
    open: bool,
}

/// The id of a rule, its name, or how either begins: `SW001`, `get-without-create`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulePattern(String);

/// A text that is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no rule's id or name begins with {0:?}; the names are {names}", names = names())]
pub struct NoSuchRule(String);

impl Filter {
    /// Whether a finding meets it.
    pub fn matches(&self, finding: &Finding) -> bool {
        let namespaces = &self.namespaces;
        let meets = |namespace: &String| finding.reach.meets(namespace);
        let subjects = &self.subjects;
        (namespaces.is_empty() || namespaces.iter().any(meets))
            && (subjects.is_empty() || subjects.iter().any(|own| own.matches(&finding.subject)))
            && self.severity.is_none_or(|least| finding.severity >= least)
            && (self.rules.is_empty()
                || self
                    .rules
                    .iter()
                    .any(|own| own.matches(&finding.rule.rule())))
    }
}

impl SubjectPattern {
    /// Reads one. Every text is one.
    pub fn parse(text: &str) -> Self {
        let (text, open) = match text.strip_suffix('*') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let kinds = [
            SubjectKind::Group,
            SubjectKind::ServiceAccount,
            SubjectKind::User,
        ];
        let (kind, rest) = match text.split_once('/') {
            Some((first, rest)) => {
                let mut kinds = kinds.into_iter();
                match kinds.find(|kind| kind.as_str().eq_ignore_ascii_case(first)) {
                    Some(kind) => (Some(kind), rest),
                    None => (None, text),
                }
            }
            None => (None, text),
        };
        let account = rest
            .strip_prefix("system:serviceaccount:")
            .and_then(|own| own.split_once(':'));
        let slashed = match kind {
            // Names of users and groups may have one.
            Some(SubjectKind::User | SubjectKind::Group) => None,
            _ => rest.split_once('/'),
        };
        match account.or(slashed) {
            Some((namespace, name)) => Self {
                kind: Some(SubjectKind::ServiceAccount),
                namespace: Some(namespace.to_owned()),
                name: name.to_owned(),
                open,
            },
            None => Self {
                kind,
                namespace: None,
                name: rest.to_owned(),
                open,
            },
        }
    }

    fn matches(&self, subject: &Subject) -> bool {
        let name = match self.open {
            true => subject.name.starts_with(&self.name),
            false => subject.name == self.name,
        };
        name && self.kind.is_none_or(|kind| kind == subject.kind)
            && self
                .namespace
                .as_ref()
                .is_none_or(|own| *own == subject.namespace)
    }
}

impl FromStr for SubjectPattern {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::parse(text))
    }
}

impl RulePattern {
    fn matches(&self, rule: &Rule) -> bool {
        rule.name.starts_with(&self.0) || rule.id.as_str().starts_with(&self.0.to_uppercase())
    }
}

impl FromStr for RulePattern {
    type Err = NoSuchRule;

    fn from_str(text: &str) -> Result<Self, NoSuchRule> {
        let pattern = Self(text.to_owned());
        let known = !text.is_empty() && Rule::all().any(|rule| pattern.matches(&rule));
        known
            .then_some(pattern)
            .ok_or_else(|| NoSuchRule(text.to_owned()))
    }
}

fn names() -> String {
    let names: Vec<_> = Rule::all().map(|rule| rule.name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(kind: SubjectKind, namespace: &str, name: &str) -> Subject {
        Subject {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn subjects() {
        use SubjectKind::{Group, ServiceAccount, User};
        let all = [
            subject(User, "", "jane"),
            subject(Group, "", "jane"),
            subject(ServiceAccount, "web", "jane"),
            subject(User, "", "oidc:web/jane"),
            subject(ServiceAccount, "db", "runner"),
        ];
        let table: [(&str, &[usize]); 11] = [
            ("jane", &[0, 1, 2]),
            ("User/jane", &[0]),
            ("group/jane", &[1]),
            ("ServiceAccount/web/jane", &[2]),
            ("ServiceAccount/jane", &[2]),
            ("web/jane", &[2]),
            ("system:serviceaccount:web:jane", &[2]),
            ("User/oidc:web/jane", &[3]),
            ("j*", &[0, 1, 2]),
            ("db/*", &[4]),
            ("jan", &[]),
        ];
        for (text, expected) in table {
            let pattern = SubjectPattern::parse(text);
            let matching = all.iter().enumerate();
            let matching = matching.filter(|(_, subject)| pattern.matches(subject));
            let places: Vec<_> = matching.map(|(place, _)| place).collect();
            assert_eq!(places, expected, "{text}");
        }
    }

    #[test]
    fn rules() {
        let count = |text: &str| {
            let pattern: RulePattern = text.parse().unwrap();
            Rule::all().filter(|rule| pattern.matches(rule)).count()
        };
        assert_eq!(count("SW001"), 1);
        assert_eq!(count("sw00"), 3);
        assert_eq!(count("get-without-create"), 4);
        assert_eq!(count("impersonate"), 3);
        let error = "exec".parse::<RulePattern>().unwrap_err().to_string();
        assert!(
            error.contains("\"exec\"") && error.contains("bind-roles"),
            "{error}"
        );
        assert!("".parse::<RulePattern>().is_err());
    }
}
