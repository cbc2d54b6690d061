//! Rules, and what they match: as `pkg/apis/rbac/v1/evaluation_helpers.go` of Kubernetes 1.36 does.

use k8s_openapi::api::rbac::v1::PolicyRule;

use crate::question::{About, Asked};
use crate::symbol::{Symbol, Symbols};

/// A `PolicyRule`. Absent lists and empty ones are the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Rule {
    verbs: Box<[Symbol]>,
    groups: Box<[Symbol]>,
    resources: Box<[Symbol]>,
    names: Box<[Symbol]>,
    urls: Box<[Symbol]>,
}

impl Rule {
    pub(crate) fn of(rule: &PolicyRule, symbols: &mut Symbols) -> Self {
        let mut list = |texts: &[String]| texts.iter().map(|text| symbols.put(text)).collect();
        Self {
            verbs: list(&rule.verbs),
            groups: list(rule.api_groups.as_deref().unwrap_or_default()),
            resources: list(rule.resources.as_deref().unwrap_or_default()),
            names: list(rule.resource_names.as_deref().unwrap_or_default()),
            urls: list(rule.non_resource_urls.as_deref().unwrap_or_default()),
        }
    }

    /// As in a role, with absent lists where they are empty.
    pub(crate) fn written(&self, symbols: &Symbols) -> PolicyRule {
        let list = |list: &[Symbol]| -> Vec<String> {
            let texts = list.iter().map(|&symbol| symbols.text(symbol).to_owned());
            texts.collect()
        };
        let some = |own: &[Symbol]| (!own.is_empty()).then(|| list(own));
        PolicyRule {
            verbs: list(&self.verbs),
            api_groups: some(&self.groups),
            resources: some(&self.resources),
            resource_names: some(&self.names),
            non_resource_urls: some(&self.urls),
        }
    }

    /// Whether it allows what is asked.
    pub(crate) fn allows(&self, asked: &Asked<'_>, symbols: &Symbols) -> bool {
        let named = match asked.about {
            About::Resource { name, .. } => self.names.is_empty() || exact(&self.names, name),
            About::Url(_) => true,
        };
        named && self.covers(asked, symbols)
    }

    /// The same for any name that it is limited to.
    pub(crate) fn covers(&self, asked: &Asked<'_>, symbols: &Symbols) -> bool {
        has(&self.verbs, asked.verb)
            && match asked.about {
                About::Resource {
                    group,
                    resource,
                    any_resource,
                    ..
                } => {
                    // `pods/*` is no pattern: it stands for a subresource of that name.
                    has(&self.groups, group)
                        && (has(&self.resources, resource) || exact(&self.resources, any_resource))
                }
                About::Url(path) => self
                    .urls
                    .iter()
                    .any(|&url| matches(symbols.text(url), path)),
            }
    }

    /// The names that it is limited to; none for no limit.
    pub(crate) fn names(&self) -> &[Symbol] {
        &self.names
    }
}

/// Whether a list has `*` or a string.
fn has(list: &[Symbol], wanted: Option<Symbol>) -> bool {
    list.contains(&Symbol::ANY) || exact(list, wanted)
}

/// Whether a list has a string; one that the policy does not know is in no list.
fn exact(list: &[Symbol], wanted: Option<Symbol>) -> bool {
    wanted.is_some_and(|wanted| list.contains(&wanted))
}

/// Whether a rule's URL matches a path: stars at its end stand for anything, others for themselves.
fn matches(url: &str, path: &str) -> bool {
    url == path || (url.ends_with('*') && path.starts_with(url.trim_end_matches('*')))
}
