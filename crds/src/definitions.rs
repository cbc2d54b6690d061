//! The CustomResourceDefinitions as they are installed.

use kube::CustomResourceExt;
use serde_json::{Value, json};

use crate::rules::rule;
use crate::{AccessExemption, AccessReport, NodeStreaming, RolloutAction, StreamingRollout};

/// Each definition, with the name of its file in `crds/yaml`.
///
/// # Errors
///
/// None that a test would not show: the schemas are JSON.
pub fn definitions() -> Result<Vec<(String, Value)>, serde_json::Error> {
    [
        StreamingRollout::crd(),
        NodeStreaming::crd(),
        RolloutAction::crd(),
        AccessExemption::crd(),
        AccessReport::crd(),
    ]
    .into_iter()
    .map(|definition| {
        let name = definition.spec.names.plural.clone();
        let mut json = serde_json::to_value(definition)?;
        tidy(&mut json);
        if name == "streamingrollouts" {
            name_is_a_label(&mut json);
        }
        Ok((format!("{name}.yaml"), json))
    })
    .collect()
}

/// A field that is `null` is one that is not there: Kubernetes' own types know no other null.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("nullable").is_some_and(Value::is_boolean) {
                fields.remove("nullable");
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Nodes carry their rollout's name in a label, which is shorter than a name may be.
fn name_is_a_label(definition: &mut Value) {
    let root = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema");
    if let Some(root) = root.and_then(Value::as_object_mut) {
        let short = rule(
            "self.metadata.name.size() <= 63",
            "nodes carry the rollout's name as a label: write a name of 63 characters at most",
        );
        root.insert("x-kubernetes-validations".to_owned(), json!([short]));
    }
}
