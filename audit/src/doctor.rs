//! What enforces the create check in a cluster, where, and what to do next.

mod selector;

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Serialize};

use crate::report::API_VERSION;
use crate::server::Server;
use selector::selects;

/// The kind of diagnoses.
pub const DIAGNOSIS_KIND: &str = "AuditDiagnosis";

/// The policy of `config/base/policy`.
pub const POLICY: &str = "create-check.streamway.dev";
/// The ValidatingWebhookConfiguration of `config/components/access-webhook`.
pub const ACCESS_WEBHOOK: &str = "streamway-access";

/// What was read of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Whether the policy is there.
    pub policy: bool,
    /// All bindings of policies; none where the API server knows no policies, or shows none.
    pub bindings: Vec<ValidatingAdmissionPolicyBinding>,
    /// The access webhook, if it is there.
    pub webhook: Option<ValidatingWebhookConfiguration>,
    /// Namespaces and their labels.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Exemptions by name, and the second from which each no longer holds.
    pub exemptions: Vec<(String, jiff::Timestamp)>,
    /// What could not be read, and why.
    pub unknown: Vec<String>,
}

/// What enforces the create check, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// [`API_VERSION`].
    pub api_version: String,
    /// [`DIAGNOSIS_KIND`].
    pub kind: String,
    /// The API server.
    pub server: Server,
    /// Everything that can enforce it, and what of it is there.
    pub enforcers: Vec<Enforcer>,
    /// Namespaces by what becomes of a session without `create` in them.
    pub namespaces: BTreeMap<Action, Vec<String>>,
    /// Whether every namespace denies.
    pub enforced: bool,
    /// What to do, in this order.
    pub next: Vec<String>,
    /// What could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// Something that can enforce the create check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enforcer {
    /// Its name.
    pub name: String,
    /// Whether it is there and does something.
    pub active: bool,
    /// In a sentence.
    pub text: String,
}

/// What becomes of a session without `create`, the strictest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Nobody looks at it.
    Unchecked,
    /// It is let through, and noted.
    Audit,
    /// It is let through, and whoever asks is warned.
    Warn,
    /// It is refused.
    Deny,
}

impl Action {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchecked => "unchecked",
            Self::Audit => "audit",
            Self::Warn => "warn",
            Self::Deny => "deny",
        }
    }
}

impl Diagnosis {
    /// What facts come to at a time.
    pub fn of(server: Server, facts: Facts, now: jiff::Timestamp) -> Self {
        let builtin = server.checks_create() == Some(true);
        let mut namespaces: BTreeMap<Action, Vec<String>> = BTreeMap::new();
        for (name, labels) in &facts.namespaces {
            let action = match builtin {
                true => Action::Deny,
                false => policy(&facts, labels).max(webhook(&facts, labels)),
            };
            namespaces.entry(action).or_default().push(name.clone());
        }
        let enforced = builtin || namespaces.keys().all(|&action| action == Action::Deny);
        let enforcers = vec![
            of_server(&server),
            of_policy(&server, &facts),
            of_webhook(&facts),
        ];
        let next = advice(&server, &facts, &namespaces, now);
        Self {
            api_version: API_VERSION.to_owned(),
            kind: DIAGNOSIS_KIND.to_owned(),
            enforced: enforced && (builtin || !facts.namespaces.is_empty()),
            server,
            enforcers,
            namespaces,
            next,
            unknown: facts.unknown,
        }
    }
}

/// The strictest that the policy does in a namespace of these labels.
fn policy(facts: &Facts, labels: &BTreeMap<String, String>) -> Action {
    let bindings = facts.bindings.iter().map(|binding| &binding.spec);
    let own = bindings.filter(|spec| facts.policy && spec.policy_name == POLICY);
    let actions = own.filter_map(|spec| {
        let resources = spec.match_resources.as_ref();
        let selector = resources.and_then(|own| own.namespace_selector.as_ref());
        let actions = spec.validation_actions.iter();
        meets(selector, labels).then(|| actions.map(|action| of_word(action)).max())?
    });
    actions.max().unwrap_or(Action::Unchecked)
}

/// The same for the webhook, which is told by its path what to do.
fn webhook(facts: &Facts, labels: &BTreeMap<String, String>) -> Action {
    let webhooks = facts
        .webhook
        .iter()
        .flat_map(|own| own.webhooks.iter().flatten());
    let actions = webhooks.filter_map(|webhook| {
        let path = webhook.client_config.service.as_ref()?.path.as_deref()?;
        let selected = meets(webhook.namespace_selector.as_ref(), labels);
        selected.then(|| of_word(path.rsplit('/').next().unwrap_or_default()))
    });
    actions.max().unwrap_or(Action::Unchecked)
}

fn meets(selector: Option<&LabelSelector>, labels: &BTreeMap<String, String>) -> bool {
    selector.is_none_or(|selector| selects(selector, labels))
}

fn of_word(word: &str) -> Action {
    match word.to_ascii_lowercase().as_str() {
        "deny" => Action::Deny,
        "warn" => Action::Warn,
        "audit" => Action::Audit,
        _ => Action::Unchecked,
    }
}

fn of_server(server: &Server) -> Enforcer {
    let check = server.checks_create();
    let text = match (check, &server.version) {
        (Some(true), _) => "asks for create by itself, in every namespace",
        (Some(false), Some(version)) if version.is_at_least(35) => {
            "could ask for create by itself, and its gate is off"
        }
        (Some(false), _) => "does not ask for create: that begins with 1.35",
        (None, _) => "may ask for create or not: its version is not known",
    };
    Enforcer {
        name: "API server".to_owned(),
        active: check == Some(true),
        text: text.to_owned(),
    }
}

fn of_policy(server: &Server, facts: &Facts) -> Enforcer {
    let bound = facts.bindings.iter().map(|binding| &binding.spec);
    let bound = bound.filter(|spec| spec.policy_name == POLICY).count();
    let old = server
        .version
        .as_ref()
        .is_some_and(|version| !version.is_at_least(30));
    let text = match (facts.policy, bound) {
        (false, _) if old => "the server knows no policies: that begins with 1.30".to_owned(),
        (false, _) => format!("{POLICY} is not there"),
        (true, 0) => format!("{POLICY} is there and does nothing: it has no binding"),
        (true, count) => format!("{POLICY} is there, with {count} bindings"),
    };
    Enforcer {
        name: "admission policy".to_owned(),
        active: facts.policy && bound > 0,
        text,
    }
}

fn of_webhook(facts: &Facts) -> Enforcer {
    let text = match &facts.webhook {
        None => format!("{ACCESS_WEBHOOK} is not there"),
        Some(own) => {
            let count = own.webhooks.iter().flatten().count();
            format!("{ACCESS_WEBHOOK} is there, with {count} webhooks")
        }
    };
    Enforcer {
        name: "admission webhook".to_owned(),
        active: facts.webhook.is_some(),
        text,
    }
}

fn advice(
    server: &Server,
    facts: &Facts,
    namespaces: &BTreeMap<Action, Vec<String>>,
    now: jiff::Timestamp,
) -> Vec<String> {
    let mut next = Vec::new();
    let builtin = server.checks_create() == Some(true);
    let any = facts.policy || facts.webhook.is_some();
    let at_least = |minor| {
        server
            .version
            .as_ref()
            .is_some_and(|own| own.is_at_least(minor))
    };
    if builtin {
        if any {
            next.push(
                "the policy and the webhook can go: the API server does it by itself".to_owned(),
            );
        }
    } else if at_least(35) {
        next.push(format!(
            "turn the API server's gate {} on again",
            crate::server::CREATE_CHECK
        ));
    } else if !any && (at_least(30) || server.version.is_none()) {
        next.push(
            "kubectl apply -k config/overlays/policy-only: it audits, and refuses nothing yet"
                .to_owned(),
        );
    } else if !any {
        next.push(
            "use the authorization webhook (docs/access.md): this server knows no policies"
                .to_owned(),
        );
    }
    let count = |action| namespaces.get(&action).map_or(0, Vec::len);
    let lenient = count(Action::Audit) + count(Action::Warn);
    if !builtin && lenient > 0 {
        next.push(format!(
            "{lenient} namespaces let sessions without create through: see who has them with \
             kubectl streamway audit --audit-log, then label them streamway.dev/create-check=Warn, then Deny"
        ));
    }
    if !builtin && any && count(Action::Unchecked) > 0 {
        next.push(format!(
            "{} namespaces are not looked at: take the label streamway.dev/create-check=Off away",
            count(Action::Unchecked)
        ));
    }
    let ended = facts
        .exemptions
        .iter()
        .filter(|(_, expires)| *expires <= now);
    next.extend(ended.map(|(name, expires)| {
        format!("the exemption {name} ended at {expires}: kubectl delete accessexemption {name}")
    }));
    next.push(
        "kubectl streamway audit: who has get without create, and get on nodes/proxy, which no API \
         server's create check reaches"
            .to_owned(),
    );
    next
}

#[cfg(test)]
mod tests;
