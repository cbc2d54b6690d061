//! Streamway installed as `docs/install.md` says, on three nodes of two versions: it comes up, changes no
//! node, changes nothing when it is applied again, brings nodes over with no right that it lacks, and goes
//! without a trace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Of JSON: what is not there is null.
#![allow(clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use streamway_crds::Phase;

use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::product::{self, Streamway};
use streamway_e2e::rollout::{Rollout, Way};
use streamway_e2e::suite::Suite;
use streamway_e2e::{document, wait};

#[test]
fn installed_and_gone_again() {
    let folder = tempfile::tempdir().unwrap();
    let flags = audit(folder.path()).unwrap();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let cluster = product::three_nodes("test-install")
        .api_server_flags(&flags)
        .up()
        .unwrap();
    let kubectl = cluster.kubectl().unwrap();
    let before = product::nodes(&kubectl).unwrap();
    let archive = product::archive(folder.path()).unwrap();
    let streamway = Streamway::new(&cluster, "default", archive).unwrap();
    let mut suite = Suite::default();
    suite.check("docs/install.md: install", || {
        document::prepare(&cluster)?;
        document::copied(&cluster, "rollout-site", "site", &[])?;
        document::typed(&cluster, "docs/install.md", "Install")?;
        streamway.ready()
    });
    suite.check("no node is another for it", || same(&before, &kubectl));
    suite.check(
        "each node has an agent with a certificate of its own",
        || identities(&kubectl),
    );
    suite.check("applied again, it changes nothing", || {
        applied_again(&kubectl, &streamway)
    });
    suite.check("a rollout brings every node over", || {
        let rollout = Rollout::new(&cluster, "all")?;
        rollout.apply(ALL)?;
        rollout.wait("the rollout is over", Duration::from_secs(90), |status| {
            status.phase == Some(Phase::Complete)
        })?;
        for node in cluster.nodes() {
            ensure!(rollout.way(&node.name)? == Way::Passed, "{}", node.name);
        }
        Ok(())
    });
    suite.check("the AccessReport names who may get and not create", || {
        reported(&kubectl)
    });
    suite.check("nobody asks for what they may not", || {
        refused(folder.path())
    });
    suite.check("kubectl delete -k, with every node switched", || {
        streamway.delete()
    });
    suite.check("every node is as it was", || same(&before, &kubectl));
    suite.check("what is in no manifest is gone too", || {
        let traces = product::traces(&kubectl)?;
        ensure!(traces.is_empty(), "{traces:?}");
        Ok(())
    });
    suite.verdict();
}

const ALL: &str = "  waves: [{name: all, nodes: {percent: 100}, maxUnavailable: 3, bake: 1s}]
  analysis: {interval: 1s, minSamples: 1, prober: {interval: 1s}}
";

/// The API server's flags for an account of every request of ours, in `folder`.
fn audit(folder: &Path) -> Result<Vec<String>> {
    let policy = folder.join("policy.yaml");
    let rules = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "Metadata", "userGroups": [
                "system:serviceaccounts:streamway-system",
                "system:serviceaccounts:streamway-nodes",
                "streamway:nodes",
            ]},
            {"level": "None"},
        ],
    });
    fs::write(&policy, rules.to_string())?;
    Ok(vec![
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", folder.join("audit.log").display()),
    ])
}

fn same(before: &[Value], kubectl: &Kubectl) -> Result<()> {
    let now = product::nodes(kubectl)?;
    ensure!(before == now, "{before:#?} became {now:#?}");
    let declares = |node: &Value| node["status"].get("declaredFeatures").is_some();
    // Else there would be nothing to compare.
    ensure!(now.iter().any(declares), "no node declares anything");
    Ok(())
}

fn identities(kubectl: &Kubectl) -> Result<()> {
    let path = "jsonpath={range .items[*]}{.spec.username} {.spec.extra.authentication\\.kubernetes\\.io/node-name[0]} \
                {.status.conditions[0].type} {.spec.signerName}{\"\\n\"}{end}";
    let told = kubectl.ok(&["get", "certificatesigningrequests", "-o", path])?;
    let signer = "kubernetes.io/kube-apiserver-client";
    for node in ["one", "two", "three"] {
        let account = "system:serviceaccount:streamway-nodes:streamway-agent";
        let line = format!("{account} {node} Approved {signer}");
        ensure!(told.lines().any(|own| own == line), "no {line} in {told}");
        let user = format!("streamway:node:{node}");
        let may = |node: &str, user: &str| {
            let node = format!("nodes/{node}");
            let user = format!("--as={user}");
            kubectl.run(
                &["auth", "can-i", "get", &node, "--subresource=proxy", &user],
                b"",
            )
        };
        ensure!(
            may(node, &user)?.code == 0,
            "{user} may not use its kubelet"
        );
        let other = if node == "one" { "two" } else { "one" };
        ensure!(
            may(other, &user)?.code == 1,
            "{user} may use another's kubelet"
        );
    }
    Ok(())
}

/// Somebody who may `get pods/exec` alone is in the report once it is made again, and no longer when the
/// right is gone.
fn reported(kubectl: &Kubectl) -> Result<()> {
    let role = "clusterrole/looks-and-runs";
    kubectl.ok(&[
        "create",
        "clusterrole",
        "looks-and-runs",
        "--verb=get",
        "--resource=pods/exec",
    ])?;
    let binding = ["create", "clusterrolebinding", "looks-and-runs"];
    let of = ["--clusterrole=looks-and-runs", "--user=jane"];
    kubectl.ok(&[&binding[..], &of].concat())?;
    let told = |what: &str, is_told: bool| {
        // One that was deleted is made again at once, and audits for it.
        kubectl.ok(&["delete", "accessreport", "cluster"])?;
        wait::until(what, Duration::from_secs(30), || {
            let args = ["get", "accessreport", "cluster", "--ignore-not-found"];
            let report = kubectl.ok(&[&args[..], &["-o", "json"]].concat())?;
            let report: Value = serde_json::from_str(&report).unwrap_or_default();
            let status = &report["status"];
            if status["complete"] != true {
                return Ok(None);
            }
            let findings = status["findings"].as_array().into_iter().flatten();
            let titles: Vec<_> = findings.map(|one| one["title"].clone()).collect();
            let jane = json!("User jane has get but not create on pods/exec");
            ensure!(titles.contains(&jane) == is_told, "{titles:?}");
            // 1.36 asks for create by itself, so nothing is open.
            ensure!(status["checksCreate"] == true, "{status}");
            ensure!(status["counts"]["high"] == 0, "{}", status["counts"]);
            Ok(Some(()))
        })
    };
    told("jane is in the report", true)?;
    kubectl.ok(&["delete", "clusterrolebinding/looks-and-runs", role])?;
    told("jane is no longer in it", false)
}

/// Name and version of everything that the overlay holds.
fn versions(kubectl: &Kubectl) -> Result<String> {
    let overlay = product::repository().join("config/overlays/default");
    let path = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    kubectl.ok(&["get", "-k", &overlay.to_string_lossy(), "-o", path])
}

fn applied_again(kubectl: &Kubectl, streamway: &Streamway<'_>) -> Result<()> {
    let first = versions(kubectl)?;
    let said = streamway.apply()?;
    // kubectl sends a patch for each PodDisruptionBudget, whose selector it replaces as a whole.
    let mut sent = said
        .lines()
        .filter(|line| !line.starts_with("poddisruptionbudget"));
    let changed = sent.find(|line| !line.ends_with(" unchanged"));
    ensure!(changed.is_none(), "{changed:?}");
    let second = versions(kubectl)?;
    ensure!(first == second, "{first}became\n{second}");
    Ok(())
}

/// What the API server wrote down of our requests: none was forbidden.
fn refused(folder: &Path) -> Result<()> {
    let log = fs::read_to_string(folder.join("audit.log"))?;
    let mut users = Vec::new();
    for line in log.lines() {
        let event: Value = serde_json::from_str(line)?;
        users.push(
            event["user"]["username"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        );
        let (what, code) = (&event["requestURI"], &event["responseStatus"]["code"]);
        ensure!(
            *code != 403,
            "{} {what}: {}",
            event["verb"],
            event["responseStatus"]
        );
    }
    for user in [
        "system:serviceaccount:streamway-system:streamway-controller",
        "system:serviceaccount:streamway-system:streamway-webhook",
        "system:serviceaccount:streamway-nodes:streamway-agent",
        "streamway:node:three",
    ] {
        ensure!(users.iter().any(|own| own == user), "{user} asked nothing");
    }
    Ok(())
}
