//! Roles and bindings in manifests: YAML and JSON, of any number of documents, lists of objects too.

mod kubernetes;
mod object;
mod places;
mod problem;
mod split;
mod tree;

use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::io::{self, BufRead};
use std::sync::Arc;

use streamway_rbac::{ObjectKind, Policy};

use object::{Any, Budget, Found, Head};
use places::{Parts, Written, key, subject};
pub use places::{Place, Places};
use problem::Problems;
pub use problem::{Cause, Problem};
use split::Documents;
use tree::{Broken, Node, Value};

/// What manifests hold, and where.
///
/// Objects of other APIs are passed over, most without parsing them. A document that cannot be read is
/// told in [`problems`](Self::problems); the others are read. Memory is that of the roles and bindings,
/// and of the largest document: 256 MiB at most.
///
/// The roles that every cluster has are there from the start; one of the same name that is read takes its place.
///
/// ```
/// # use streamway_audit::manifests::Manifests;
/// let mut manifests = Manifests::default();
/// let text = "\
/// apiVersion: rbac.authorization.k8s.io/v1
/// kind: Role
/// metadata: {name: reader}
/// rules: get
/// ";
/// manifests.read("roles.yaml", text.as_bytes()).unwrap();
/// let problem = manifests.problems().next().unwrap();
/// assert_eq!(problem.to_string(), "roles.yaml:4: rules is a scalar, not a list");
/// ```
#[derive(Debug, Clone)]
pub struct Manifests {
    policy: Policy,
    places: Places,
    problems: Problems,
    documents: u64,
    objects: u64,
}

impl Default for Manifests {
    fn default() -> Self {
        Self {
            policy: kubernetes::policy(),
            places: Places::default(),
            problems: Problems::default(),
            documents: 0,
            objects: 0,
        }
    }
}

impl Manifests {
    /// Reads a source: a file's content, or all that comes from standard input. `source` is its name
    /// in places.
    ///
    /// # Errors
    ///
    /// The input's. What was read before stays.
    pub fn read(&mut self, source: &str, input: impl BufRead) -> io::Result<()> {
        let source = Arc::from(source);
        let mut documents = Documents::new(input, split::MOST);
        while let Some(document) = documents.next()? {
            self.documents += 1;
            let told = match document.text {
                Some(text) => self.document(&source, document.line, text),
                None => Err((document.line, Cause::TooLong(split::MOST))),
            };
            let Err((line, cause)) = told else { continue };
            // Cut at line feeds of one byte, the rest makes no sense either.
            let other_text = matches!(cause, Cause::Utf16);
            self.problems.add(&source, line, cause);
            if other_text {
                break;
            }
        }
        Ok(())
    }

    /// What cannot be taken as it stands, in the order of reading; the first 1,000.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.kept.iter()
    }

    /// Problems beyond those.
    pub fn problems_left_out(&self) -> usize {
        self.problems.left_out
    }

    /// Roles that are bound and nowhere among what was read, nor Kubernetes' own: what they give is not known. Each is
    /// told once, at the first place in the order of sources' names and lines.
    pub fn unresolved(&self) -> Vec<Problem> {
        let mut first = BTreeMap::new();
        for (binding, role) in self.policy.unresolved() {
            if let Some(place) = self.places.object(&binding) {
                let first = first.entry(role).or_insert(place);
                *first = place.min(first);
            }
        }
        let told = first.into_iter().map(|(role, place)| Problem {
            place: place.clone(),
            cause: Cause::NoRole(role.to_string()),
        });
        let mut told: Vec<Problem> = told.collect();
        told.sort_by(|one, other| one.place.cmp(&other.place));
        told
    }

    /// Documents so far, of any kind.
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// Roles and bindings so far.
    pub fn objects(&self) -> u64 {
        self.objects
    }

    /// Where things are written.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// What an index is made of, and where that is written.
    pub fn into_parts(self) -> (Policy, Places) {
        (self.policy, self.places)
    }

    /// Reads a document. Lines are the source's.
    fn document(&mut self, source: &Arc<str>, first: u32, text: &[u8]) -> Result<(), Broken> {
        let text = match std::str::from_utf8(text) {
            Ok(text) => text,
            Err(error) => return Err(not_utf8(first, text, error.valid_up_to())),
        };
        if !may_be_ours(text) {
            return Ok(());
        }
        let found = objects(text).map_err(|(line, cause)| {
            let template = matches!(cause, Cause::Syntax(_) | Cause::Field { .. });
            let cause = match template && text.contains("{{") {
                true => Cause::Template,
                false => cause,
            };
            (shifted(first, line), cause)
        })?;
        for mut found in found {
            found.line = shifted(first, found.line);
            found
                .parts
                .iter_mut()
                .for_each(|line| *line = shifted(first, *line));
            self.take(source, found);
        }
        Ok(())
    }

    fn take(&mut self, source: &Arc<str>, found: Found) {
        let at = Place {
            source: Arc::clone(source),
            line: found.line,
        };
        if let Some(gone) = found.gone {
            self.problems.add(source, at.line, gone);
        }
        self.objects += 1;
        use ObjectKind::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
        let (kind, metadata, subjects) = match &found.object {
            Any::Role(role) => {
                self.policy.add_role(role);
                (Role, &role.metadata, None)
            }
            Any::ClusterRole(role) => {
                self.policy.add_cluster_role(role);
                (ClusterRole, &role.metadata, None)
            }
            Any::RoleBinding(binding) => {
                self.policy.add_role_binding(binding);
                (RoleBinding, &binding.metadata, Some(&binding.subjects))
            }
            Any::ClusterRoleBinding(binding) => {
                self.policy.add_cluster_role_binding(binding);
                let subjects = Some(&binding.subjects);
                (ClusterRoleBinding, &binding.metadata, subjects)
            }
        };
        let key = key(kind, metadata);
        let parts = match subjects {
            None => Parts::Rules(found.parts.into()),
            Some(subjects) => {
                let subjects = subjects.iter().flatten().map(|own| subject(own, &key.1));
                let lines = subjects.zip(found.parts);
                let named = lines.filter_map(|(subject, line)| Some((subject?, line)));
                Parts::Subjects(named.collect())
            }
        };
        let written = Written { at, parts };
        match self.places.0.entry(key) {
            Entry::Vacant(place) => drop(place.insert(written)),
            Entry::Occupied(mut place) => {
                let object = places::object(place.key()).to_string();
                let before = place.insert(written);
                let first = before.at;
                self.problems
                    .add(source, found.line, Cause::Twice { object, first });
            }
        }
    }
}

/// Whether a text may hold anything of the RBAC API: where its name is, or may be in other words.
fn may_be_ours(text: &str) -> bool {
    text.contains(object::API) || text.contains('\\') || text.contains("{{")
}

/// Roles and bindings of a document. Lines are the document's.
fn objects(text: &str) -> Result<Vec<Found>, Broken> {
    let mut budget = Budget::new(tree::MOST_NODES + text.len());
    let mut found = Vec::new();
    // Of a list that has not told its kind yet.
    let mut waiting = Vec::new();
    let root = tree::read(text, &mut |node| {
        let head = Head::of(&node);
        if head.kind.is_none() {
            waiting.push(node);
            return Ok(());
        }
        take(&node, &head, 0, &mut budget, &mut found)
    })?;
    let head = Head::of(&root);
    if !head.is_list() {
        // `items` of something else.
        found.clear();
        take(&root, &head, 0, &mut budget, &mut found)?;
        return Ok(found);
    }
    for node in waiting {
        let own = Head::of(&node).or_of_list(&head);
        take(&node, &own, 0, &mut budget, &mut found)?;
    }
    // Elements that were not given one by one: the list has an anchor, or is one's.
    take(&root, &head, 0, &mut budget, &mut found)?;
    Ok(found)
}

/// Lists in lists, as kubectl reads them.
const DEEPEST: usize = 8;

fn take(
    node: &Node,
    head: &Head,
    depth: usize,
    budget: &mut Budget,
    found: &mut Vec<Found>,
) -> Result<(), Broken> {
    budget.take(node)?;
    if !head.is_list() || depth > DEEPEST {
        found.extend(object::read(node, head, budget)?);
        return Ok(());
    }
    let items = node.mapping().and_then(|mapping| mapping.get("items"));
    let Some(Value::Sequence(items)) = items.map(|items| &*items.value) else {
        return Ok(());
    };
    for item in items {
        let own = Head::of(item).or_of_list(head);
        take(item, &own, depth + 1, budget, found)?;
    }
    Ok(())
}

/// A document's line in its source.
fn shifted(first: u32, line: u32) -> u32 {
    first.saturating_add(line).saturating_sub(1)
}

fn not_utf8(first: u32, text: &[u8], valid: usize) -> Broken {
    let marked = text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff");
    if first == 1 && marked {
        return (first, Cause::Utf16);
    }
    let before = text.get(..valid).unwrap_or_default();
    let lines = before.iter().filter(|&&byte| byte == b'\n').count();
    let line = u32::try_from(lines).unwrap_or(u32::MAX);
    (first.saturating_add(line), Cause::NotUtf8)
}

#[cfg(test)]
mod tests;
