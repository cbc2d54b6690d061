//! What schemas say beyond types: CEL rules with the fix in their message, and selectors with bounds.
//!
//! A string that only one form is right for has a rule instead of a pattern: the API server would tell
//! of a pattern only that it does not match. Every string and list that a rule reads has a bound, since
//! the API server refuses a definition whose rules could cost too much.

use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// A rule as a definition has it: what must hold, and what to write where it does not.
pub(crate) fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

/// A string of one form.
pub(crate) fn text(max_length: u32, holds: &str, message: &str) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": max_length,
        "x-kubernetes-validations": [rule(holds, message)],
    })
}

/// A name that can also be a label's value, and is read aloud in Events.
pub(crate) fn name(_: &mut SchemaGenerator) -> Schema {
    text(
        63,
        "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        "write a name of lower-case letters, digits and dashes, 63 characters at most, such as canary",
    )
}

/// Kubernetes' label selector, checked: the API server does not look into one that is in a custom resource.
pub(crate) fn selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "description": "Labels that a node must have, with these values.",
                "type": "object",
                "maxProperties": 8,
                "additionalProperties": {"type": "string", "maxLength": 63},
                "x-kubernetes-validations": [
                    rule(&format!("self.all(key, {})", is_key("key")), LABEL_KEY),
                    rule(&format!("self.all(key, {})", is_value("self[key]")), LABEL_VALUE),
                ],
            },
            "matchExpressions": {
                "description": "What else must be true of a node's labels, all of it.",
                "type": "array",
                "maxItems": 8,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "description": "The label.",
                            "type": "string",
                            "maxLength": 317,
                            "x-kubernetes-validations": [rule(&is_key("self"), LABEL_KEY)],
                        },
                        "operator": {
                            "description": "In or NotIn values, or whether the label is there at all: Exists, DoesNotExist.",
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "The values of In and NotIn.",
                            "type": "array",
                            "maxItems": 16,
                            "x-kubernetes-list-type": "atomic",
                            "items": {
                                "type": "string",
                                "maxLength": 63,
                                "x-kubernetes-validations": [rule(&is_value("self"), LABEL_VALUE)],
                            },
                        },
                    },
                    "x-kubernetes-validations": [
                        rule(
                            "!(self.operator in ['In', 'NotIn']) || (has(self.values) && self.values.size() > 0)",
                            "In and NotIn need values: write at least one, or use Exists or DoesNotExist",
                        ),
                        rule(
                            "self.operator in ['In', 'NotIn'] || !has(self.values) || self.values.size() == 0",
                            "Exists and DoesNotExist take no values: remove them, or use In or NotIn",
                        ),
                    ],
                },
            },
        },
    })
}

/// What a field's values mean, in the field's description: `kubectl explain` shows no other place.
#[derive(Clone, Debug)]
pub(crate) struct DescribeValues;

impl Transform for DescribeValues {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(Value::Array(variants)) = schema.get("oneOf") else {
            return;
        };
        let meanings: Vec<String> = variants.iter().filter_map(meaning).collect();
        let own = schema.get("description").and_then(Value::as_str);
        let all: Vec<&str> = own
            .into_iter()
            .chain(meanings.iter().map(String::as_str))
            .collect();
        let all = all.join("\n");
        schema.insert("description".to_owned(), all.into());
    }
}

fn meaning(variant: &Value) -> Option<String> {
    let value = variant.get("const")?.as_str()?;
    let description = variant.get("description")?.as_str()?;
    Some(format!("{value}: {description}"))
}

/// CEL for a label's key: a name, with a domain before it or not.
fn is_key(of: &str) -> String {
    let pattern =
        "^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
    format!("{of}.matches('{pattern}')")
}

fn is_value(of: &str) -> String {
    format!("{of}.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?)?$')")
}

const LABEL_KEY: &str = "write a label's key, such as topology.kubernetes.io/zone: letters, digits, '-', '_' and '.', with a domain and a slash before it or not";
const LABEL_VALUE: &str = "write a label's value: 63 letters, digits, '-', '_' and '.' at most, with a letter or digit at both ends";
