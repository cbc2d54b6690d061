//! `config/overlays/access-webhook` as an administrator applies it, its pods on a real node: sessions need
//! `create` where a namespace denies, or where the API server asks it before RBAC, and with the overlay gone they do not.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use anyhow::{Result, ensure};
use streamway_crds::names::{ACCESS_CONFIGURATION, CREATE_CHECK_LABEL, SYSTEM_NAMESPACE};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::product::{self, Streamway};
use streamway_e2e::run::{self, command};
use streamway_e2e::sessions::{RIGHTS, opens, refused};
use streamway_e2e::suite::Suite;
use streamway_e2e::webhook::Authorization;
use streamway_e2e::{CURRENT, document, wait};

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
        updated(&kubectl)
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
    suite.check(
        "components/authorization-webhook: asked before RBAC, it refuses",
        || before_rbac(&cluster, &kubectl),
    );
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

/// Waits until every replica is of the newest manifest.
fn updated(kubectl: &Kubectl) -> Result<()> {
    let webhook = [
        "deployment/streamway-webhook",
        "--timeout=150s",
        "-n",
        SYSTEM_NAMESPACE,
    ];
    kubectl
        .ok(&[&["rollout", "status"], &webhook[..]].concat())
        .map(drop)
}

/// As `docs/access.md` says, but for the Service's address: nothing leads this API server, which is on no node, there.
fn before_rbac(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    kubectl.ok(&["delete", "accessexemption", "reader"])?;
    let off = format!("{CREATE_CHECK_LABEL}=Off");
    kubectl.ok(&["label", "namespace", "default", &off, "--overwrite"])?;
    let authority = format!(
        "--from-file=ca.crt={}",
        cluster.file("front-proxy-ca.crt").display()
    );
    let map = [
        "create",
        "configmap",
        "streamway-webhook-client-ca",
        &authority,
    ];
    kubectl.ok(&[&map[..], &["-n", SYSTEM_NAMESPACE]].concat())?;
    document::prepare(cluster)?;
    let own = "overlays/access-webhook\ncomponents:\n- ../../components/authorization-webhook";
    document::copied(
        cluster,
        "rollout-site",
        "site",
        &[("overlays/default", own)],
    )?;
    let site = cluster.file("install/site");
    kubectl.ok(&["apply", "-k", &site.to_string_lossy()])?;
    updated(kubectl)?;

    // Admission does not refuse: what refuses below is before it.
    wait::until("admission looks away", MINUTE, || {
        opens(cluster, "reader", POD).map(Some)
    })?;
    let authorization = Authorization::at(cluster, &ready(kubectl)?, "/authorize")?;
    let authorities = lasting(cluster, kubectl)?;
    std::fs::write(cluster.file("webhook-ca.crt"), authorities)?;
    authorization.restart(cluster)?;
    let asked = wait::until("it is asked", MINUTE, || {
        refused(cluster, "reader", POD).map(Some)
    });
    let others = wait::until("who has create gets in", MINUTE, || {
        opens(cluster, "dev", POD).map(Some)
    });
    cluster.restart_api_server_with(0, &[])?;
    wait::until("get is enough", MINUTE, || {
        opens(cluster, "reader", POD).map(Some)
    })?;
    asked.and(others)
}

/// The address of a replica, once those before are gone.
fn ready(kubectl: &Kubectl) -> Result<String> {
    let path = "jsonpath={.items[*].status.podIP}";
    let app = "app.kubernetes.io/name=streamway-webhook";
    let pods = ["get", "pods", "-n", SYSTEM_NAMESPACE, "-l", app, "-o", path];
    wait::until("only the new ones are there", MINUTE, || {
        let told = kubectl.ok(&pods)?;
        let addresses: Vec<_> = told.split_whitespace().collect();
        ensure!(addresses.len() == 2, "{addresses:?}");
        Ok(addresses.first().map(|address| format!("{address}:9443")))
    })
}

/// The CAs that the document says to write; the last is to outlive the years in which nobody looks.
fn lasting(cluster: &Cluster, kubectl: &Kubectl) -> Result<String> {
    let path = "go-template={{(index .webhooks 0).clientConfig.caBundle | base64decode}}";
    let configuration = [
        "get",
        "validatingwebhookconfiguration",
        ACCESS_CONFIGURATION,
        "-o",
        path,
    ];
    let file = cluster.file("last-ca.crt");
    wait::until("a CA of ten years is known", MINUTE, || {
        let bundle = kubectl.ok(&configuration)?;
        let last = bundle
            .rfind("-----BEGIN")
            .and_then(|start| bundle.get(start..));
        std::fs::write(&file, last.unwrap_or_default())?;
        let nine_years = (9 * 365 * 24 * 3600).to_string();
        let mut x509 = command(
            "openssl",
            ["x509", "-noout", "-checkend", &nine_years, "-in"],
        );
        run::output(x509.arg(&file))?;
        Ok(Some(bundle))
    })
}
