//! `config/overlays/access-webhook` as an administrator applies it, its pods on a real node: sessions need
//! `create` where a namespace denies, and with the overlay gone they do not.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use anyhow::{Result, ensure};
use streamway_crds::names::{CREATE_CHECK_LABEL, SYSTEM_NAMESPACE};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::product::{self, Streamway};
use streamway_e2e::sessions::{RIGHTS, opens, refused};
use streamway_e2e::suite::Suite;
use streamway_e2e::{CURRENT, wait};

const POD: &str = "box-one";

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn sessions_need_create_as_long_as_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::builder("test-access-overlay")
        .api_server_flags(&["--feature-gates=AuthorizePodWebsocketUpgradeCreatePermission=false"])
        .services(true)
        .node("one", CURRENT, None)
        .up()
        .unwrap();
    let kubectl = cluster.kubectl().unwrap();
    kubectl.apply(RIGHTS).unwrap();
    let archive = product::archive(folder.path()).unwrap();
    let streamway = Streamway::new(&cluster, "access-webhook", archive).unwrap();
    let mut suite = Suite::default();
    suite.check("without it, get is enough", || {
        opens(&cluster, "reader", POD)
    });
    suite.check("its pods are ready", || {
        streamway.apply()?;
        let webhook = [
            "rollout",
            "status",
            "deployment/streamway-webhook",
            "--timeout=150s",
            "-n",
            SYSTEM_NAMESPACE,
        ];
        kubectl.ok(&webhook).map(drop)
    });
    suite.check("it audits first", || opens(&cluster, "reader", POD));
    suite.check("a namespace that denies refuses who may only get", || {
        let label = format!("{CREATE_CHECK_LABEL}=Deny");
        kubectl.ok(&["label", "namespace", "default", &label])?;
        wait::until("it is enforced", MINUTE, || {
            refused(&cluster, "reader", POD).map(Some)
        })?;
        opens(&cluster, "dev", POD)
    });
    suite.check("an exemption is heard of by both replicas", || {
        exempted(&cluster, &kubectl)
    });
    suite.check("deleted, get is enough again, and nothing is left", || {
        streamway.begin_delete()?;
        wait::until("get is enough", MINUTE, || {
            opens(&cluster, "reader", POD).map(Some)
        })?;
        wait::until("nothing is left", MINUTE, || {
            let left = product::traces(&kubectl)?;
            ensure!(left.is_empty(), "{left:?}");
            Ok(Some(()))
        })
    });
    suite.verdict();
}

/// Tries in a row that succeed: each replica answers some of them.
const IN_A_ROW: usize = 10;

fn exempted(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.apply(
        r"
apiVersion: streamway.dev/v1alpha1
kind: AccessExemption
metadata: {name: reader}
spec:
  subjects: [{kind: User, name: reader}]
  reason: until the role is mended
  expires: 2099-01-01T00:00:00Z
",
    )?;
    wait::until("both know it", MINUTE, || {
        for _ in 0..IN_A_ROW {
            opens(cluster, "reader", POD)?;
        }
        Ok(Some(()))
    })
}
