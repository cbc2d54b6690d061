//! What is switched stays so, against every way in which a kubelet writes.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;
use streamway_crds::names::{AGENT_PORT, FEATURE, KUBELET_PORT};
use streamway_e2e::{CURRENT, OLD_KUBELET, wait};

use super::SOON;
use super::kubelets::{A_WRITE, declares, patch, register, streaming, switch, wish};
use super::load::Load;
use crate::{SYNTHETIC, World};

impl World<'_> {
    /// Other objects, other parts of a Node, updates that leave both fields alone, and the controller.
    pub(crate) fn asked_about_nothing_else(&self) -> Result<()> {
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
    pub(crate) fn declared(&self) -> Result<()> {
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
    pub(crate) fn known(&self, node: &str) -> Result<()> {
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

    pub(crate) fn withdrawn(&self) -> Result<()> {
        let kubectl = &self.kubectl;
        ensure!(
            declares(kubectl, "new")?,
            "a 1.36 kubelet declares the feature itself"
        );
        let (before, _) = streaming(kubectl, "new")?;
        wish(kubectl, "new", &json!({"feature": "Withdrawn"}))?;
        let untouched = self.writes.of("old")?;
        self.mask("new")?;
        let (masked, _) = streaming(kubectl, "new")?;
        let others: Vec<_> = before
            .into_iter()
            .filter(|feature| feature != FEATURE)
            .collect();
        ensure!(masked == others, "{masked:?}");
        let took = self.writes.wait("new", 3, || {
            ensure!(!declares(kubectl, "new")?, "the feature came back");
            Ok(())
        })?;
        println!(
            "          3 PATCHes of the masked node's kubelet in {:.0} s, {} of the other's",
            took.as_secs_f64(),
            self.writes.of("old")? - untouched,
        );
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
    pub(crate) fn mask(&self, node: &str) -> Result<()> {
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

    pub(crate) fn port(&self) -> Result<()> {
        let kubectl = &self.kubectl;
        let spec = json!({"traffic": "Agent", "way": "Port", "feature": "Declared"});
        wish(kubectl, "old", &spec)?;
        switch(kubectl, "old", &json!({"declaredFeatures": [FEATURE]}))?;
        self.move_port("old")?;
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

    /// Moves a Node's port to the agent's, as the controller, until the webhook knows of the wish and
    /// keeps it so.
    pub(crate) fn move_port(&self, node: &str) -> Result<()> {
        let kubectl = &self.kubectl;
        let endpoint = |port: u16| json!({"daemonEndpoints": {"kubeletEndpoint": {"Port": port}}});
        wait::until("the wish is known", SOON, || {
            switch(kubectl, node, &endpoint(AGENT_PORT))?;
            let kubelets = endpoint(KUBELET_PORT);
            patch(kubectl, &[], node, &json!({"status": kubelets}))?;
            Ok((streaming(kubectl, node)?.1 == i64::from(AGENT_PORT)).then_some(()))
        })
    }

    /// Both nodes' kubelets differ from what is wished by now: they write each time they look.
    pub(crate) fn standing_cost(&self) -> Result<()> {
        const COUNT: usize = 4;
        for (node, what) in [("new", "masked"), ("old", "with its port moved")] {
            let before = self.asked()?;
            let took = self.writes.wait(node, COUNT, || Ok(()))?.as_secs_f64();
            println!(
                "          a node {what}: {COUNT} PATCHes of its kubelet in {took:.0} s, {} calls of the webhook (of both nodes)",
                self.asked()? - before,
            );
        }
        let name = "streamway_webhook_duration_seconds";
        let sum = |what: &str| -> Result<f64> {
            let of_each = self.replicas.iter();
            of_each
                .map(|replica| replica.counted(&format!("{name}_{what}"), ""))
                .sum()
        };
        let (seconds, count) = (sum("sum")?, sum("count")?);
        println!(
            "          {:.0} µs an answer, mean of {count}",
            seconds / count * 1e6
        );
        Ok(())
    }

    pub(crate) fn away(&self) -> Result<()> {
        let kubectl = &self.kubectl;
        let (_, moved) = streaming(kubectl, "old")?;
        ensure!(moved == i64::from(AGENT_PORT), "the port is {moved}");
        for replica in &self.replicas {
            self.cluster.kill_named(&replica.name)?;
        }
        let begun = Instant::now();
        wait::until("nodes are as their kubelets want them", A_WRITE, || {
            let (_, port) = streaming(kubectl, "old")?;
            Ok((declares(kubectl, "new")? && port == i64::from(KUBELET_PORT)).then_some(()))
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
