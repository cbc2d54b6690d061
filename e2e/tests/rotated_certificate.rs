//! `config/components/kubelet-rotated-certificate`, with a kubelet that asks the cluster for its serving certificate:
//! the agent serves with it, and with the next one. This API server checks what kubelets serve with.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use anyhow::{Result, ensure};
use streamway_crds::{Phase, names};
use streamway_e2e::cluster::{Cluster, Node};
use streamway_e2e::product::{self, Streamway};
use streamway_e2e::rollout::{Rollout, Way};
use streamway_e2e::run::{self, command};
use streamway_e2e::suite::Suite;
use streamway_e2e::{OLD_KUBELET, document, wait};

const MINUTE: Duration = Duration::from_secs(60);

/// All nodes at once.
const ONE_WAVE: &str = "
  waves:
  - {name: all, nodes: {percent: 100}, maxUnavailable: 1, bake: 1s}
  analysis: {interval: 2s, minSamples: 1, prober: {interval: 2s}}
";

#[test]
fn the_agent_serves_with_whatever_the_kubelet_has() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::builder("test-rotated-certificate")
        .services(true)
        .server_tls_bootstrap(true)
        .node("one", OLD_KUBELET, None)
        .up()
        .unwrap();
    let node = cluster.node("one").unwrap();
    let archive = product::archive(folder.path()).unwrap();
    let rollout = Rollout::new(&cluster, "all").unwrap();
    let mut suite = Suite::default();
    suite.check("with the component, sessions reach the agent", || {
        document::prepare(&cluster)?;
        let component = "components:\n- ../../components/kubelet-rotated-certificate";
        let commented = component.replace("components:\n", "# components:\n# ");
        let changes = [
            ("overlays/default", "overlays/dev"),
            (&*commented, component),
        ];
        document::copied(&cluster, "rollout-site", "site", &changes)?;
        let site = cluster.file("install/site");
        Streamway::new(&cluster, &site.to_string_lossy(), archive.clone())?.install()?;
        rollout.apply(ONE_WAVE)?;
        rollout.wait("the rollout is complete", 2 * MINUTE, |status| {
            status.phase == Some(Phase::Complete)
        })?;
        let way = rollout.way("one")?;
        ensure!(way == Way::Passed, "{way}");
        ensure!(
            served(&cluster, node)? == certificate(&cluster, node)?,
            "another's certificate"
        );
        Ok(())
    });
    suite.check(
        "the kubelet gets another, and the agent serves with it",
        || {
            let before = served(&cluster, node)?;
            cluster.renew_certificate(node)?;
            let renewed = certificate(&cluster, node)?;
            ensure!(renewed != before, "it is the same");
            wait::until("the agent has it", MINUTE, || {
                Ok((served(&cluster, node)? == renewed).then_some(()))
            })?;
            wait::until("sessions reach it", MINUTE, || {
                let way = rollout.way("one")?;
                ensure!(way == Way::Passed, "{way}");
                Ok(Some(()))
            })
        },
    );
    suite.verdict();
}

/// The serial number of what the agent serves with.
fn served(cluster: &Cluster, node: &Node) -> Result<String> {
    let address = format!("{}:{}", cluster.address(node), names::AGENT_PORT);
    let script =
        "openssl s_client -connect $0 </dev/null 2>/dev/null | openssl x509 -noout -serial";
    run::output(&mut command("sh", ["-c", script, &address]))
}

/// The serial number of what the kubelet has.
fn certificate(cluster: &Cluster, node: &Node) -> Result<String> {
    let mut x509 = command("openssl", ["x509", "-noout", "-serial", "-in"]);
    run::output(x509.arg(cluster.kubelet_certificate(node)?))
}
