//! What the controller must be allowed to do: looked at before it begins, so that what is missing is
//! told at once and all together, and not in the middle of a wave.

use std::fmt;

use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};
use streamway_crds::names;

use crate::args::RunArgs;

/// Verbs on one resource.
#[derive(Debug, Clone)]
struct Right {
    verbs: &'static [&'static str],
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    /// Of cluster-scoped resources, and for the whole cluster: none.
    namespace: Option<String>,
    /// Of one object only.
    name: Option<String>,
}

/// A verb that the controller may not use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Missing {
    verb: &'static str,
    what: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.what)
    }
}

const fn cluster(
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    verbs: &'static [&'static str],
) -> Right {
    Right {
        verbs,
        group,
        resource,
        subresource,
        namespace: None,
        name: None,
    }
}

/// Everything. `config/` grants the same, and a test compares the two.
fn all(args: &RunArgs) -> Vec<Right> {
    const WATCH: &[&str] = &["list", "watch"];
    const RBAC: &str = "rbac.authorization.k8s.io";
    const CERTIFICATES: &str = "certificates.k8s.io";
    let ours = names::GROUP;
    let in_namespace = |right: Right, namespace: &str| Right {
        namespace: Some(namespace.to_owned()),
        ..right
    };
    let named = |right: Right, name: &str| Right {
        name: Some(name.to_owned()),
        ..right
    };
    let agents = |right| in_namespace(right, &args.agent_namespace);
    let own = |right| in_namespace(right, &args.installation.namespace);
    let mut rights = vec![
        cluster("", "nodes", "", &["get", "list", "watch"]),
        cluster("", "nodes", "status", &["patch"]),
        cluster(ours, "streamingrollouts", "", WATCH),
        cluster(ours, "streamingrollouts", "status", &["patch"]),
        cluster(ours, "rolloutactions", "", WATCH),
        cluster(ours, "rolloutactions", "status", &["patch"]),
        cluster(
            ours,
            "nodestreamings",
            "",
            &["list", "watch", "create", "patch"],
        ),
        cluster(ours, "nodestreamings", "status", &["patch"]),
        cluster(
            RBAC,
            "clusterroles",
            "",
            &["list", "watch", "create", "patch", "delete"],
        ),
        cluster(
            RBAC,
            "clusterrolebindings",
            "",
            &["list", "watch", "create", "patch", "delete"],
        ),
        cluster(RBAC, "roles", "", &["list"]),
        cluster(RBAC, "rolebindings", "", &["list"]),
        cluster(
            ours,
            "accessreports",
            "",
            &["get", "list", "watch", "create"],
        ),
        cluster(ours, "accessreports", "status", &["patch"]),
        cluster(CERTIFICATES, "certificatesigningrequests", "", WATCH),
        cluster(
            CERTIFICATES,
            "certificatesigningrequests",
            "approval",
            &["patch"],
        ),
        named(
            cluster(CERTIFICATES, "signers", "", &["approve"]),
            names::AGENT_SIGNER,
        ),
        agents(cluster("", "pods", "", WATCH)),
        // A WebSocket is a GET; API servers from 1.35 on ask for create as well.
        agents(cluster("", "pods", "exec", &["get", "create"])),
        agents(cluster("", "pods", "attach", &["get", "create"])),
        agents(cluster("", "pods", "portforward", &["get", "create"])),
        // Where Events of cluster-scoped objects are.
        in_namespace(
            cluster("events.k8s.io", "events", "", &["create", "patch"]),
            "default",
        ),
    ];
    if args.leader_elect {
        let lease = own(cluster(
            "coordination.k8s.io",
            "leases",
            "",
            &["get", "update"],
        ));
        rights.push(named(lease, &args.leader_elect_resource_name));
    }
    let name = &args.own_rights;
    if !name.is_empty() {
        const HOLD: &[&str] = &["get", "list", "watch", "patch"];
        rights.push(named(own(cluster("", "serviceaccounts", "", HOLD)), name));
        let namespace = cluster("", "namespaces", "", &["get"]);
        rights.push(named(namespace, &args.installation.namespace));
    }
    rights
}

/// The verbs that the API server would refuse.
///
/// # Errors
///
/// It could not be asked.
pub(super) async fn missing(client: &Client, args: &RunArgs) -> Result<Vec<Missing>, kube::Error> {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let asked = all(args).into_iter().flat_map(|right| {
        let verbs = right.verbs.iter();
        verbs
            .map(move |verb| (*verb, right.clone()))
            .collect::<Vec<_>>()
    });
    let answers = asked.map(|(verb, right)| {
        let reviews = reviews.clone();
        async move {
            let review = review(verb, &right);
            let answer = reviews.create(&PostParams::default(), &review).await?;
            let allowed = answer.status.is_some_and(|status| status.allowed);
            Ok::<_, kube::Error>((!allowed).then(|| Missing {
                verb,
                what: told(&right),
            }))
        }
    });
    let answers: Vec<Option<Missing>> = futures_util::stream::iter(answers)
        .buffered(8)
        .try_collect()
        .await?;
    Ok(answers.into_iter().flatten().collect())
}

fn review(verb: &str, right: &Right) -> SelfSubjectAccessReview {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                group: Some(right.group.to_owned()),
                resource: Some(right.resource.to_owned()),
                subresource: given(right.subresource),
                namespace: right.namespace.clone(),
                name: right.name.clone(),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    }
}

/// As a ClusterRole's rule would name it.
fn told(right: &Right) -> String {
    let mut text = right.resource.to_owned();
    if !right.group.is_empty() {
        text = format!("{text}.{}", right.group);
    }
    if !right.subresource.is_empty() {
        text = format!("{text}/{}", right.subresource);
    }
    if let Some(name) = &right.name {
        text = format!("{text} {name}");
    }
    if let Some(namespace) = &right.namespace {
        text = format!("{text} in namespace {namespace}");
    }
    text
}
