//! The controller against a real API server and etcd: what it writes, in which order, and what it
//! leaves behind when it is killed, told to end, or deleted.
//!
//! Its nodes are fakes (`streamway_e2e::fake_nodes` says what that is): here they have to fail at the
//! right moment, and only the writes are looked at. That sessions work is for the tests on real nodes.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
// Of JSON: what is not there is null.
#![allow(clippy::indexing_slicing)]

mod rollouts;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rollouts::{Stage, declared, order_of, rollout, writes_to};
use serde_json::{Value, json};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::controller::{self, Audit, Controller};
use streamway_e2e::fake_nodes::{Agent, FakeNodes};
use streamway_e2e::suite::Suite;

#[test]
fn the_controller_keeps_its_promises_to_the_api_server() {
    let audit = Audit::new(true).unwrap();
    let flags = audit.flags();
    let cluster = Cluster::builder("test-rollout")
        .api_server_flags(&flags.each_ref().map(String::as_str))
        .up()
        .unwrap();
    let mut suite = Suite::default();
    suite.check("without its kinds it says what installs them", || {
        kinds_missing(&cluster)
    });
    controller::install(&cluster).unwrap();
    suite.check("without a right it says which", || right_missing(&cluster));
    suite.check("wrong flags are told in one line", wrong_flags);
    let nodes = FakeNodes::start(&cluster.kubeconfig()).unwrap();
    let stage = Stage::new(&cluster, &nodes, &audit);
    suite.check("three nodes in two waves, in order", || waves(&stage));
    suite.check("a deleted rollout gives its nodes back", || deleted(&stage));
    suite.check("an agent that hangs is out of the path", || hangs(&stage));
    suite.check("sessions that fail take the wave back", || fails(&stage));
    suite.check(
        "a write that is refused is tried again, and not at once",
        || refused(&stage),
    );
    suite.check("nodes come and go in the middle of a wave", || {
        comes_and_goes(&stage)
    });
    suite.check("the API server restarts in the middle of a wave", || {
        restarted(&stage)
    });
    suite.check("the leader is killed in the middle of a wave", || {
        killed(&stage)
    });
    suite.check("a leader that is told to end hands over at once", || {
        handed_over(&stage)
    });
    suite.check("deleted with everything, it takes everything back", || {
        uninstalled(&stage)
    });
    suite.check("controller withdraw needs nothing of ours", || {
        withdrawn(&stage)
    });
    suite.verdict();
}

fn kinds_missing(cluster: &Cluster) -> Result<()> {
    let kubeconfig = cluster.kubeconfig();
    let kubeconfig = kubeconfig.to_string_lossy();
    let ended = Controller::complete(&[
        "run",
        "--kubeconfig",
        &kubeconfig,
        "--metrics-listen=127.0.0.1:0",
    ])?;
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    ensure!(ended.status.code() == Some(1), "{told}");
    for wanted in [
        "does not know nodestreamings.streamway.dev",
        "kubectl apply --server-side -k crds",
    ] {
        ensure!(told.contains(wanted), "{told}");
    }
    Ok(())
}

fn right_missing(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl()?;
    let role = "clusterrole/streamway-controller";
    let before = kubectl.ok(&["get", role, "-o", "json"])?;
    let mut less: Value = serde_json::from_str(&before)?;
    let rules = less["rules"].as_array_mut().context("no rules")?;
    rules.retain(|rule| rule["resources"] != json!(["nodes/status"]));
    kubectl.ok_with(&["replace", "-f", "-"], less.to_string().as_bytes())?;
    let kubeconfig = controller::kubeconfig(cluster)?;
    let kubeconfig = kubeconfig.to_string_lossy();
    let ended = Controller::complete(&[
        "run",
        "--kubeconfig",
        &kubeconfig,
        "--metrics-listen=127.0.0.1:0",
    ])?;
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    controller::install(cluster)?;
    ensure!(ended.status.code() == Some(1), "{told}");
    let wanted = "the controller may not: patch nodes/status; give these verbs to ClusterRole \
                  streamway-controller";
    ensure!(told.contains(wanted), "{told}");
    Ok(())
}

fn wrong_flags() -> Result<()> {
    for (flags, told) in [
        (
            &["--kubeconfig", "/nowhere"][..],
            "--kubeconfig /nowhere cannot be used",
        ),
        (
            &["--leader-elect-renew-deadline", "1h"],
            "must be shorter than",
        ),
        (&["--feature-gates", "Nonsense=true"], "Nonsense"),
        (&["--concurrent-writes", "0"], "concurrent-writes"),
    ] {
        let ended =
            Controller::complete(&[&["run", "--metrics-listen=127.0.0.1:0"], flags].concat())?;
        let text = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(ended.status.code() == Some(64), "{flags:?}: {text}");
        ensure!(
            text.contains(told) && text.lines().count() == 1,
            "{flags:?}: {text}"
        );
    }
    Ok(())
}

fn waves(stage: &Stage<'_>) -> Result<()> {
    let names = stage.make("waves", 3)?;
    let controller = stage.controller("waves", &[])?;
    stage.create(&rollout(
        "waves",
        json!([
            {"name": "canary", "nodes": {"count": 1}, "bake": "1s"},
            {"name": "all", "nodes": {"percent": 100}, "bake": "0s"},
        ]),
    ))?;
    stage.phase("waves", "Complete")?;
    let entries = stage.audit.entries();
    let mut order = Vec::new();
    for name in &names {
        ensure!(declared(&stage.node(name)?), "{name} declares nothing");
        let writes = order_of(&entries, name);
        let wanted = ["created", "traffic Agent", "feature Declared", "declares"];
        ensure!(writes == wanted, "{name}: {writes:?}");
        order.push((stage.wave(name)?, writes_to(&entries, name)));
    }
    // Of one wave after the other: every write of the canary's switch before any of another's.
    let canary = order
        .iter()
        .find(|(wave, _)| wave == "canary")
        .context("no canary")?;
    let last = canary.1.last().context("no writes")?;
    for (wave, writes) in order.iter().filter(|(wave, _)| wave != "canary") {
        let switched = writes.get(1).context("no writes")?;
        ensure!(last < switched, "{wave} began before the canary was over");
    }
    let all = names.iter().map(|name| stage.api_writes(&entries, name));
    println!(
        "    API writes of a node and its NodeStreaming: {:?}",
        all.collect::<Vec<_>>()
    );
    ensure!(stage.held()?, "the controller's rights are not held");
    let events = stage.events("waves")?;
    ensure!(!events.is_empty(), "no Events");
    stage.quiet("waves")?;
    controller.terminate()
}

fn deleted(stage: &Stage<'_>) -> Result<()> {
    let controller = stage.controller("deleted", &[])?;
    stage.delete("waves")?;
    for index in 0..3 {
        stage.given_back(&format!("waves-{index}"))?;
    }
    let entries = stage.audit.entries();
    let writes = order_of(&entries, "waves-0");
    let way_back = [
        "feature Withdrawn",
        "withdraws",
        "traffic Kubelet",
        "feature Kubelet",
    ];
    ensure!(writes.ends_with(&way_back.map(str::to_owned)), "{writes:?}");
    // Nothing depends on the controller any more.
    stage.until("the controller's rights are let go", || Ok(!stage.held()?))?;
    controller.terminate()
}

fn hangs(stage: &Stage<'_>) -> Result<()> {
    let names = stage.make("hangs", 2)?;
    let controller = stage.controller("hangs", &[])?;
    stage.create(&rollout(
        "hangs",
        json!([{"name": "all", "nodes": {"percent": 100}, "bake": "1h"}]),
    ))?;
    for name in &names {
        stage.until("it declares", || Ok(declared(&stage.node(name)?)))?;
    }
    for (agent, name) in [
        (Agent::Hanging, "hangs-0"),
        (Agent::NotReady("no connection".to_owned()), "hangs-1"),
    ] {
        let begun = Instant::now();
        stage.nodes.set(name, agent.clone())?;
        stage.until("it is withdrawn", || Ok(!declared(&stage.node(name)?)))?;
        println!(
            "    {agent:?}: withdrawn after {:.1} s",
            begun.elapsed().as_secs_f64()
        );
    }
    stage.delete("hangs")?;
    controller.terminate()?;
    for name in names {
        stage.nodes.set(&name, Agent::Well)?;
    }
    Ok(())
}

fn fails(stage: &Stage<'_>) -> Result<()> {
    let names = stage.make("fails", 3)?;
    stage.nodes.set("fails-1", Agent::Failing)?;
    let controller = stage.controller("fails", &[])?;
    stage.create(&rollout(
        "fails",
        json!([{"name": "all", "nodes": {"percent": 100}, "maxUnavailable": 3, "bake": "1h"}]),
    ))?;
    stage.phase("fails", "RolledBack")?;
    for name in &names {
        ensure!(!declared(&stage.node(name)?), "{name} still declares");
    }
    let status = stage.rollout("fails")?;
    let failed = status.pointer("/status/failedRevision").cloned();
    ensure!(
        failed.is_some_and(|failed| failed == status["status"]["revision"]),
        "{status}"
    );
    stage.delete("fails")?;
    controller.terminate()
}

fn killed(stage: &Stage<'_>) -> Result<()> {
    let names = stage.make("killed", 8)?;
    let first = stage.controller("killed-first", &[])?;
    stage.until("the first leads", || first.leads())?;
    let second = stage.controller("killed-second", &[])?;
    stage.create(&rollout(
        "killed",
        json!([
            {"name": "some", "nodes": {"count": 4}, "bake": "1s"},
            {"name": "all", "nodes": {"percent": 100}, "bake": "0s"},
        ]),
    ))?;
    stage.until("the first node is over", || {
        let over = names.iter().map(|name| Ok(declared(&stage.node(name)?)));
        Ok(over.collect::<Result<Vec<_>>>()?.contains(&true))
    })?;
    first.kill()?;
    let begun = Instant::now();
    stage.until("the second leads", || second.leads())?;
    println!(
        "    the second leads after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    stage.phase("killed", "Complete")?;
    let entries = stage.audit.entries();
    for name in &names {
        let writes = order_of(&entries, name);
        let count = |what: &str| writes.iter().filter(|write| *write == what).count();
        // Repeated only where it was not seen to be done; never undone.
        ensure!(
            count("withdraws") == 0 && count("declares") == 1,
            "{name}: {writes:?}"
        );
    }
    stage.delete("killed")?;
    for name in &names {
        stage.given_back(name)?;
    }
    second.terminate()
}

fn refused(stage: &Stage<'_>) -> Result<()> {
    stage.make("refused", 1)?;
    let kubectl = stage.cluster.kubectl()?;
    // Somebody's policy against what we write.
    kubectl.apply(
        r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: refused}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [''], apiVersions: [v1], operations: [UPDATE], resources: [nodes/status]}]
  validations: [{expression: "object.metadata.name != 'refused-0'", message: hands off}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: refused}
spec: {policyName: refused, validationActions: [Deny]}
"#,
    )?;
    stage.until("the policy holds", || {
        let patch = r#"{"status":{"phase":"Running"}}"#;
        let args = [
            "patch",
            "node",
            "refused-0",
            "--subresource=status",
            "--type=merge",
            "-p",
            patch,
        ];
        Ok(kubectl.run(&args, b"")?.stderr.contains("hands off"))
    })?;
    let controller = stage.controller("refused", &[])?;
    let tries = || {
        let entries = stage.audit.entries();
        let ours = |entry: &&Value| {
            entry["objectRef"]["name"] == "refused-0"
                && entry["objectRef"]["resource"] == "nodes"
                && entry["responseStatus"]["code"] == 422
        };
        entries.iter().filter(ours).count()
    };
    stage.create(&rollout(
        "refused",
        json!([{"name": "all", "nodes": {"percent": 100}, "bake": "0s"}]),
    ))?;
    let begun = Instant::now();
    stage.until("it was tried four times", || Ok(tries() >= 4))?;
    // After 0.5, 1 and 2 seconds.
    let waited = begun.elapsed();
    println!("    four tries in {:.1} s", waited.as_secs_f64());
    ensure!(waited > Duration::from_secs(3), "tried in a loop");
    for kind in [
        "validatingadmissionpolicybinding",
        "validatingadmissionpolicy",
    ] {
        kubectl.ok(&["delete", kind, "refused"])?;
    }
    stage.phase("refused", "Complete")?;
    ensure!(declared(&stage.node("refused-0")?), "nothing is declared");
    stage.delete("refused")?;
    stage.given_back("refused-0")?;
    controller.terminate()
}

fn comes_and_goes(stage: &Stage<'_>) -> Result<()> {
    let names = stage.make("comes", 4)?;
    let controller = stage.controller("comes", &[])?;
    stage.create(&rollout(
        "comes",
        json!([{"name": "all", "nodes": {"percent": 100}, "bake": "2s"}]),
    ))?;
    stage.until("the first node is over", || {
        let over = names.iter().map(|name| Ok(declared(&stage.node(name)?)));
        Ok(over.collect::<Result<Vec<_>>>()?.contains(&true))
    })?;
    // Whichever is left: one that is over, on its way, or still to come.
    let (gone, stay) = names.split_first().context("no nodes")?;
    let kubectl = stage.cluster.kubectl()?;
    kubectl.ok(&["delete", "node", gone])?;
    stage.make("comes", 6)?;
    stage.phase("comes", "Complete")?;
    let new = [gone.clone(), "comes-4".to_owned(), "comes-5".to_owned()];
    for name in stay.iter().chain(&new) {
        stage.until("it declares", || Ok(declared(&stage.node(name)?)))?;
    }
    stage.delete("comes")?;
    for name in stay.iter().chain(&new) {
        stage.given_back(name)?;
    }
    controller.terminate()
}

fn restarted(stage: &Stage<'_>) -> Result<()> {
    let names = stage.make("restarted", 6)?;
    // It is to outlive the restart, which takes longer than the short Lease.
    let controller = stage.controller("restarted", &["--leader-elect=false"])?;
    stage.create(&rollout(
        "restarted",
        json!([{"name": "all", "nodes": {"percent": 100}, "bake": "0s"}]),
    ))?;
    stage.until("the first node is over", || {
        let over = names.iter().map(|name| Ok(declared(&stage.node(name)?)));
        Ok(over.collect::<Result<Vec<_>>>()?.contains(&true))
    })?;
    stage.cluster.restart_api_server(0)?;
    let begun = Instant::now();
    stage.phase("restarted", "Complete")?;
    println!(
        "    complete {:.1} s after the restart",
        begun.elapsed().as_secs_f64()
    );
    stage.delete("restarted")?;
    for name in &names {
        stage.given_back(name)?;
    }
    controller.terminate()
}

fn handed_over(stage: &Stage<'_>) -> Result<()> {
    // So long that nobody waits it out here.
    let lease = [
        "--leader-elect-lease-duration=10m",
        "--leader-elect-renew-deadline=5m",
        "--leader-elect-retry-period=500ms",
    ];
    let first = stage.controller("over-first", &lease)?;
    stage.until("the first leads", || first.leads())?;
    let second = stage.controller("over-second", &lease)?;
    ensure!(!second.leads()?, "both lead");
    first.terminate()?;
    stage.until("the second leads", || second.leads())?;
    second.terminate()
}

fn uninstalled(stage: &Stage<'_>) -> Result<()> {
    let names = stage.make("uninstalled", 3)?;
    let before: Vec<Value> = names
        .iter()
        .map(|name| stage.node(name))
        .collect::<Result<_>>()?;
    let controller = stage.controller("uninstalled", &[])?;
    let other = stage.controller("uninstalled-other", &[])?;
    stage.create(&rollout(
        "uninstalled",
        json!([{"name": "all", "nodes": {"percent": 100}, "bake": "0s", "maxUnavailable": 3}]),
    ))?;
    stage.phase("uninstalled", "Complete")?;
    let begun = Instant::now();
    let kubectl = stage.cluster.kubectl()?;
    kubectl.ok(&[
        "delete",
        "--wait=false",
        "clusterrole/streamway-controller",
        "clusterrolebinding/streamway-controller",
    ])?;
    kubectl.ok(&[
        "delete",
        "--wait=false",
        "--namespace=streamway-system",
        "serviceaccount/streamway-controller",
    ])?;
    stage.until("its rights are gone", || {
        let left = kubectl.ok(&[
            "get",
            "clusterroles,clusterrolebindings",
            "-o",
            "name",
            "--ignore-not-found",
            "streamway-controller",
        ])?;
        Ok(left.is_empty())
    })?;
    println!(
        "    everything is taken back after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    for (name, before) in names.iter().zip(&before) {
        let after = stage.node(name)?;
        ensure!(after["status"] == before["status"], "{name}: {after}");
    }
    controller.ended(Duration::from_secs(30))?;
    let log = controller.log();
    ensure!(log.contains("everything was taken back"), "{log}");
    let _ = other.terminate();
    stage.delete("uninstalled")
}

fn withdrawn(stage: &Stage<'_>) -> Result<()> {
    let names = stage.make("withdrawn", 3)?;
    let kubectl = stage.cluster.kubectl()?;
    // As a controller that is gone left them.
    for name in &names {
        let left = json!({"status": {
            "declaredFeatures": ["ExtendWebSocketsToKubelet"],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10350}},
        }});
        let left = left.to_string();
        kubectl.ok(&[
            "patch",
            "node",
            name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &left,
        ])?;
    }
    kubectl.ok(&["delete", "crd", "nodestreamings.streamway.dev"])?;
    let kubeconfig = stage.cluster.kubeconfig();
    let kubeconfig = kubeconfig.to_string_lossy();
    for (flags, back) in [(&["--dry-run"][..], false), (&[], true), (&[], true)] {
        let args = [&["withdraw", "--kubeconfig", &kubeconfig], flags].concat();
        let ended = Controller::complete(&args)?;
        let told = String::from_utf8_lossy(&ended.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&ended.stderr).into_owned();
        ensure!(ended.status.success(), "{complaint}");
        print!("    {told}");
        for name in &names {
            let node = stage.node(name)?;
            let port = node
                .pointer("/status/daemonEndpoints/kubeletEndpoint/Port")
                .cloned();
            ensure!(declared(&node) != back, "{name}: {node}");
            ensure!((port == Some(json!(10250))) == back, "{name}: {node}");
        }
    }
    Ok(())
}
