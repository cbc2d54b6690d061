//! The index of crate `rbac` answers as a real API server does: random roles and bindings, in the API
//! server and in the index, random questions to both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
#![allow(clippy::indexing_slicing, reason = "of the test's own lists")]

mod truth;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use streamway_e2e::cluster::Cluster;
use streamway_e2e::suite::Suite;
use streamway_e2e::wait;
use streamway_rbac::{Finding, Index, ObjectKind, Path, Policy, Question, Resource, Who};
use tokio::runtime::Runtime;
use truth::{Random, Server, Verdict, world};

/// Questions; with `STREAMWAY_SEED` others of the same number.
const QUESTIONS: usize = 6000;

#[test]
fn the_index_is_right() {
    let seed = std::env::var("STREAMWAY_SEED").map_or(6, |text| text.parse().expect("a number"));
    println!("seed {seed}: STREAMWAY_SEED asks for another");
    let mut random = Random(seed);
    let objects = world::objects(&mut random);
    let asked: Vec<_> = (0..QUESTIONS)
        .map(|_| (world::who(&mut random), world::question(&mut random)))
        .collect();

    // With controllers: one of them fills aggregated ClusterRoles.
    let cluster = Cluster::builder("test-rbac-truth")
        .controllers(true)
        .up()
        .unwrap();
    let runtime = Runtime::new().unwrap();
    let mut server = runtime.block_on(Server::connect(&cluster, 8)).unwrap();
    runtime.block_on(create(&mut server, &objects)).unwrap();
    println!("{} roles and bindings", objects.len());

    let mut suite = Suite::default();
    suite.check(
        "aggregated rules are computed as the controller does",
        || {
            wait::until("both indexes agree", Duration::from_secs(20), || {
                let (stored, computed) = runtime.block_on(async {
                    let stored = server.fill(Policy::of_cluster()).await?;
                    let computed = server.fill(Policy::of_manifests()).await?;
                    anyhow::Ok((Index::new(stored), Index::new(computed)))
                })?;
                let differ = asked.iter().find(|(who, question)| {
                    stored.may(who, question).is_some() != computed.may(who, question).is_some()
                });
                ensure!(differ.is_none(), "they differ on {differ:?}");
                Ok(Some(()))
            })
        },
    );
    runtime.block_on(effective(&mut server)).unwrap();
    let policy = runtime.block_on(server.fill(Policy::of_cluster())).unwrap();
    let index = Index::new(policy);
    suite.check("every answer is the API server's", || {
        let verdicts = runtime.block_on(server.review(&asked))?;
        answers(&index, &asked, &verdicts)
    });
    suite.check("findings are what they say", || {
        runtime.block_on(findings(&index, &mut server))
    });
    suite.verdict();
}

async fn create(server: &mut Server, objects: &[(String, serde_json::Value)]) -> Result<()> {
    let namespaces = world::NAMESPACES.map(|name| {
        let namespace = json!({"metadata": {"name": name}});
        ("/api/v1/namespaces".to_owned(), namespace)
    });
    server.post_all(&namespaces).await?;
    server.post_all(objects).await.map(drop)
}

/// Waits until what was made before counts. The authorizer hears of each kind of objects in order, so
/// that the last of each kind tells.
async fn effective(server: &mut Server) -> Result<()> {
    let base = "/apis/rbac.authorization.k8s.io/v1";
    let rules = json!([{"verbs": ["last"], "apiGroups": ["last"], "resources": ["last"]}]);
    let role = json!({"metadata": {"name": "last"}, "rules": rules});
    let binding = |kind: &str| {
        let group = "rbac.authorization.k8s.io";
        json!({
            "metadata": {"name": "last"},
            "roleRef": {"apiGroup": group, "kind": kind, "name": "last"},
            "subjects": [{"apiGroup": group, "kind": "User", "name": kind}],
        })
    };
    let last = [
        (format!("{base}/clusterroles"), role.clone()),
        (
            format!("{base}/clusterrolebindings"),
            binding("ClusterRole"),
        ),
        (format!("{base}/namespaces/t0/roles"), role),
        (
            format!("{base}/namespaces/t0/rolebindings"),
            binding("Role"),
        ),
    ];
    server.post_all(&last).await?;
    let question = Question::Resource(Resource {
        verb: "last",
        group: "last",
        resource: "last",
        namespace: "t0",
        ..Resource::default()
    });
    let asked = ["ClusterRole", "Role"].map(|user| (Who::user(user, &[]), question));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let verdicts = server.review(&asked).await?;
        if verdicts.iter().all(|verdict| verdict.allowed) {
            return Ok(());
        }
        let late = tokio::time::Instant::now() > deadline;
        ensure!(!late, "the last role and binding do not count");
    }
}

/// Compares the index's answers, and its reasons, with the API server's.
fn answers(index: &Index, asked: &[(Who, Question<'_>)], verdicts: &[Verdict]) -> Result<()> {
    ensure!(verdicts.len() == asked.len(), "{} verdicts", verdicts.len());
    let mut allowed = 0;
    for ((who, question), verdict) in asked.iter().zip(verdicts) {
        let path = index.may(who, question);
        ensure!(
            path.is_some() == verdict.allowed,
            "{who:?} {question:?}: {path:?} instead of {verdict:?}"
        );
        if verdict.allowed {
            allowed += 1;
            // The API server stops at any; the index knows all.
            let mut ways = index.ways(who, question);
            let same = ways.any(|path| verdict.reason.starts_with(&reason(&path)));
            ensure!(same, "{who:?} {question:?}: not by {}", verdict.reason);
        }
    }
    println!(
        "  {} questions: {allowed} allowed, each for the same reason",
        asked.len()
    );
    let fair = allowed * 10 > asked.len() && allowed * 10 < 9 * asked.len();
    ensure!(fair, "nearly all answers are the same");
    Ok(())
}

/// How the API server tells of a path.
fn reason(path: &Path<'_>) -> String {
    let binding = match path.binding.kind {
        ObjectKind::RoleBinding => format!("{}/{}", path.binding.name, path.binding.namespace),
        _ => path.binding.name.to_owned(),
    };
    let (kind, role) = (path.binding.kind.as_str(), path.role);
    let (role_kind, role) = (role.kind.as_str(), role.name);
    format!("RBAC: allowed by {kind} \"{binding}\" of {role_kind} \"{role}\" to ")
}

/// Asks for one object of each finding, whether the subject has the one verb and lacks the other.
async fn findings(index: &Index, server: &mut Server) -> Result<()> {
    let findings = index.findings();
    let mut asked = Vec::new();
    let mut expected = Vec::new();
    for finding in &findings {
        let (namespace, name) = object(finding).context("it reaches nothing")?;
        let at = |right: Resource<'static>| {
            let question = Resource {
                namespace,
                name,
                ..right
            };
            (finding.subject.who(), Question::Resource(question))
        };
        asked.push(at(finding.kind.has()));
        expected.push((finding, true));
        if let Some(lacks) = finding.kind.lacks() {
            asked.push(at(lacks));
            expected.push((finding, false));
        }
    }
    let verdicts = server.review(&asked).await?;
    for ((finding, expected), verdict) in expected.iter().zip(&verdicts) {
        ensure!(*expected == verdict.allowed, "{finding:?}: {verdict:?}");
    }
    println!(
        "  {} findings, {} questions about them",
        findings.len(),
        asked.len()
    );
    ensure!(findings.len() > 20, "hardly any finding");
    Ok(())
}

/// An object that a finding reaches.
fn object<'a>(finding: &Finding<'a>) -> Option<(&'a str, &'a str)> {
    let mut namespaces = finding.reach.namespaces.keys().copied().collect::<Vec<_>>();
    namespaces.push(if namespaces.is_empty() {
        ""
    } else {
        "anywhere"
    });
    for namespace in namespaces {
        for name in ["anything", "x", "y", "*"] {
            if finding.reach.contains(namespace, name) {
                return Some((namespace, name));
            }
        }
    }
    // A name of another's choice: one of the cluster's own roles.
    let names = match &finding.reach.everywhere {
        streamway_rbac::Names::Only(names) => names,
        streamway_rbac::Names::AllBut(_) => return None,
    };
    names.first().map(|name| ("", *name))
}
