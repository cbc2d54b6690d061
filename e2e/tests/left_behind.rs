//! Streamway torn out while nodes are switched: what is left is what `docs/install.md` says, and what it
//! says to type puts every node back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use streamway_crds::Phase;
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::product::{self, Streamway};
use streamway_e2e::rollout::Rollout;
use streamway_e2e::suite::Suite;
use streamway_e2e::{CURRENT, OLD_KUBELET, document, wait};

const DOCUMENT: &str = "docs/install.md";

#[test]
fn what_is_left_behind_is_repaired() {
    let cluster = Cluster::builder("test-left-behind")
        .services(true)
        .node("old", OLD_KUBELET, None)
        .node("new", CURRENT, None)
        .up()
        .unwrap();
    let kubectl = cluster.kubectl().unwrap();
    let before = product::nodes(&kubectl).unwrap();
    let archive = product::archive(&cluster.file("")).unwrap();
    let streamway = Streamway::new(&cluster, "dev", archive).unwrap();
    let rollout = Rollout::new(&cluster, "all").unwrap();
    let mut suite = Suite::default();
    suite.check("installed, and every node switched", || {
        document::prepare(&cluster)?;
        // Its pods end sooner, and so their namespace.
        let dev = [("overlays/default", "overlays/dev")];
        document::copied(&cluster, "rollout-site", "site", &dev)?;
        document::copied(&cluster, "rollout-site/withdraw", "site/withdraw", &[])?;
        streamway.install()?;
        switched(&rollout)
    });
    suite.check("everything is deleted at once", || {
        torn_out(&cluster, &kubectl)
    });
    suite.check(
        "kubectl exec works on every node, by SPDY on the old one",
        || {
            for (node, falls_back) in [("old", true), ("new", false)] {
                let pod = format!("box-{node}");
                let ended = kubectl.run(&["exec", "-v=6", &pod, "--", "echo", "hi"], b"")?;
                let fell_back = ended.stderr.contains("fallback");
                ensure!(
                    ended.stdout == b"hi\n" && fell_back == falls_back,
                    "{node}: {ended:?}"
                );
            }
            Ok(())
        },
    );
    suite.check("the old kubelet's node still declares", || {
        ensure!(declares(&kubectl, "old")?, "it does not");
        Ok(())
    });
    suite.check("the Job puts it back", || {
        document::typed(&cluster, DOCUMENT, "When everything is already gone")?;
        as_before(&kubectl, &before)
    });
    suite.check("left behind again, repaired by hand", || {
        leave_behind(&kubectl)?;
        ensure!(declares(&kubectl, "old")?, "nothing is left behind");
        document::typed(&cluster, DOCUMENT, "The same by hand")?;
        as_before(&kubectl, &before)
    });
    suite.check("installed again, and uninstalled while switched", || {
        streamway.install()?;
        switched(&rollout)?;
        document::typed(&cluster, DOCUMENT, "Uninstall")?;
        as_before(&kubectl, &before)
    });
    suite.verdict();
}

/// A rollout over all nodes, to its end.
fn switched(rollout: &Rollout<'_>) -> Result<()> {
    rollout.apply(
        "  waves: [{name: all, nodes: {percent: 100}, maxUnavailable: 3, bake: 1s}]\n  \
         analysis: {interval: 1s, minSamples: 1, prober: {interval: 1s}}\n",
    )?;
    let over = |phase| phase == Some(Phase::Complete);
    let time = Duration::from_secs(90);
    rollout.wait("the rollout is over", time, |status| over(status.phase))?;
    Ok(())
}

/// The controller loses its rights first, so that it cannot take anything back. Agents that have no pod
/// any more would stand in for kubelets until the end of their grace.
fn torn_out(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let free = r#"{"metadata":{"finalizers":null}}"#;
    let binding = ["clusterrolebinding", "streamway-controller"];
    kubectl.ok(&[&["patch"][..], &binding, &["--type=merge", "-p", free]].concat())?;
    for line in [
        "delete clusterrolebinding streamway-controller",
        "delete mutatingwebhookconfiguration streamway-webhook",
        "delete deployment --all -n streamway-system --wait=false",
        "delete daemonset --all -n streamway-nodes --wait=false",
        "delete pod --all -n streamway-system --force",
        "delete pod --all -n streamway-nodes --force",
        "delete namespace streamway-nodes streamway-system --force --wait=false",
        "delete crd --wait=false -l app.kubernetes.io/part-of=streamway",
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        kubectl.ok(&args)?;
    }
    let pods = [
        "get",
        "pods",
        "-A",
        "-l",
        "app.kubernetes.io/part-of=streamway",
        "-o",
        "name",
    ];
    for node in cluster.nodes() {
        cluster.signal_on(node, "/streamproxy node", "-KILL")?;
    }
    wait::until("no pod is left", Duration::from_secs(60), || {
        let left = kubectl.ok(&pods)?;
        ensure!(left.is_empty(), "{left}");
        Ok(Some(()))
    })
}

fn declares(kubectl: &Kubectl, node: &str) -> Result<bool> {
    let path = "jsonpath={.status.declaredFeatures}";
    let told = kubectl.ok(&["get", "node", node, "-o", path])?;
    Ok(told.contains("ExtendWebSocketsToKubelet"))
}

/// What a controller that was torn out leaves: a node, and rights that cannot be deleted.
fn leave_behind(kubectl: &Kubectl) -> Result<()> {
    let status = r#"{"status":{"declaredFeatures":["ExtendWebSocketsToKubelet"]}}"#;
    let node = [
        "patch",
        "node",
        "old",
        "--subresource=status",
        "--type=merge",
    ];
    kubectl.ok(&[&node[..], &["-p", status]].concat())?;
    let role = product::repository().join("config/base/controller");
    kubectl.ok(&["create", "namespace", "streamway-system"])?;
    kubectl.ok(&["create", "namespace", "streamway-nodes"])?;
    kubectl.ok(&["apply", "-k", &role.to_string_lossy()])?;
    let held = r#"{"metadata":{"finalizers":["streamway.dev/withdraw"]}}"#;
    let merge = ["--type=merge", "-p", held];
    let name = "streamway-controller";
    for object in [
        &["clusterrole", name][..],
        &["clusterrolebinding", name],
        &["serviceaccount", name, "-n", "streamway-system"],
    ] {
        kubectl.ok(&[&["patch"][..], object, &merge].concat())?;
    }
    let namespaces = ["namespace", "streamway-system", "streamway-nodes"];
    kubectl.ok(&[&["delete", "--wait=false"][..], &namespaces].concat())?;
    Ok(())
}

/// Every node as it was, and nothing of ours.
fn as_before(kubectl: &Kubectl, before: &[Value]) -> Result<()> {
    wait::until("nodes are as before", Duration::from_secs(90), || {
        let traces = product::traces(kubectl)?;
        ensure!(traces.is_empty(), "{traces:?}");
        let now = product::nodes(kubectl)?;
        ensure!(before == now, "{before:#?} became {now:#?}");
        // Else it could not be installed again.
        let get = [
            "get",
            "namespace",
            "streamway-nodes",
            "--ignore-not-found",
            "-o",
            "name",
        ];
        ensure!(
            kubectl.ok(&get)?.is_empty(),
            "the agents' namespace is there"
        );
        Ok(Some(()))
    })
}
