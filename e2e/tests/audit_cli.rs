//! `kubectl streamway audit` and `doctor` on a real API server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]
#![allow(clippy::indexing_slicing, reason = "of the test's own lists")]

mod planted;

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use planted::{EXPECTED, OBJECTS};
use serde_json::{Value, json};
use streamway_e2e::audit_tools;
use streamway_e2e::cluster::Cluster;
use streamway_e2e::suite::Suite;
use streamway_e2e::wait;

struct Cli<'c> {
    cluster: &'c Cluster,
    folder: tempfile::TempDir,
}

/// How it ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Cli<'_> {
    /// As a user of the cluster; words are split at spaces.
    fn run(&self, user: &str, words: &str) -> Result<Ended> {
        let output = Command::new(audit_tools::kubectl_streamway()?)
            .args(words.split(' '))
            .arg("--kubeconfig")
            .arg(self.cluster.kubeconfig())
            .args(["--context", user])
            .current_dir(self.folder.path())
            .output()?;
        let ended = Ended {
            code: output.status.code().context("a signal")?,
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        };
        Ok(ended)
    }

    /// As the administrator, with a report.
    fn report(&self, words: &str) -> Result<Value> {
        let ended = self.run("admin", &format!("{words} -o json"))?;
        serde_json::from_str(&ended.stdout).with_context(|| format!("{ended:?}"))
    }
}

/// Findings that are not Kubernetes' own, as `RULE SUBJECT`.
fn found(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().into_iter().flatten();
    let findings = findings.filter(|finding| finding["builtin"] == false);
    let lines = findings.map(|finding| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let subject = &finding["subject"];
        let namespace = match &subject["namespace"] {
            Value::String(namespace) => format!("{namespace}/"),
            _ => String::new(),
        };
        let (rule, kind, name) = (
            text(&finding["rule"]),
            text(&subject["kind"]),
            text(&subject["name"]),
        );
        format!("{rule} {kind} {namespace}{name}")
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}

#[test]
fn audit_and_doctor() {
    // With controllers, which fill aggregated ClusterRoles.
    let cluster = Cluster::builder("test-audit-cli")
        .controllers(true)
        .up()
        .unwrap();
    cluster.kubectl().unwrap().apply(OBJECTS).unwrap();
    let cli = Cli {
        cluster: &cluster,
        folder: tempfile::tempdir().unwrap(),
    };
    let mut suite = Suite::default();
    suite.check("what was planted is found, and nobody else", || {
        planted_are_found(&cli)
    });
    suite.check(
        "severities are this server's, unless another is said",
        || severities(&cli),
    );
    suite.check("every verdict of the API server is the finding's", || {
        verified(&cli)
    });
    suite.check("a snapshot gives the same report", || snapshot(&cli));
    suite.check(
        "of manifests, Kubernetes' own roles give what they give here",
        || own_roles(&cli),
    );
    suite.check("who may not list all is told so, and the rest", || {
        refused(&cli)
    });
    suite.check("fixes are tried on the server, and not kept", || {
        fixes(&cli)
    });
    suite.check("what is exempt is accepted, until its end", || {
        exempted(&cli)
    });
    suite.check("pods of service accounts are told", || pods(&cli));
    suite.check("another user can be acted as", || acted_as(&cli));
    suite.check("doctor says what enforces the check", || doctor(&cli));
    suite.verdict();
}

fn planted_are_found(cli: &Cli<'_>) -> Result<()> {
    let report = cli.report("audit --severity note")?;
    let found = found(&report);
    ensure!(found == EXPECTED, "found {found:#?}");
    ensure!(report["complete"] == true, "{}", report["warnings"]);
    let findings = report["findings"].as_array().context("no findings")?;
    let own = findings.iter().filter(|finding| finding["builtin"] == true);
    let notes = own.clone().all(|finding| finding["severity"] == "note");
    ensure!(notes && own.count() > 0, "Kubernetes' own are not notes");
    let aggregated = findings
        .iter()
        .find(|own| own["subject"]["name"] == "aggregated");
    let path = &aggregated.context("no aggregated")?["paths"][0];
    ensure!(
        path["role"]["name"] == "whole" && path["writtenIn"]["name"] == "part",
        "{path}"
    );
    Ok(())
}

fn severities(cli: &Cli<'_>) -> Result<()> {
    let severity = |report: &Value, rule: &str| {
        let findings = report["findings"].as_array().cloned().unwrap_or_default();
        let mut own = findings
            .into_iter()
            .filter(|finding| finding["builtin"] == false);
        let own = own.find(|finding| finding["rule"] == rule);
        own.map(|finding| finding["severity"].as_str().unwrap_or_default().to_owned())
    };
    let here = cli.report("audit")?;
    let gates = here["server"]["gates"].as_array().context("no gates")?;
    let told = gates.iter().all(|gate| gate["origin"] == "server");
    ensure!(told && gates.len() == 3, "{gates:?}");
    ensure!(severity(&here, "SW001").as_deref() == Some("low"), "here");
    ensure!(severity(&here, "SW021").as_deref() == Some("high"), "here");
    let off = "audit --feature-gates AuthorizePodWebsocketUpgradeCreatePermission=false";
    ensure!(
        severity(&cli.report(off)?, "SW001").as_deref() == Some("high"),
        "gate off"
    );
    let old = cli.report("audit --server-version v1.34.4")?;
    ensure!(severity(&old, "SW003").as_deref() == Some("medium"), "1.34");

    let code = |words: &str| cli.run("admin", words).map(|ended| ended.code);
    ensure!(code("audit")? == 1, "nodes/proxy is open");
    ensure!(
        code("audit --kind get-without-create-exec")? == 0,
        "exec is closed"
    );
    ensure!(
        code("audit --kind get-without-create-exec --fail-on low")? == 1,
        "--fail-on"
    );
    Ok(())
}

fn verified(cli: &Cli<'_>) -> Result<()> {
    let report = cli.report("audit --severity note --verify --verify-qps 500")?;
    let findings = report["findings"].as_array().context("no findings")?;
    for finding in findings {
        let verdict = &finding["verdict"];
        ensure!(
            verdict["verdict"] == "confirmed",
            "{}: {verdict}",
            finding["title"]
        );
    }
    ensure!(
        findings.len() > EXPECTED.len(),
        "{} findings",
        findings.len()
    );
    Ok(())
}

/// Somebody with each ClusterRole that this server made, everywhere, and somebody with each in one namespace; one more
/// role is added to `view`, and so to `edit` and `admin`.
fn own_roles(cli: &Cli<'_>) -> Result<()> {
    let kubectl = cli.cluster.kubectl()?;
    let label = "kubernetes.io/bootstrapping=rbac-defaults";
    let path = "jsonpath={.items[*].metadata.name}";
    let own = kubectl.ok(&["get", "clusterroles", "-l", label, "-o", path])?;
    let rbac = "rbac.authorization.k8s.io";
    let mut manifests = vec![json!({
        "apiVersion": format!("{rbac}/v1"), "kind": "ClusterRole",
        "metadata": {"name": "more", "labels": {format!("{rbac}/aggregate-to-view"): "true"}},
        "rules": [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get"]}],
    })];
    let mut binding = |kind: &str, role: &str, namespace: Option<&str>| {
        let name = format!("own:{role}:{kind}");
        manifests.push(json!({
            "apiVersion": format!("{rbac}/v1"), "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": name}],
        }));
    };
    for role in own.split(' ') {
        binding("ClusterRoleBinding", role, None);
        binding("RoleBinding", role, Some("default"));
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": manifests}).to_string();
    let file = cli.folder.path().join("own.json");
    std::fs::write(&file, &list)?;
    let version = cli.cluster.version();
    let of_manifests = cli.report(&format!(
        "audit -f own.json --severity note --server-version v{version}"
    ))?;
    // No role of theirs is unknown.
    ensure!(of_manifests["warnings"].is_null(), "{of_manifests}");
    let wanted = found(&of_manifests);
    for role in ["view", "system:controller:generic-garbage-collector"] {
        for kind in ["ClusterRoleBinding", "RoleBinding"] {
            let one = format!("SW001 User own:{role}:{kind}");
            ensure!(wanted.contains(&one), "no {one} in {wanted:#?}");
        }
    }
    let here = || -> Result<Vec<String>> {
        let all = found(&cli.report("audit --severity note")?);
        let own = all.into_iter().filter(|line| line.contains(" User own:"));
        Ok(own.collect())
    };
    kubectl.apply(&list)?;
    let same = wait::until("view is filled here too", Duration::from_secs(30), || {
        let here = here()?;
        ensure!(here == wanted, "here {here:#?}, of manifests {wanted:#?}");
        Ok(Some(()))
    });
    kubectl.ok(&["delete", "-f", &file.to_string_lossy()])?;
    wait::until("view is as before", Duration::from_secs(30), || {
        let of_viewer = cli.report("audit --subject User/viewer")?;
        Ok(found(&of_viewer).is_empty().then_some(()))
    })?;
    same
}

fn snapshot(cli: &Cli<'_>) -> Result<()> {
    let live = cli.report("audit --severity note --save cluster.jsonl")?;
    let saved = cli.report("audit --severity note --from cluster.jsonl")?;
    ensure!(live == saved, "they differ");
    let path = cli.folder.path().join("cluster.jsonl");
    let text = std::fs::read_to_string(&path)?;
    ensure!(
        !text.contains("planted-annotation"),
        "annotations are in it"
    );
    // Cut off, as by a full disk.
    std::fs::write(&path, text.rsplit_once("{\"kind\"").context("no end")?.0)?;
    let ended = cli.run("admin", "audit --from cluster.jsonl")?;
    ensure!(
        ended.code == 2 && ended.stderr.contains("before its end"),
        "{ended:?}"
    );
    Ok(())
}

fn refused(cli: &Cli<'_>) -> Result<()> {
    // May list all but RoleBindings, and not read metrics.
    let ended = cli.run("reader", "audit -o json --fail-on never")?;
    ensure!(ended.code == 2, "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout)?;
    ensure!(report["complete"] == false, "complete");
    let found = found(&report);
    ensure!(found.contains(&"SW021 User node".to_owned()), "{found:?}");
    ensure!(
        !found.contains(&"SW001 ServiceAccount web/runner".to_owned()),
        "{found:?}"
    );
    for word in [
        "incomplete: rolebindings cannot be listed",
        "forbidden",
        "feature gates",
    ] {
        ensure!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
    }
    let ended = cli.run("nobody", "audit")?;
    let told = ended.stderr.contains("nothing can be listed");
    ensure!(
        ended.code == 2 && told && ended.stdout.is_empty(),
        "{ended:?}"
    );
    // A report that is not whole says so in a snapshot, too.
    let ended = cli.run("reader", "audit --save part.jsonl")?;
    ensure!(ended.code == 2, "{ended:?}");
    let ended = cli.run("admin", "audit --from part.jsonl")?;
    ensure!(
        ended.code == 2 && ended.stderr.contains("rolebindings"),
        "{ended:?}"
    );
    Ok(())
}

/// `--fix exempt` prints what the cluster takes, and the next audit knows it.
fn exempted(cli: &Cli<'_>) -> Result<()> {
    let kubectl = cli.cluster.kubectl()?;
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../crds");
    kubectl.ok(&["apply", "--server-side", "-k", crds])?;
    kubectl.wait_for_crds()?;
    // The API server's own check would refuse them, and knows no exemptions.
    let words = "audit --kind SW001 --server-version 1.34 --fail-on high";
    let open = cli.run("admin", words)?;
    ensure!(open.code == 1, "{open:?}");
    let fix = format!("{words} --fix exempt --reason moving --until 2099-12-31");
    let printed = cli.run("admin", &fix)?;
    kubectl.apply(&printed.stdout)?;
    let accepted = cli.run("admin", words)?;
    ensure!(accepted.code == 0, "{accepted:?}");
    let report = cli.report(&format!("{words} --save exempt.jsonl"))?;
    let findings = report["findings"].as_array().context("no findings")?;
    let own = findings
        .iter()
        .filter(|finding| finding["builtin"] == false);
    let told: Vec<_> = own.map(|finding| &finding["suppressed"]).collect();
    let all = told.iter().all(|told| {
        let reason = told["reason"].as_str().unwrap_or_default();
        reason.starts_with("AccessExemption audit-") && told["until"] == "2099-12-31"
    });
    ensure!(!told.is_empty() && all, "{told:?}");
    let again = cli.run(
        "admin",
        &words.replace("audit", "audit --from exempt.jsonl"),
    )?;
    ensure!(again.code == 0, "{again:?}");
    // Who may not list them is told that they count.
    let reader = cli.run("reader", words)?;
    ensure!(
        reader
            .stderr
            .contains("AccessExemptions cannot be listed, so what they accept counts"),
        "{reader:?}"
    );
    kubectl
        .ok(&["delete", "accessexemptions", "--all"])
        .map(drop)
}

fn fixes(cli: &Cli<'_>) -> Result<()> {
    let words = "audit --kind SW001 --subject web/runner --fix add-create --dry-run=server -o json";
    let ended = cli.run("admin", words)?;
    let proposal: Value = serde_json::from_str(&ended.stdout)?;
    let change = &proposal["changes"][0];
    ensure!(
        ended.code == 0 && change["dryRun"]["result"] == "accepted",
        "{ended:?}"
    );
    ensure!(change["role"]["name"] == "debugger", "{change}");
    let rules = cli
        .cluster
        .kubectl()?
        .ok(&["get", "role", "debugger", "-n", "web", "-o", "json"])?;
    ensure!(!rules.contains("create"), "it was kept: {rules}");
    // What is printed does it.
    let script = cli
        .run("admin", &words.replace(" --dry-run=server -o json", ""))?
        .stdout;
    let line = script
        .lines()
        .find(|line| line.starts_with("kubectl "))
        .context("no command")?;
    let patch = line.split('\'').nth(1).context("no patch")?;
    let args = [
        "patch", "role", "-n", "web", "debugger", "--type", "json", "--patch", patch,
    ];
    cli.cluster.kubectl()?.ok(&args)?;
    let report = cli.report("audit --subject web/runner")?;
    ensure!(found(&report).is_empty(), "it is still found: {report}");
    // Not the same rule any more: the patch tests for it.
    let drop = cli
        .run(
            "admin",
            "audit --kind SW001 --subject dropped --fix drop-get",
        )?
        .stdout;
    let line = drop
        .lines()
        .find(|line| line.starts_with("kubectl "))
        .context("no command")?;
    let patch = line.split('\'').nth(1).context("no patch")?;
    let args = [
        "patch",
        "clusterrole",
        "dropped",
        "--type",
        "json",
        "--patch",
        patch,
    ];
    cli.cluster.kubectl()?.ok(&args)?;
    let again = cli.cluster.kubectl()?.run(&args, b"")?;
    ensure!(again.code != 0, "a patch was taken twice");
    Ok(())
}

fn pods(cli: &Cli<'_>) -> Result<()> {
    let report = cli.report("audit --pods --subject web/worker --severity low")?;
    let pods = &report["findings"][0]["pods"];
    ensure!(
        pods["count"] == 1 && pods["names"][0] == "worker",
        "{report}"
    );
    Ok(())
}

fn acted_as(cli: &Cli<'_>) -> Result<()> {
    let ended = cli.run("admin", "audit --as reader --fail-on never")?;
    ensure!(
        ended.code == 2 && ended.stderr.contains("rolebindings"),
        "{ended:?}"
    );
    let ended = cli.run(
        "admin",
        "audit --as nobody --as-group auditors --fail-on never",
    )?;
    ensure!(ended.code == 0, "{ended:?}");
    Ok(())
}

fn doctor(cli: &Cli<'_>) -> Result<()> {
    let ended = cli.run("admin", "doctor -o json")?;
    let diagnosis: Value = serde_json::from_str(&ended.stdout)?;
    ensure!(
        ended.code == 0 && diagnosis["enforced"] == true,
        "{ended:?}"
    );
    ensure!(diagnosis["enforcers"][0]["active"] == true, "{diagnosis}");
    let denied = diagnosis["namespaces"]["deny"]
        .as_array()
        .context("no namespaces")?;
    ensure!(denied.contains(&"web".into()), "{diagnosis}");
    let ended = cli.run("nobody", "doctor")?;
    ensure!(
        ended.code == 2 && ended.stdout.contains("Not known"),
        "{ended:?}"
    );
    Ok(())
}
