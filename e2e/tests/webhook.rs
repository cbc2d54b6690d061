//! The webhook before real API servers and kubelets: what a kubelet writes does not undo a switch, nothing
//! else is touched, and a kubelet can always write.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod admission;

use admission::kubelets::{Writes, register, wish};
use admission::load::Load;
use admission::{FLAGS, Replica, SOON, announced, install};
use anyhow::Result;
use serde_json::json;
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::suite::Suite;
use streamway_e2e::{CURRENT, OLD_KUBELET, wait};

/// A node without a kubelet, whose writes are made by the test.
pub(crate) const SYNTHETIC: &str = "synthetic";

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
    // At once, so that both find an empty Secret.
    let replicas = [0, 1].map(|index| Replica::start(&cluster, index, &FLAGS).unwrap());
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
        "a Secret that is deleted and applied again, under load: every write is patched",
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

/// The cluster, and what the checks on it share.
pub(crate) struct World<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) kubectl: Kubectl,
    pub(crate) writes: Writes,
    pub(crate) replicas: [Replica<'a>; 2],
}

impl World<'_> {
    fn begins(&self) -> Result<()> {
        for replica in &self.replicas {
            replica.join(&self.kubectl)?;
        }
        wait::until("the caBundle is there", SOON, || {
            Ok(announced(&self.kubectl)?.then_some(()))
        })?;
        register(self.cluster, SYNTHETIC, &format!("v{CURRENT}"))?;
        wish(&self.kubectl, SYNTHETIC, &json!({"feature": "Withdrawn"}))?;
        // Each answers, with a certificate that the API server takes. It keeps to one while it can.
        let [first, second] = &self.replicas;
        for (alone, other) in [(first, second), (second, first)] {
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

    /// How often the replicas were asked.
    pub(crate) fn asked(&self) -> Result<f64> {
        self.replicas.iter().map(Replica::asked).sum()
    }
}
