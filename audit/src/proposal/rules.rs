//! Rules with more, or less.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::PolicyRule;

/// Adds a verb on a subresource to the rules that a role gets, for the same names.
pub(super) fn add(
    added: &mut Vec<PolicyRule>,
    verb: &str,
    resource: &str,
    names: Option<Vec<String>>,
) {
    let same = |rule: &&mut PolicyRule| rule.verbs == [verb] && rule.resource_names == names;
    if let Some(rule) = added.iter_mut().find(same) {
        let resources = rule.resources.get_or_insert_default();
        if !resources.iter().any(|own| own == resource) {
            resources.push(resource.to_owned());
        }
        return;
    }
    added.push(PolicyRule {
        verbs: vec![verb.to_owned()],
        api_groups: Some(vec![String::new()]),
        resources: Some(vec![resource.to_owned()]),
        resource_names: names,
        ..PolicyRule::default()
    });
}

/// Whether `get` on a subresource can be taken from a rule, which has no exceptions.
pub(super) fn dropped(rule: &PolicyRule, resource: &str) -> Result<(), &'static str> {
    let resources = rule.resources.as_deref().unwrap_or_default();
    let has = |wanted: &str| resources.iter().any(|own| own == wanted);
    let any_parent = resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
    if has("*") {
        return Err(
            "the rule is for all resources (*), and RBAC knows no exceptions: list the resources \
             that are needed",
        );
    }
    if any_parent.is_some_and(|own| has(&own)) {
        return Err("the rule is for the subresource of everything (*/…): list what is needed");
    }
    if rule.verbs.iter().any(|verb| verb == "*") {
        return Err("the rule is for all verbs (*): list those that are needed");
    }
    if !has(resource) {
        return Err("the rule does not name the subresource");
    }
    Ok(())
}

/// Subresources whose `get` goes.
#[derive(Debug, Default)]
pub(super) struct Changed(BTreeSet<String>);

impl Changed {
    pub(super) fn drop(&mut self, resource: &str) {
        self.0.insert(resource.to_owned());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is left of a rule, and a rule for the other verbs on what it lost.
    pub(super) fn apply(&self, rule: &PolicyRule) -> (Option<PolicyRule>, Option<PolicyRule>) {
        let resources = rule.resources.clone().unwrap_or_default();
        let (gone, kept): (Vec<_>, Vec<_>) =
            resources.into_iter().partition(|own| self.0.contains(own));
        let verbs = rule.verbs.iter().filter(|verb| *verb != "get").cloned();
        let verbs: Vec<String> = verbs.collect();
        let with = |verbs: &[String], resources: Vec<String>| PolicyRule {
            verbs: verbs.to_vec(),
            resources: Some(resources),
            ..rule.clone()
        };
        let apart = (!verbs.is_empty() && !gone.is_empty()).then(|| with(&verbs, gone));
        let kept = (!kept.is_empty()).then(|| with(&rule.verbs, kept));
        match (kept, apart) {
            // Nothing else was in it: the rule stays, with less.
            (None, Some(apart)) => (Some(apart), None),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    fn rule(verbs: &str, resources: &str) -> PolicyRule {
        PolicyRule {
            verbs: list(verbs),
            api_groups: Some(list("")),
            resources: Some(list(resources)),
            ..PolicyRule::default()
        }
    }

    #[test]
    fn what_is_left() {
        let table = [
            ("get", "pods/exec", None, None),
            ("get", "pods,pods/exec", Some(("get", "pods")), None),
            (
                "get,create",
                "pods/exec",
                Some(("create", "pods/exec")),
                None,
            ),
            (
                "get,list",
                "pods,pods/exec,pods/log",
                Some(("get,list", "pods,pods/log")),
                Some(("list", "pods/exec")),
            ),
        ];
        for (verbs, resources, kept, apart) in table {
            let mut changed = Changed::default();
            changed.drop("pods/exec");
            let found = changed.apply(&rule(verbs, resources));
            let expected = |own: Option<(&str, &str)>| own.map(|(verbs, of)| rule(verbs, of));
            assert_eq!(
                found,
                (expected(kept), expected(apart)),
                "{verbs} {resources}"
            );
        }
    }

    #[test]
    fn what_cannot_be_dropped() {
        for (verbs, resources) in [
            ("get", "*"),
            ("get", "pods/exec,*"),
            ("get", "*/exec"),
            ("*", "pods/exec"),
            ("get", "pods"),
        ] {
            let result = dropped(&rule(verbs, resources), "pods/exec");
            assert!(result.is_err(), "{verbs} {resources}");
        }
        assert_eq!(
            dropped(&rule("get,list", "pods,pods/exec"), "pods/exec"),
            Ok(())
        );
    }

    #[test]
    fn rules_that_are_added_are_few() {
        let mut added = Vec::new();
        add(&mut added, "create", "pods/exec", None);
        add(&mut added, "create", "pods/attach", None);
        add(&mut added, "create", "pods/exec", None);
        add(&mut added, "create", "pods/exec", Some(list("web")));
        let named = PolicyRule {
            resource_names: Some(list("web")),
            ..rule("create", "pods/exec")
        };
        assert_eq!(added, [rule("create", "pods/exec,pods/attach"), named]);
    }
}
