//! Streamway installed by `kubectl apply -k` on three nodes of two versions: it comes up, changes no node,
//! needs no right that it does not have, changes nothing when it is applied again, and goes without a
//! trace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Of JSON: what is not there is null.
#![allow(clippy::indexing_slicing)]

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::product::{self, Streamway};
use streamway_e2e::suite::Suite;
use streamway_e2e::{CURRENT, OLD_KUBELET};

#[test]
fn installed_and_gone_again() {
    let folder = tempfile::tempdir().unwrap();
    let flags = audit(folder.path()).unwrap();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let cluster = Cluster::builder("test-install")
        .services(true)
        .api_server_flags(&flags)
        .node("one", OLD_KUBELET, None)
        .node("two", OLD_KUBELET, None)
        .node("three", CURRENT, None)
        .up()
        .unwrap();
    let kubectl = cluster.kubectl().unwrap();
    let before = nodes(&kubectl).unwrap();
    let archive = product::archive(folder.path()).unwrap();
    let streamway = Streamway::new(&cluster, "default", archive).unwrap();
    let mut suite = Suite::default();
    suite.check("kubectl apply -k: everything is ready", || {
        streamway.install()
    });
    suite.check("no node is another for it", || {
        same(&before, &nodes(&kubectl)?)
    });
    suite.check(
        "each node has an agent with a certificate of its own",
        || identities(&kubectl),
    );
    suite.check("applied again, it changes nothing", || {
        applied_again(&kubectl, &streamway)
    });
    suite.check("nobody asks for what they may not", || {
        refused(folder.path())
    });
    suite.check("kubectl delete -k: everything is gone", || {
        streamway.delete()
    });
    suite.check("and every node is as it was", || {
        same(&before, &nodes(&kubectl)?)
    });
    suite.check("what is not in the manifests is gone too", || {
        traces(&kubectl)
    });
    suite.verdict();
}

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

/// Every Node, without what changes by itself: times, and the images that a node has.
fn nodes(kubectl: &Kubectl) -> Result<Vec<Value>> {
    let all: Value = serde_json::from_str(&kubectl.ok(&["get", "nodes", "-o", "json"])?)?;
    let items = all.get("items").and_then(Value::as_array);
    let mut nodes = items.context("no items")?.clone();
    for node in &mut nodes {
        let metadata = node["metadata"].as_object_mut().context("no metadata")?;
        metadata
            .retain(|name, _| ["name", "labels", "annotations", "finalizers"].contains(&&**name));
        let status = node["status"].as_object_mut().context("no status")?;
        status.remove("images");
        for condition in status["conditions"].as_array_mut().into_iter().flatten() {
            let condition = condition.as_object_mut().context("no condition")?;
            condition.retain(|name, _| ["type", "status", "reason"].contains(&&**name));
        }
    }
    Ok(nodes)
}

fn same(before: &[Value], now: &[Value]) -> Result<()> {
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

/// Objects that the programs made: roles of agents, Leases, Secrets.
fn traces(kubectl: &Kubectl) -> Result<()> {
    let kinds = "clusterroles,clusterrolebindings,roles,rolebindings,mutatingwebhookconfigurations,\
                 customresourcedefinitions,priorityclasses,namespaces";
    let left = kubectl.ok(&["get", kinds, "-A", "-o", "name"])?;
    let ours = left.lines().filter(|name| name.contains("streamway"));
    // Empty: see `Streamway::gone`.
    let ours: Vec<_> = ours
        .filter(|name| *name != "namespace/streamway-nodes")
        .collect();
    ensure!(ours.is_empty(), "{ours:?}");
    Ok(())
}
