//! Certificates that change, replicas that go, and a configuration that others write, under load.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use streamway_crds::names::{FEATURE, SYSTEM_NAMESPACE, WEBHOOK_SECRET};
use streamway_e2e::wait;

use super::kubelets::{declares, patch, switch};
use super::load::Load;
use super::{CONFIGURATION, SOON, announced, apply, base, secret};
use crate::{SYNTHETIC, World};

impl World<'_> {
    pub(crate) fn bundle(&self) -> Result<()> {
        let kubectl = &self.kubectl;
        let configuration = "mutatingwebhookconfiguration/streamway-webhook";
        let applied = apply(kubectl, CONFIGURATION)?;
        ensure!(applied.contains("unchanged"), "{applied}");
        let file = base(CONFIGURATION).to_string_lossy().into_owned();
        let kept = "jsonpath={.webhooks[0].clientConfig.caBundle}";
        let server_side = [
            "apply",
            "--server-side",
            "--force-conflicts",
            "-o",
            kept,
            "-f",
            &file,
        ];
        ensure!(
            !kubectl.ok(&server_side)?.is_empty(),
            "applying took the caBundle away"
        );
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
                Ok(announced(kubectl)?.then_some(()))
            })?;
            println!(
                "          after {}: repaired in {} ms",
                step.join(" "),
                begun.elapsed().as_millis()
            );
            wait::until("the API server calls with it", SOON, || {
                switch(kubectl, SYNTHETIC, &json!({"declaredFeatures": null}))?;
                let features = json!({"status": {"declaredFeatures": [FEATURE]}});
                patch(kubectl, &[], SYNTHETIC, &features)?;
                Ok((!declares(kubectl, SYNTHETIC)?).then_some(()))
            })?;
        }
        Ok(())
    }

    pub(crate) fn rotation(&self) -> Result<()> {
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
        println!("          a new CA from end to end in {} s", took.as_secs());
        self.all_patched(load)
    }

    pub(crate) fn secret(&self) -> Result<()> {
        let load = Load::begin(self.cluster, SYNTHETIC)?;
        load.wait(20)?;
        let before = secret(&self.kubectl)?;
        self.kubectl
            .ok(&["delete", "secret", WEBHOOK_SECRET, "-n", SYSTEM_NAMESPACE])?;
        load.wait(20)?;
        apply(&self.kubectl, "webhook/secret.yaml")?;
        self.new_ca(&before)?;
        load.wait(50)?;
        self.all_patched(load)
    }

    /// Ends the load, in which every write must have been patched.
    fn all_patched(&self, load: Load) -> Result<()> {
        let (writes, unpatched) = load.end()?;
        println!("          {writes} writes, {unpatched} not patched");
        ensure!(
            unpatched == 0,
            "{unpatched} of {writes} writes were not patched: {}",
            self.said()
        );
        Ok(())
    }

    /// Waits until another CA signs than in `before`, and the caBundle holds no other.
    pub(crate) fn new_ca(&self, before: &Value) -> Result<Duration> {
        let begun = Instant::now();
        wait::until(
            "a new CA signs, and the old one is gone",
            Duration::from_secs(60),
            || {
                let now = secret(&self.kubectl)?;
                let changed = |key: &str| now.get(key).is_some() && now.get(key) != before.get(key);
                let alone = now.get("next-ca.crt").is_none() && now.get("old-ca.crt").is_none();
                let told = announced(&self.kubectl)?;
                Ok((changed("ca.crt") && changed("tls.crt") && alone && told).then_some(()))
            },
        )?;
        Ok(begun.elapsed())
    }

    /// What the API server last said of calls that failed.
    pub(crate) fn said(&self) -> String {
        let log = fs::read_to_string(self.cluster.log("kube-apiserver")).unwrap_or_default();
        let failed = log.lines().rfind(|line| line.contains("failing open"));
        failed.unwrap_or_default().to_owned()
    }

    pub(crate) fn drain(&self) -> Result<()> {
        let load = Load::begin(self.cluster, SYNTHETIC)?;
        for replica in &self.replicas {
            load.wait(50)?;
            replica.drain(&self.kubectl)?;
            load.wait(50)?;
            replica.start_again()?;
            replica.join(&self.kubectl)?;
        }
        load.wait(50)?;
        self.all_patched(load)
    }

    /// Until its endpoint is gone, the API server may still turn to it: those writes pass as they are.
    /// One after the other, since it keeps to one of them while it can.
    pub(crate) fn kill(&self) -> Result<()> {
        let load = Load::begin(self.cluster, SYNTHETIC)?;
        let mut passed = 0;
        for replica in &self.replicas {
            load.wait(50)?;
            let before = load.unpatched();
            self.cluster.kill_named(&replica.name)?;
            load.wait(50)?;
            replica.leave(&self.kubectl)?;
            wait::until("the API server has seen that", SOON, || {
                let before = load.unpatched();
                load.wait(50)?;
                Ok((load.unpatched() == before).then_some(()))
            })?;
            passed += load.unpatched() - before;
            load.wait(100)?;
            replica.start_again()?;
            replica.join(&self.kubectl)?;
        }
        let (writes, unpatched) = load.end()?;
        println!(
            "          {writes} writes, none failed; {passed} not patched while the endpoint of a killed \
             replica was there, {} else",
            unpatched - passed
        );
        ensure!(unpatched == passed, "not patched: {}", self.said());
        // What passed as it was may have been a kubelet's. The controller, which is not here, would
        // switch again.
        self.mask("new")?;
        self.move_port("old")
    }

    pub(crate) fn restart(&self) -> Result<()> {
        self.cluster.restart_api_server(0)?;
        let load = Load::begin(self.cluster, SYNTHETIC)?;
        load.wait(50)?;
        self.all_patched(load)?;
        ensure!(!declares(&self.kubectl, "new")?, "the feature came back");
        Ok(())
    }
}
