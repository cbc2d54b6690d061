//! The findings are those that asking for every subject and object brings, whatever the objects.

mod naive;
mod shapes;
mod world;

use std::collections::BTreeSet;

use proptest::prelude::*;
use shapes::Objects;
use streamway_rbac::{Detour, Index, Kind, Policy, Question, Resource, Stream, Subject, Who};

/// Namespaces and names that no object has stand for all others.
const NAMESPACES: [&str; 3] = ["n1", "n2", "elsewhere"];
const NAMES: [&str; 3] = ["a", "b", "other"];
/// Groups that user v is known to be in.
const KNOWN: [&str; 1] = ["g"];

fn kinds() -> Vec<Kind> {
    let mut kinds = vec![
        Kind::NodesProxy { create: false },
        Kind::NodesProxy { create: true },
    ];
    for stream in Stream::ALL {
        kinds.push(Kind::GetWithoutCreate(stream));
        kinds.push(Kind::CreateWithoutGet(stream));
    }
    kinds.extend(Detour::ALL.map(Kind::Detour));
    kinds
}

/// Kinds that are about what has no namespace.
fn is_cluster_wide(kind: Kind) -> bool {
    use Detour::{EscalateClusterRoles, ImpersonateGroups, ImpersonateUsers};
    matches!(
        kind,
        Kind::NodesProxy { .. }
            | Kind::Detour(ImpersonateUsers | ImpersonateGroups | EscalateClusterRoles)
    )
}

fn subjects(objects: &Objects) -> BTreeSet<Subject> {
    let bindings = objects.bindings.iter();
    let bindings = bindings.map(|b| (b.metadata.namespace.as_deref(), &b.subjects));
    let cluster = objects.cluster_bindings.iter().map(|b| (None, &b.subjects));
    let mut all = BTreeSet::new();
    for (namespace, subjects) in bindings.chain(cluster) {
        for subject in subjects.iter().flatten() {
            all.insert(match subject.kind.as_str() {
                "Group" => Subject::Group(subject.name.clone()),
                "User" => Subject::of_user(&subject.name),
                _ => {
                    let Some(namespace) = subject.namespace.as_deref().or(namespace) else {
                        continue;
                    };
                    let namespace = namespace.to_owned();
                    let name = subject.name.clone();
                    Subject::ServiceAccount { namespace, name }
                }
            });
        }
    }
    all
}

/// The subject by its own bindings alone, and as it is.
fn identities(subject: &Subject) -> (Who, Who) {
    let mut whole = subject.who();
    if whole.name == "v" {
        whole.groups.extend(KNOWN.map(str::to_owned));
    }
    let own = match subject {
        Subject::Group(group) => Who::exactly("", &[group]),
        _ => Who::exactly(&whole.name, &[]),
    };
    (own, whole)
}

fn may(objects: &Objects, who: &Who, right: Resource<'_>, namespace: &str, name: &str) -> bool {
    let question = Resource {
        namespace,
        name,
        ..right
    };
    naive::may(objects, who, &Question::Resource(question))
}

/// Whether a subject is to be found for an object.
fn expected(objects: &Objects, kind: Kind, subject: &Subject, namespace: &str, name: &str) -> bool {
    let (own, whole) = identities(subject);
    if whole.groups.iter().any(|group| group == "system:masters")
        || !may(objects, &own, kind.has(), namespace, name)
    {
        return false;
    }
    match kind {
        Kind::NodesProxy { create: true } => {
            let create = Kind::NodesProxy { create: false }.lacks().expect("create");
            may(objects, &whole, create, namespace, name)
        }
        Kind::Detour(_) => {
            let streams = Stream::ALL.into_iter();
            let mut rights = streams.flat_map(|stream| {
                [
                    Kind::GetWithoutCreate(stream).has(),
                    Kind::CreateWithoutGet(stream).has(),
                ]
            });
            let places: Vec<&str> = match namespace {
                "" => NAMESPACES.to_vec(),
                namespace => vec![namespace],
            };
            rights.any(|right| {
                let all = |namespace: &&str| {
                    let mut names = NAMES.iter();
                    names.all(|name| may(objects, &whole, right, namespace, name))
                };
                !places.iter().all(all)
            })
        }
        kind => !may(
            objects,
            &whole,
            kind.lacks().expect("a verb"),
            namespace,
            name,
        ),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whoever_is_to_be_found_is_and_nobody_else(objects in world::objects()) {
        let mut policy = objects.add_to(Policy::of_cluster());
        policy.add_groups("v", &KNOWN);
        let index = Index::new(policy);
        let findings = index.findings();
        let subjects = subjects(&objects);
        for finding in &findings {
            prop_assert!(subjects.contains(&finding.subject), "{:?}", finding);
            prop_assert!(!finding.paths.is_empty(), "{:?}", finding);
            let by_itself = finding.paths.iter().all(|path| path.subject == finding.subject);
            prop_assert!(by_itself, "{:?}", finding);
        }
        for kind in kinds() {
            let cluster_wide = is_cluster_wide(kind);
            let namespaces = if cluster_wide { &[""][..] } else { &NAMESPACES };
            for subject in &subjects {
                let mut found = findings.iter();
                let found = found.find(|found| found.kind == kind && found.subject == *subject);
                if cluster_wide && let Some(found) = found {
                    prop_assert!(found.reach.namespaces.is_empty(), "{:?}", found);
                }
                for namespace in namespaces {
                    for name in NAMES {
                        let told = found.is_some_and(|found| found.reach.contains(namespace, name));
                        let expected = expected(&objects, kind, subject, namespace, name);
                        prop_assert_eq!(
                            told, expected,
                            "{:?} of {} on {}/{}: {:?}", kind, subject, namespace, name, found
                        );
                    }
                }
            }
        }
    }
}
