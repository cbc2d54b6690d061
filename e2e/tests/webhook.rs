//! The webhook before real API servers and kubelets: what a kubelet writes does not undo a switch, nothing
//! else is touched, and a kubelet can always write.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod admission;

use std::fs;
use std::time::{Duration, Instant};

use admission::kubelets::{A_WRITE, Writes, declares, patch, register, streaming, switch, wish};
use admission::load::Load;
use admission::{CONFIGURATION, Replica, SOON, apply, base, bundle, install, secret};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use streamway_crds::names::{AGENT_PORT, FEATURE, SYSTEM_NAMESPACE, WEBHOOK_SECRET};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::suite::Suite;
use streamway_e2e::{CURRENT, OLD_KUBELET, wait};

/// A node without a kubelet, whose writes are made by the test.
const SYNTHETIC: &str = "synthetic";

#[test]
fn what_a_kubelet_writes_does_not_undo_a_switch() {
    let folder = tempfile::tempdir().unwrap();
    let (writes, audit) = Writes::new(&folder).unwrap();
    let mut flags: Vec<&str> = audit.iter().map(String::as_str).collect();
    // The Service's endpoints are asked for, since nothing makes its address lead anywhere.
    flags.push("--enable-aggregator-routing=true");
    let cluster = Cluster::builder("test-webhook")
        .api_server_flags(&flags)
        .node("new", CURRENT, None)
        .node("old", OLD_KUBELET, None)
        .up()
        .unwrap();
    let kubectl = cluster.kubectl().unwrap();
    install(&kubectl).unwrap();
    // At once, so that both find no Secret.
    let replicas = [0, 1].map(|index| Replica::start(&cluster, index).unwrap());
    let world = World {
        cluster: &cluster,
        kubectl,
        writes,
        replicas,
    };

    let mut suite = Suite::default();
    suite.check(
        "two replicas share one CA, with the rights that are shipped",
        || world.begins(),
    );
    suite.check("it is asked about nothing else", || {
        world.asked_about_nothing_else()
    });
    suite.check(
        "Declared: a kubelet that writes the list does not undo it",
        || world.declared(),
    );
    suite.check("Withdrawn: a real 1.36 kubelet does not undo it", || {
        world.withdrawn()
    });
    suite.check(
        "Port: a real 1.34 kubelet does not undo it, nor a declared feature",
        || world.port(),
    );
    suite.check("what it costs: a kubelet's writes by the minute", || {
        world.standing_cost()
    });
    suite.check(
        "a caBundle that is reset is repaired; applying again changes nothing",
        || world.bundle(),
    );
    suite.check("a new CA, under load: every write is patched", || {
        world.rotation()
    });
    suite.check(
        "a deleted Secret, under load: every write is patched",
        || world.secret(),
    );
    suite.check(
        "a replica drains, under load: every write is patched",
        || world.drain(),
    );
    suite.check(
        "a replica is killed, under load: every write goes through",
        || world.kill(),
    );
    suite.check(
        "the API server restarts: wishes hold from the first write on",
        || world.restart(),
    );
    suite.check(
        "without the webhook, nodes are as their kubelets want them",
        || world.away(),
    );
    suite.verdict();
}

struct World<'a> {
    cluster: &'a Cluster,
    kubectl: Kubectl,
    writes: Writes,
    replicas: [Replica<'a>; 2],
}

impl World<'_> {
    fn begins(&self) -> Result<()> {
        for replica in &self.replicas {
            replica.join(&self.kubectl)?;
        }
        let secret = secret(&self.kubectl)?;
        let ca = secret
            .get("ca.crt")
            .and_then(Value::as_str)
            .unwrap_or_default();
        wait::until("the caBundle is there", SOON, || {
            Ok((bundle(&self.kubectl)? == ca).then_some(()))
        })?;
        register(self.cluster, SYNTHETIC, &format!("v{CURRENT}"))?;
        wish(&self.kubectl, SYNTHETIC, &json!({"feature": "Withdrawn"}))?;
        // Each answers, with a certificate that the API server takes. It keeps to one while it can.
        for (alone, other) in [(0, 1), (1, 0)].map(|(a, b)| (&self.replicas[a], &self.replicas[b]))
        {
            self.cluster.kill_named(&other.name)?;
            other.leave(&self.kubectl)?;
            let load = Load::begin(self.cluster, SYNTHETIC)?;
            wait::until("the other answers alone", SOON, || {
                let changed = alone.counted("streamway_webhook_changes_total", "remove_feature")?;
                Ok((changed > 0.0).then_some(()))
            })?;
            load.end()?;
            other.start_again()?;
            other.join(&self.kubectl)?;
        }
        Ok(())
    }

    fn asked(&self) -> Result<f64> {
        self.replicas.iter().map(Replica::asked).sum()
    }

    /// Other objects, other parts of a Node, updates that leave both fields alone, and the controller.
    fn asked_about_nothing_else(&self) -> Result<()> {
        let kubectl = &self.kubectl;
        let before = self.asked()?;
        kubectl.ok(&["label", "node", "new", "a=b"])?;
        kubectl.ok(&["annotate", "node", SYNTHETIC, "a=b"])?;
        kubectl.ok(&["label", "pod", "box-new", "a=b"])?;
        let condition = json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "reason": "Test", "message": ""},
        ]}});
        patch(kubectl, &[], SYNTHETIC, &condition)?;
        switch(kubectl, SYNTHETIC, &json!({"declaredFeatures": [FEATURE]}))?;
        switch(kubectl, SYNTHETIC, &json!({"declaredFeatures": null}))?;
        ensure!(
            self.asked()? == before,
            "asked {} times",
            self.asked()? - before
        );
        // And it would have been seen.
        patch(
            kubectl,
            &[],
            SYNTHETIC,
            &json!({"status": {"declaredFeatures": [FEATURE, "Other"]}}),
        )?;
        ensure!(
            self.asked()? == before + 1.0,
            "asked {} times",
            self.asked()? - before
        );
        let (features, _) = streaming(kubectl, SYNTHETIC)?;
        ensure!(features == ["Other"], "{features:?}");
        patch(
            kubectl,
            &[],
            SYNTHETIC,
            &json!({"status": {"declaredFeatures": null}}),
        )
    }

    /// By a node of the test's own: no kubelet of a released version has the gate off and the list on.
    fn declared(&self) -> Result<()> {
        let kubectl = &self.kubectl;
        let name = "declared";
        register(self.cluster, name, &format!("v{CURRENT}"))?;
        wish(
            kubectl,
            name,
            &json!({"traffic": "Agent", "feature": "Declared"}),
        )?;
        self.known(name)?;
        for features in [json!(null), json!([]), json!(["A", "Z"])] {
            patch(
                kubectl,
                &[],
                name,
                &json!({"status": {"declaredFeatures": features}}),
            )?;
            ensure!(declares(kubectl, name)?, "{features} undid it");
        }
        let (features, _) = streaming(kubectl, name)?;
        ensure!(features == ["A", FEATURE, "Z"], "{features:?}");
        // A kubelet that is older leaves the list alone: who takes the feature away means it.
        let info = json!({"nodeInfo": {"kubeletVersion": format!("v{OLD_KUBELET}")}});
        patch(kubectl, &[], name, &json!({"status": info}))?;
        patch(
            kubectl,
            &[],
            name,
            &json!({"status": {"declaredFeatures": null}}),
        )?;
        ensure!(!declares(kubectl, name)?, "a withdrawal by hand was undone");
        Ok(())
    }

    /// Waits until the wish to declare, which was just written, is known.
    fn known(&self, node: &str) -> Result<()> {
        let kubectl = &self.kubectl;
        wait::until("the wish is known", SOON, || {
            switch(kubectl, node, &json!({"declaredFeatures": [FEATURE]}))?;
            patch(
                kubectl,
                &[],
                node,
                &json!({"status": {"declaredFeatures": null}}),
            )?;
            Ok(declares(kubectl, node)?.then_some(()))
        })
    }

    fn withdrawn(&self) -> Result<()> {
        let kubectl = &self.kubectl;
        ensure!(
            declares(kubectl, "new")?,
            "a 1.36 kubelet declares the feature itself"
        );
        let (before, _) = streaming(kubectl, "new")?;
        wish(kubectl, "new", &json!({"feature": "Withdrawn"}))?;
        self.mask("new")?;
        let (masked, _) = streaming(kubectl, "new")?;
        let others: Vec<_> = before
            .into_iter()
            .filter(|feature| feature != FEATURE)
            .collect();
        ensure!(masked == others, "{masked:?}");
        self.writes.wait("new", 3, || {
            ensure!(!declares(kubectl, "new")?, "the feature came back");
            Ok(())
        })?;
        self.cluster
            .restart_kubelet(self.cluster.node("new")?, CURRENT)?;
        self.writes
            .wait("new", 2, || {
                ensure!(
                    !declares(kubectl, "new")?,
                    "the restarted kubelet brought the feature back"
                );
                Ok(())
            })
            .map(drop)
    }

    /// Withdraws the feature from a Node, as the controller, until the webhook knows of the wish and
    /// keeps it so.
    fn mask(&self, node: &str) -> Result<()> {
        let kubectl = &self.kubectl;
        let others = streaming(kubectl, node)?
            .0
            .into_iter()
            .filter(|feature| feature != FEATURE);
        let others: Vec<_> = others.collect();
        let with = [&others[..], &[FEATURE.to_owned()]].concat();
        wait::until("the wish is known", SOON, || {
            switch(kubectl, node, &json!({"declaredFeatures": others}))?;
            patch(
                kubectl,
                &[],
                node,
                &json!({"status": {"declaredFeatures": with}}),
            )?;
            Ok((!declares(kubectl, node)?).then_some(()))
        })
    }

    fn port(&self) -> Result<()> {
        let kubectl = &self.kubectl;
        let endpoint =
            |port: Value| json!({"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}});
        let (_, kubelets) = streaming(kubectl, "old")?;
        let spec = json!({"traffic": "Agent", "way": "Port", "feature": "Declared"});
        wish(kubectl, "old", &spec)?;
        switch(kubectl, "old", &json!({"declaredFeatures": [FEATURE]}))?;
        wait::until("the wish is known", SOON, || {
            switch(kubectl, "old", &endpoint(json!(AGENT_PORT)))?;
            patch(
                kubectl,
                &[],
                "old",
                &json!({"status": endpoint(json!(kubelets))}),
            )?;
            Ok((streaming(kubectl, "old")?.1 == i64::from(AGENT_PORT)).then_some(()))
        })?;
        let as_wished = || {
            let (features, port) = streaming(kubectl, "old")?;
            ensure!(
                port == i64::from(AGENT_PORT) && features == [FEATURE],
                "{port} {features:?}"
            );
            Ok(())
        };
        self.writes.wait("old", 3, as_wished)?;
        self.cluster
            .restart_kubelet(self.cluster.node("old")?, OLD_KUBELET)?;
        self.writes.wait("old", 2, as_wished).map(drop)
    }

    /// Both nodes' kubelets differ from what is wished by now: they write each time they look.
    fn standing_cost(&self) -> Result<()> {
        const COUNT: usize = 4;
        for (node, what) in [("new", "masked"), ("old", "with its port moved")] {
            let before = self.asked()?;
            let took = self.writes.wait(node, COUNT, || Ok(()))?.as_secs_f64();
            println!(
                "          a node {what}: {COUNT} PATCHes of its kubelet in {took:.0} s, {} calls of the webhook (of both nodes)",
                self.asked()? - before,
            );
        }
        let times = self.replicas.iter().map(|replica| {
            let sum = replica.counted("streamway_webhook_duration_seconds_sum", "")?;
            Ok((
                sum,
                replica.counted("streamway_webhook_duration_seconds_count", "")?,
            ))
        });
        for (sum, count) in times.collect::<Result<Vec<_>>>()? {
            println!(
                "          {:.0} µs an answer, mean of {count} (debug build)",
                sum / count * 1e6
            );
        }
        Ok(())
    }

    fn bundle(&self) -> Result<()> {
        let kubectl = &self.kubectl;
        let configuration = "mutatingwebhookconfiguration/streamway-webhook";
        let good = bundle(kubectl)?;
        let applied = apply(kubectl, CONFIGURATION)?;
        ensure!(applied.contains("unchanged"), "{applied}");
        let server_side = ["apply", "--server-side", "--force-conflicts", "-f"];
        let file = base(CONFIGURATION).to_string_lossy().into_owned();
        kubectl.ok(&[&server_side[..], &[&file]].concat())?;
        ensure!(bundle(kubectl)? == good, "applying took the caBundle away");
        let path = "/webhooks/0/clientConfig/caBundle";
        let reset = json!([{"op": "remove", "path": path}]).to_string();
        // A line feed, as some manifests have it.
        let wrong = json!([{"op": "replace", "path": path, "value": "Cg=="}]).to_string();
        for step in [
            &["patch", configuration, "--type=json", "-p", &reset][..],
            &["patch", configuration, "--type=json", "-p", &wrong],
            &["replace", "-f", &file],
            &["replace", "--force", "-f", &file],
        ] {
            kubectl.ok(step)?;
            let begun = Instant::now();
            wait::until("the caBundle is repaired", SOON, || {
                Ok((bundle(kubectl)? == good).then_some(()))
            })?;
            println!(
                "          after {}: repaired in {} ms",
                step.join(" "),
                begun.elapsed().as_millis()
            );
        }
        Ok(())
    }

    fn rotation(&self) -> Result<()> {
        let load = Load::begin(self.cluster, SYNTHETIC)?;
        load.wait(20)?;
        let before = secret(&self.kubectl)?;
        // What somebody does who fears that the key is known.
        let remove = json!([{"op": "remove", "path": "/data/ca.key"}]).to_string();
        let target = [
            "patch",
            "secret",
            WEBHOOK_SECRET,
            "-n",
            SYSTEM_NAMESPACE,
            "--type=json",
            "-p",
        ];
        self.kubectl.ok(&[&target[..], &[&remove]].concat())?;
        let took = self.new_ca(&before)?;
        load.wait(50)?;
        let (writes, unpatched) = load.end()?;
        println!(
            "          {writes} writes, {unpatched} not patched; a new CA from end to end in {} s",
            took.as_secs()
        );
        ensure!(
            unpatched == 0,
            "{unpatched} of {writes} writes were not patched: {}",
            self.said()
        );
        Ok(())
    }

    /// What the API server last said of calls that failed.
    fn said(&self) -> String {
        let log = fs::read_to_string(self.cluster.log("kube-apiserver")).unwrap_or_default();
        let failed = log.lines().rfind(|line| line.contains("failing open"));
        failed.unwrap_or_default().to_owned()
    }

    /// Waits until another CA signs than in `before`, and the caBundle holds no other.
    fn new_ca(&self, before: &Value) -> Result<Duration> {
        let begun = Instant::now();
        wait::until(
            "a new CA signs, and the old one is gone",
            Duration::from_secs(60),
            || {
                let now = secret(&self.kubectl)?;
                let changed = |key: &str| now.get(key).is_some() && now.get(key) != before.get(key);
                let alone = now.get("next-ca.crt").is_none() && now.get("old-ca.crt").is_none();
                let told =
                    now.get("ca.crt").and_then(Value::as_str) == Some(&bundle(&self.kubectl)?);
                Ok((changed("ca.crt") && changed("tls.crt") && alone && told).then_some(()))
            },
        )?;
        Ok(begun.elapsed())
    }

    fn secret(&self) -> Result<()> {
        let load = Load::begin(self.cluster, SYNTHETIC)?;
        load.wait(20)?;
        let before = secret(&self.kubectl)?;
        self.kubectl
            .ok(&["delete", "secret", WEBHOOK_SECRET, "-n", SYSTEM_NAMESPACE])?;
        self.new_ca(&before)?;
        load.wait(50)?;
        let (writes, unpatched) = load.end()?;
        println!("          {writes} writes, {unpatched} not patched");
        ensure!(
            unpatched == 0,
            "{unpatched} of {writes} writes were not patched: {}",
            self.said()
        );
        Ok(())
    }

    fn drain(&self) -> Result<()> {
        let load = Load::begin(self.cluster, SYNTHETIC)?;
        for replica in &self.replicas {
            load.wait(50)?;
            replica.drain(&self.kubectl)?;
            load.wait(50)?;
            replica.start_again()?;
            replica.join(&self.kubectl)?;
        }
        load.wait(50)?;
        let (writes, unpatched) = load.end()?;
        println!("          {writes} writes, {unpatched} not patched");
        ensure!(
            unpatched == 0,
            "{unpatched} of {writes} writes were not patched: {}",
            self.said()
        );
        Ok(())
    }

    /// Until its endpoint is gone, the API server may still turn to it: those writes pass as they are.
    fn kill(&self) -> Result<()> {
        let [first, _] = &self.replicas;
        let load = Load::begin(self.cluster, SYNTHETIC)?;
        load.wait(50)?;
        self.cluster.kill_named(&first.name)?;
        load.wait(50)?;
        first.leave(&self.kubectl)?;
        wait::until("the API server has seen that", SOON, || {
            let before = load.unpatched();
            load.wait(50)?;
            Ok((load.unpatched() == before).then_some(()))
        })?;
        let meanwhile = load.unpatched();
        load.wait(200)?;
        let since = load.unpatched() - meanwhile;
        first.start_again()?;
        first.join(&self.kubectl)?;
        load.wait(50)?;
        let (writes, unpatched) = load.end()?;
        println!(
            "          {writes} writes, none failed; {meanwhile} not patched while the endpoint was there, {since} since"
        );
        ensure!(
            unpatched == meanwhile,
            "{since} were not patched once its endpoint was gone"
        );
        Ok(())
    }

    fn restart(&self) -> Result<()> {
        self.cluster.restart_api_server(0)?;
        let load = Load::begin(self.cluster, SYNTHETIC)?;
        load.wait(50)?;
        let (writes, unpatched) = load.end()?;
        println!("          {writes} writes, {unpatched} not patched");
        ensure!(!declares(&self.kubectl, "new")?, "the feature came back");
        Ok(())
    }

    fn away(&self) -> Result<()> {
        let kubectl = &self.kubectl;
        let (_, moved) = streaming(kubectl, "old")?;
        ensure!(moved == i64::from(AGENT_PORT), "the port is {moved}");
        for replica in &self.replicas {
            self.cluster.kill_named(&replica.name)?;
        }
        let begun = Instant::now();
        wait::until("nodes are as their kubelets want them", A_WRITE, || {
            let (_, port) = streaming(kubectl, "old")?;
            Ok((declares(kubectl, "new")? && port == 10250).then_some(()))
        })?;
        println!(
            "          both nodes as their kubelets want them after {} s",
            begun.elapsed().as_secs()
        );
        let load = Load::begin(self.cluster, SYNTHETIC)?;
        load.wait(20)?;
        load.end()?;
        // And back: what the controller switches again stays.
        for replica in &self.replicas {
            replica.start_again()?;
            replica.ready()?;
        }
        self.mask("new")?;
        self.writes
            .wait("new", 2, || {
                ensure!(!declares(kubectl, "new")?, "the feature came back");
                Ok(())
            })
            .map(drop)
    }
}
