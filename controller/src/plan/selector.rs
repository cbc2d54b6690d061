//! Kubernetes' label selectors.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Whether labels are selected. An empty selector takes all.
pub(super) fn matches(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let equal = selector.match_labels.iter().flatten();
    let mut expressions = selector.match_expressions.iter().flatten();
    equal
        .into_iter()
        .all(|(key, wanted)| value(key) == Some(wanted))
        && expressions.all(|requirement| holds(requirement, value(&requirement.key)))
}

fn holds(requirement: &LabelSelectorRequirement, value: Option<&String>) -> bool {
    let listed = |value| requirement.values.iter().flatten().any(|one| one == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        // A label that is not there is in no list: so Kubernetes has it.
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        // The schema lets no other through.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn as_kubernetes_selects() {
        let labels = BTreeMap::from([("zone", "a"), ("gpu", "")])
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        let table: [(Value, bool); 12] = [
            (json!({}), true),
            (json!({"matchLabels": {"zone": "a"}}), true),
            (json!({"matchLabels": {"zone": "b"}}), false),
            (json!({"matchLabels": {"zone": "a", "rack": "1"}}), false),
            (expression("zone", "In", &["b", "a"]), true),
            (expression("rack", "In", &["1"]), false),
            (expression("zone", "NotIn", &["b"]), true),
            (expression("zone", "NotIn", &["a"]), false),
            (expression("rack", "NotIn", &["1"]), true),
            (expression("gpu", "Exists", &[]), true),
            (expression("gpu", "DoesNotExist", &[]), false),
            (expression("rack", "DoesNotExist", &[]), true),
        ];
        for (selector, expected) in table {
            let parsed = from_value(selector.clone()).unwrap();
            assert_eq!(matches(&parsed, Some(&labels)), expected, "{selector}");
        }
        let any = from_value(expression("zone", "Exists", &[])).unwrap();
        assert!(!matches(&any, None));
    }
}
