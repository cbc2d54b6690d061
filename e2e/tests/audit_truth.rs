//! `kubectl streamway audit` finds what is planted in a real API server, no more and no less, and says of
//! it what the API server says.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
#![allow(
    clippy::indexing_slicing,
    reason = "of reports and of the test's own lists"
)]

#[allow(dead_code, unused_imports, reason = "rbac_truth uses the rest")]
mod truth;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::planted::{NAMESPACES, SHAPES};
use streamway_e2e::suite::Suite;
use streamway_e2e::{audit_tools, wait};
use streamway_rbac::{Question, Resource, Stream, Subject, Who};
use tokio::runtime::Runtime;
use truth::Server;

/// Names that rules may be limited to, and one that none is.
const PODS: [&str; 3] = ["web", "db", "other"];
/// A pod of the service account `runner`, and two that run as nobody's.
const RUNNERS: &str = "runner-1";

#[test]
fn the_audit_is_right() {
    let program = audit_tools::kubectl_streamway().unwrap();
    // With controllers: one of them fills aggregated ClusterRoles.
    let cluster = Cluster::builder("test-audit-truth")
        .controllers(true)
        .up()
        .unwrap();
    let runtime = Runtime::new().unwrap();
    let mut server = runtime.block_on(Server::connect(&cluster, 4)).unwrap();
    let audit = |args: &[&str], input: &[u8]| {
        let mut command = Command::new(&program);
        command
            .args(["audit", "--severity", "note", "-o", "json"])
            .args(args)
            .env("KUBECONFIG", cluster.kubeconfig());
        Report::of(command, input)
    };
    let mut suite = Suite::default();
    suite.check("a new cluster has nothing but its own", || {
        let report = audit(&[], b"")?;
        same(&report.found(), &own())?;
        ensure!(report.code == 0, "exit code {}", report.code);
        Ok(())
    });
    runtime.block_on(plant(&mut server)).unwrap();
    let mut live = None;
    suite.check("what is planted is found, and nothing else", || {
        // Until the controller has filled aggregated roles.
        wait::until("all is found", Duration::from_secs(30), || {
            let report = audit(&["--pods"], b"")?;
            let mut all = expected();
            all.extend(own());
            same(&report.found(), &all)?;
            ensure!(report.code == 1, "exit code {}", report.code);
            live = Some(report);
            Ok(Some(()))
        })
    });
    let Some(live) = live else {
        suite.verdict();
        return;
    };
    suite.check("every answer is the API server's", || {
        runtime.block_on(verdicts(&live, &mut server))
    });
    suite.check("pods of a service account are told", || {
        let account = "ServiceAccount planted-a/runner";
        let finding = live
            .findings()
            .find(|own| shown(&own["subject"]) == account);
        let pods = &finding.context("it is not found")?["pods"];
        ensure!(*pods == json!({"count": 1, "names": [RUNNERS]}), "{pods}");
        Ok(())
    });
    suite.check("--verify agrees with each", || {
        let report = audit(&["--verify", "--verify-qps", "1000"], b"")?;
        let mut asked = report
            .findings()
            .filter(|own| own["rule"].as_str() < Some("SW03"));
        let odd = asked.find(|own| own["verdict"]["verdict"] != "confirmed");
        ensure!(odd.is_none(), "{odd:?}");
        Ok(())
    });
    suite.check("the same is found in manifests", || {
        let report = audit(&["-f", "-"], manifests().as_bytes())?;
        same(&report.found(), &expected())?;
        let findings = report.findings();
        let lost =
            findings.filter(|own| own["paths"][0]["ruleLocation"]["line"].as_u64() < Some(1));
        let lost: Vec<_> = lost.map(|own| &own["title"]).collect();
        ensure!(lost.is_empty(), "without a line: {lost:?}");
        Ok(())
    });
    suite.verdict();
}

/// A report, and the exit code that came with it.
struct Report {
    code: i32,
    report: Value,
}

impl Report {
    fn of(mut command: Command, input: &[u8]) -> Result<Self> {
        use std::io::Write;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        let ended = std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input));
            child.wait_with_output()
        })?;
        let stderr = String::from_utf8_lossy(&ended.stderr);
        let code = ended.status.code().unwrap_or(-1);
        if !(0..=1).contains(&code) {
            bail!("{command:?} ended with {code}: {stderr}");
        }
        let report = serde_json::from_slice(&ended.stdout).with_context(|| stderr.into_owned())?;
        Ok(Self { code, report })
    }

    /// Findings that are not of Kubernetes' own parts.
    fn findings(&self) -> impl Iterator<Item = &Value> {
        let findings = self.report["findings"].as_array();
        let findings = findings.into_iter().flatten();
        findings.filter(|finding| finding["builtin"] != true)
    }

    fn found(&self) -> BTreeSet<(String, String)> {
        let found = self.findings().map(|finding| {
            let rule = finding["rule"].as_str().unwrap_or_default();
            (rule.to_owned(), shown(&finding["subject"]))
        });
        found.collect()
    }
}

fn shown(subject: &Value) -> String {
    let text = |key: &str| subject[key].as_str().unwrap_or_default();
    match text("namespace") {
        "" => format!("{} {}", text("kind"), text("name")),
        namespace => format!("{} {namespace}/{}", text("kind"), text("name")),
    }
}

/// The clusters of these tests have a user for node proxies that are started by hand.
fn own() -> BTreeSet<(String, String)> {
    [("SW022".to_owned(), "User streamproxy".to_owned())].into()
}

fn expected() -> BTreeSet<(String, String)> {
    let shapes = SHAPES.iter();
    let found = shapes.flat_map(|shape| {
        let rules = shape.found.split(' ').filter(|rule| !rule.is_empty());
        rules.map(|rule| (rule.to_owned(), shape.shown()))
    });
    found.collect()
}

fn same(found: &BTreeSet<(String, String)>, expected: &BTreeSet<(String, String)>) -> Result<()> {
    let more: Vec<_> = found.difference(expected).collect();
    let missed: Vec<_> = expected.difference(found).collect();
    ensure!(
        more.is_empty() && missed.is_empty(),
        "found and not planted: {more:?}; planted and not found: {missed:?}"
    );
    Ok(())
}

async fn plant(server: &mut Server) -> Result<()> {
    let namespaces = NAMESPACES.map(|name| {
        let namespace = json!({"metadata": {"name": name}});
        ("/api/v1/namespaces".to_owned(), namespace)
    });
    server.post_all(&namespaces).await?;
    let objects: Vec<_> = SHAPES.iter().flat_map(|shape| shape.objects()).collect();
    println!("{} shapes, {} objects", SHAPES.len(), objects.len());
    server.post_all(&objects).await?;
    let [first, ..] = NAMESPACES;
    let path = |kind: &str| format!("/api/v1/namespaces/{first}/{kind}");
    let account = json!({"metadata": {"name": "runner"}});
    server
        .post_all(&[(path("serviceaccounts"), account)])
        .await?;
    let pod = json!({
        "metadata": {"name": RUNNERS},
        "spec": {
            "serviceAccountName": "runner",
            "automountServiceAccountToken": false,
            "containers": [{"name": "c", "image": "none"}],
        },
    });
    server.post_all(&[(path("pods"), pod)]).await.map(drop)
}

fn manifests() -> String {
    let objects = SHAPES.iter().flat_map(|shape| shape.objects());
    let texts = objects.map(|(_, object)| serde_saphyr::to_string(&object).unwrap_or_default());
    texts.collect::<Vec<_>>().join("---\n")
}

/// Whom to ask about: everybody who is bound, and two who are not.
fn subjects() -> BTreeMap<String, Who> {
    let strangers = ["user:stranger", "account:planted-c/stranger"];
    let all = SHAPES.iter().map(|shape| shape.subject).chain(strangers);
    let all = all.map(|text| {
        let (kind, name) = text.split_once(':').unwrap_or_default();
        let subject = match kind {
            "user" => Subject::of_user(name),
            "group" => Subject::Group(name.to_owned()),
            _ => {
                let (namespace, name) = name.split_once('/').unwrap_or_default();
                let own = if namespace.is_empty() {
                    NAMESPACES[0]
                } else {
                    namespace
                };
                Subject::ServiceAccount {
                    namespace: own.to_owned(),
                    name: name.to_owned(),
                }
            }
        };
        (subject.to_string(), subject.who())
    });
    all.collect()
}

/// Asks for every subject, stream, namespace and pod: where the API server allows one verb of the two
/// and not the other, a finding says so, of the subject or of a group that it is in; elsewhere none of
/// the subject does.
async fn verdicts(report: &Report, server: &mut Server) -> Result<()> {
    let mut places = Vec::new();
    let mut asked = Vec::new();
    for (subject, who) in subjects() {
        for stream in Stream::ALL {
            for namespace in NAMESPACES.into_iter().chain(["elsewhere"]) {
                for name in PODS {
                    for verb in ["get", "create"] {
                        let question = Question::Resource(Resource {
                            verb,
                            resource: "pods",
                            subresource: stream.subresource(),
                            namespace,
                            name,
                            ..Resource::default()
                        });
                        asked.push((who.clone(), question));
                    }
                    places.push((subject.clone(), who.clone(), stream, namespace, name));
                }
            }
        }
    }
    let answers = server.review(&asked).await?;
    let mut odd = 0;
    for (place, answers) in places.iter().zip(answers.chunks(2)) {
        let (subject, who, stream, namespace, name) = place;
        let rule = match (answers[0].allowed, answers[1].allowed) {
            (true, false) => Some(1),
            (false, true) => Some(11),
            _ => None,
        };
        odd += usize::from(rule.is_some());
        let covers = |subject: &str, first: u8| {
            let rule = format!("SW0{:02}", first + *stream as u8);
            let mut findings = report.findings();
            findings.any(|own| {
                own["rule"] == rule
                    && shown(&own["subject"]) == subject
                    && reaches(&own["reach"], namespace, name)
            })
        };
        for first in [1, 11] {
            if rule == Some(first) {
                let mut groups = who.groups.iter();
                let told = covers(subject, first)
                    || groups.any(|group| covers(&format!("Group {group}"), first));
                ensure!(told, "{place:?}: {answers:?}, and not found");
            } else {
                // What everybody in a group has is not mended in the group's finding.
                ensure!(!covers(subject, first), "{place:?}: found, and {answers:?}");
            }
        }
    }
    println!(
        "  {} questions, {odd} of {} with one verb",
        asked.len(),
        places.len()
    );
    ensure!(odd > 100, "hardly anybody has one verb");
    Ok(())
}

/// Whether a report's reach has an object.
fn reaches(reach: &Value, namespace: &str, name: &str) -> bool {
    let own = reach["namespaces"].get(namespace);
    let names = own.unwrap_or_else(|| &reach["everywhere"]);
    let among = |key: &str| {
        let names = names[key].as_array();
        names.map(|names| names.iter().any(|own| own == name))
    };
    match (among("only"), among("allBut")) {
        (Some(among), _) => among,
        (None, Some(among)) => !among,
        (None, None) => false,
    }
}
