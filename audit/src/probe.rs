//! What to ask an API server about a finding.

use std::fmt;

use streamway_rbac::Resource;

use crate::finding::Finding;
use crate::reach::{Names, Reach};

/// A question whose answer the finding says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The verb.
    pub verb: &'static str,
    /// The API group.
    pub group: &'static str,
    /// The resource.
    pub resource: &'static str,
    /// The subresource; empty for none.
    pub subresource: &'static str,
    /// The namespace; empty for all, or where there are none.
    pub namespace: String,
    /// The object's name; empty for all.
    pub name: String,
    /// The answer.
    pub allowed: bool,
}

/// In no cluster, or it does not matter.
const ANYTHING: &str = "streamway-audit-anything";

impl Finding {
    /// Questions about one of the objects that it reaches: whether the subject may do the one, and may
    /// not do the other.
    pub fn probes(&self) -> Vec<Probe> {
        let kind = self.rule.kind();
        let Some((namespace, name)) = object(&self.reach) else {
            return Vec::new();
        };
        let probe = |right: Resource<'static>, allowed| Probe {
            verb: right.verb,
            group: right.group,
            resource: right.resource,
            subresource: right.subresource,
            namespace: namespace.clone(),
            name: name.clone(),
            allowed,
        };
        let lacks = kind.lacks().map(|right| probe(right, false));
        [Some(probe(kind.has(), true)), lacks]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Namespace and name of an object that is reached.
fn object(reach: &Reach) -> Option<(String, String)> {
    if let Some(name) = name(&reach.everywhere) {
        let anywhere = reach.namespaces.is_empty();
        let namespace = if anywhere { "" } else { ANYTHING };
        return Some((namespace.to_owned(), name));
    }
    let mut namespaces = reach.namespaces.iter();
    namespaces.find_map(|(namespace, names)| Some((namespace.clone(), name(names)?)))
}

fn name(names: &Names) -> Option<String> {
    match names {
        Names::Only(names) => names.first().cloned(),
        Names::AllBut(names) if names.is_empty() => Some(String::new()),
        Names::AllBut(_) => Some(ANYTHING.to_owned()),
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.subresource.is_empty() {
            write!(f, "/{}", self.subresource)?;
        }
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        match self.namespace.as_str() {
            "" => Ok(()),
            namespace => write!(f, " in {namespace}"),
        }
    }
}
