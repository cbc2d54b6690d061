//! Trees as objects of the RBAC API.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::{
    AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef,
    Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, ObjectMeta,
};

use super::problem::Cause;
use super::tree::{Broken, Mapping, Node, Value};

pub(super) const API: &str = "rbac.authorization.k8s.io";

/// An object, the line where it begins, and the lines of its rules or subjects.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) object: Any,
    pub(super) line: u32,
    pub(super) parts: Vec<u32>,
    /// Of a version that is gone.
    pub(super) gone: Option<Cause>,
}

#[derive(Debug)]
pub(super) enum Any {
    Role(Role),
    ClusterRole(ClusterRole),
    RoleBinding(RoleBinding),
    ClusterRoleBinding(ClusterRoleBinding),
}

/// `apiVersion` and `kind`, as far as they are there.
pub(super) struct Head {
    version: Option<String>,
    pub(super) kind: Option<String>,
}

impl Head {
    pub(super) fn of(node: &Node) -> Self {
        let scalar = |key| match &*node.mapping()?.get(key)?.value {
            Value::Scalar(text) => Some(text.clone()),
            _ => None,
        };
        Self {
            version: scalar("apiVersion"),
            kind: scalar("kind"),
        }
    }

    /// Of an element of a list, which need not have its own: `RoleBindingList`.
    pub(super) fn or_of_list(self, list: &Self) -> Self {
        let kind = list.kind.as_deref();
        let kind = kind.and_then(|kind| kind.strip_suffix("List"));
        Self {
            version: self.version.or_else(|| list.version.clone()),
            kind: self.kind.or_else(|| kind.map(str::to_owned)),
        }
    }

    /// Whether it is a list of any kind.
    pub(super) fn is_list(&self) -> bool {
        self.kind
            .as_deref()
            .is_some_and(|kind| kind.ends_with("List"))
    }

    /// Whether it is of the RBAC API, and if so what is to be said of its version.
    fn version(&self) -> Result<Option<Option<Cause>>, Cause> {
        let Some(version) = &self.version else {
            return Ok(None);
        };
        let Some((API, number)) = version.split_once('/') else {
            return Ok(None);
        };
        let gone = |since| Cause::Gone {
            version: version.clone(),
            since,
        };
        match number {
            "v1" => Ok(Some(None)),
            "v1beta1" => Ok(Some(Some(gone(22)))),
            "v1alpha1" => Ok(Some(Some(gone(23)))),
            _ => Err(Cause::Version(version.clone())),
        }
    }
}

/// The object that a tree is; none where it is of another API. `budget` is what all objects of the
/// document may take together.
pub(super) fn read(node: &Node, head: &Head, budget: &mut Budget) -> Result<Option<Found>, Broken> {
    let gone = match head.version() {
        Ok(Some(gone)) => gone,
        Ok(None) => return Ok(None),
        Err(cause) => return Err((node.line, cause)),
    };
    let Some(mapping) = node.mapping() else {
        return Ok(None);
    };
    let mut reader = Reader {
        budget,
        parts: Vec::new(),
    };
    let kind = head.kind.as_deref().unwrap_or_default();
    let Some(object) = reader.object(kind, node.line, mapping)? else {
        return Ok(None);
    };
    Ok(Some(Found {
        object,
        line: node.line,
        parts: reader.parts,
        gone,
    }))
}

/// How many nodes may still be read: aliases make them more than are written.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) left: usize,
    pub(super) most: usize,
}

impl Budget {
    pub(super) fn new(most: usize) -> Self {
        Self { left: most, most }
    }

    pub(super) fn take(&mut self, node: &Node) -> Result<(), Broken> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err((node.line, Cause::Aliases(self.most))),
        }
    }
}

impl Node {
    pub(super) fn mapping(&self) -> Option<&Mapping> {
        match &*self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    fn what(&self) -> &'static str {
        match &*self.value {
            Value::Null => "null",
            Value::Scalar(_) => "a scalar",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

struct Reader<'b> {
    budget: &'b mut Budget,
    /// Lines of rules or subjects.
    parts: Vec<u32>,
}

impl Reader<'_> {
    fn object(&mut self, kind: &str, line: u32, of: &Mapping) -> Result<Option<Any>, Broken> {
        let what = match kind {
            "Role" => "a Role",
            "ClusterRole" => "a ClusterRole",
            "RoleBinding" => "a RoleBinding",
            "ClusterRoleBinding" => "a ClusterRoleBinding",
            _ => return Ok(None),
        };
        let metadata = self.field(of, "metadata", Self::metadata)?;
        let metadata = metadata.filter(|metadata| metadata.name.is_some());
        let metadata = metadata.ok_or((line, Cause::NoName(what)))?;
        Ok(Some(match kind {
            "Role" => Any::Role(Role {
                metadata,
                rules: Some(self.rules(of)?),
            }),
            "ClusterRole" => Any::ClusterRole(ClusterRole {
                metadata,
                aggregation_rule: self.field(of, "aggregationRule", Self::aggregation)?,
                rules: Some(self.rules(of)?),
            }),
            "RoleBinding" => Any::RoleBinding(RoleBinding {
                metadata,
                role_ref: self.role_ref(of)?,
                subjects: Some(self.subjects(of)?),
            }),
            _ => Any::ClusterRoleBinding(ClusterRoleBinding {
                metadata,
                role_ref: self.role_ref(of)?,
                subjects: Some(self.subjects(of)?),
            }),
        }))
    }

    fn metadata(&mut self, of: &Node) -> Result<ObjectMeta, Broken> {
        let of = mapping(of)?;
        let name = self.text(of, "name")?.filter(|name| !name.is_empty());
        // Only `kubectl create` takes these; the API server appends to it.
        let prefix = self.text(of, "generateName")?;
        let generated = || prefix.map(|prefix| format!("{prefix}*"));
        Ok(ObjectMeta {
            name: name.or_else(generated),
            namespace: self.text(of, "namespace")?,
            labels: self.field(of, "labels", Self::labels)?,
            ..ObjectMeta::default()
        })
    }

    fn labels(&mut self, of: &Node) -> Result<BTreeMap<String, String>, Broken> {
        let mut labels = BTreeMap::new();
        for key in mapping(of)?.keys() {
            let value = self.text(mapping(of)?, key)?;
            labels.insert(key.clone(), value.unwrap_or_default());
        }
        Ok(labels)
    }

    fn aggregation(&mut self, of: &Node) -> Result<AggregationRule, Broken> {
        let of = mapping(of)?;
        Ok(AggregationRule {
            cluster_role_selectors: Some(self.list(of, "clusterRoleSelectors", Self::selector)?),
        })
    }

    fn selector(&mut self, of: &Node) -> Result<LabelSelector, Broken> {
        let of = mapping(of)?;
        Ok(LabelSelector {
            match_labels: self.field(of, "matchLabels", Self::labels)?,
            match_expressions: Some(self.list(of, "matchExpressions", Self::requirement)?),
        })
    }

    fn requirement(&mut self, of: &Node) -> Result<LabelSelectorRequirement, Broken> {
        let of = mapping(of)?;
        Ok(LabelSelectorRequirement {
            key: self.text(of, "key")?.unwrap_or_default(),
            operator: self.text(of, "operator")?.unwrap_or_default(),
            values: Some(self.list(of, "values", Self::scalar)?),
        })
    }

    fn rules(&mut self, of: &Mapping) -> Result<Vec<PolicyRule>, Broken> {
        self.list(of, "rules", |reader, of| {
            reader.parts.push(of.line);
            let of = mapping(of)?;
            Ok(PolicyRule {
                verbs: reader.list(of, "verbs", Self::scalar)?,
                api_groups: Some(reader.list(of, "apiGroups", Self::scalar)?),
                resources: Some(reader.list(of, "resources", Self::scalar)?),
                resource_names: Some(reader.list(of, "resourceNames", Self::scalar)?),
                non_resource_urls: Some(reader.list(of, "nonResourceURLs", Self::scalar)?),
            })
        })
    }

    fn role_ref(&mut self, of: &Mapping) -> Result<RoleRef, Broken> {
        let role = self.field(of, "roleRef", |reader, of| {
            let of = mapping(of)?;
            Ok(RoleRef {
                api_group: reader.text(of, "apiGroup")?,
                kind: reader.text(of, "kind")?.unwrap_or_default(),
                name: reader.text(of, "name")?.unwrap_or_default(),
            })
        });
        Ok(role?.unwrap_or_default())
    }

    fn subjects(&mut self, of: &Mapping) -> Result<Vec<Subject>, Broken> {
        self.list(of, "subjects", |reader, of| {
            reader.parts.push(of.line);
            let of = mapping(of)?;
            Ok(Subject {
                api_group: reader.text(of, "apiGroup")?,
                kind: reader.text(of, "kind")?.unwrap_or_default(),
                name: reader.text(of, "name")?.unwrap_or_default(),
                namespace: reader.text(of, "namespace")?,
            })
        })
    }

    /// A field; none where it is absent or null.
    fn field<T>(
        &mut self,
        of: &Mapping,
        key: &str,
        read: impl FnOnce(&mut Self, &Node) -> Result<T, Broken>,
    ) -> Result<Option<T>, Broken> {
        let Some(node) = of.get(key) else {
            return Ok(None);
        };
        if matches!(*node.value, Value::Null) {
            return Ok(None);
        }
        self.budget.take(node)?;
        let value = read(self, node);
        value.map(Some).map_err(|broken| within(key, broken))
    }

    fn text(&mut self, of: &Mapping, key: &str) -> Result<Option<String>, Broken> {
        self.field(of, key, Self::scalar)
    }

    /// The elements of a field that is a list; none where it is absent or null.
    fn list<T>(
        &mut self,
        of: &Mapping,
        key: &str,
        read: impl Fn(&mut Self, &Node) -> Result<T, Broken>,
    ) -> Result<Vec<T>, Broken> {
        let elements = self.field(of, key, |reader, of| {
            let Value::Sequence(nodes) = &*of.value else {
                return Err(wrong(of, "a list"));
            };
            let elements = nodes.iter().enumerate().map(|(place, node)| {
                reader.budget.take(node)?;
                let element = read(reader, node);
                element.map_err(|broken| within(&format!("[{place}]"), broken))
            });
            elements.collect()
        });
        Ok(elements?.unwrap_or_default())
    }

    fn scalar(&mut self, of: &Node) -> Result<String, Broken> {
        match &*of.value {
            Value::Scalar(text) if text.contains("{{") => Err((of.line, Cause::Template)),
            Value::Scalar(text) => Ok(text.clone()),
            _ => Err(wrong(of, "a string")),
        }
    }
}

fn mapping(of: &Node) -> Result<&Mapping, Broken> {
    of.mapping().ok_or_else(|| wrong(of, "a mapping"))
}

fn wrong(of: &Node, expected: &'static str) -> Broken {
    let cause = Cause::Field {
        field: String::new(),
        expected,
        found: of.what(),
    };
    (of.line, cause)
}

/// What is wrong in a field, told from outside of it.
fn within(outer: &str, (line, cause): Broken) -> Broken {
    let cause = match cause {
        Cause::Field {
            field,
            expected,
            found,
        } => {
            let dot = if field.is_empty() || field.starts_with('[') {
                ""
            } else {
                "."
            };
            Cause::Field {
                field: format!("{outer}{dot}{field}"),
                expected,
                found,
            }
        }
        other => other,
    };
    (line, cause)
}
