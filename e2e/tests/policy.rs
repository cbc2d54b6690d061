//! The ValidatingAdmissionPolicy alone, on real API servers that do not check by themselves: somebody with
//! `get` only opens no session where the policy denies, and everybody else does as before.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use anyhow::{Result, ensure};
use streamway_crds::names::CREATE_CHECK_LABEL as LABEL;
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::product::repository;
use streamway_e2e::sessions::{RIGHTS, creates_by_spdy, opens, refused};
use streamway_e2e::suite::Suite;
use streamway_e2e::{CURRENT, UNCHECKED_API_SERVER, wait};

/// The pod that sessions are in.
const POD: &str = "box-one";

#[test]
fn a_session_needs_create_where_the_check_is_off() {
    let off = "--feature-gates=AuthorizePodWebsocketUpgradeCreatePermission=false";
    a_session_needs_create(CURRENT, &[off]);
}

#[test]
fn a_session_needs_create_where_there_is_no_check() {
    a_session_needs_create(UNCHECKED_API_SERVER, &[]);
}

fn a_session_needs_create(version: &str, flags: &[&str]) {
    let cluster = Cluster::builder(&format!("test-policy-{version}"))
        .api_server(version)
        .api_server_flags(flags)
        .node("one", version, None)
        .up()
        .unwrap();
    let kubectl = cluster.kubectl().unwrap();
    kubectl.apply(RIGHTS).unwrap();
    let mut suite = Suite::default();
    suite.check("without it, get is enough", || {
        opens(&cluster, "reader", POD)
    });
    let overlay = repository().join("config/overlays/policy-only");
    let overlay = overlay.to_string_lossy();
    kubectl.ok(&["apply", "-k", &overlay]).unwrap();
    suite.check("it audits first, and lets through", || {
        wait::until("it is asked", Duration::from_secs(30), || {
            opens(&cluster, "reader", POD)?;
            Ok((asked(&kubectl, "audit")? > 0).then_some(()))
        })
    });
    suite.check("a namespace that warns lets through", || {
        labelled(&cluster, "Warn", "warn", true)
    });
    suite.check("a namespace that denies refuses before the upgrade", || {
        labelled(&cluster, "Deny", "deny", false)
    });
    suite.check("who may get and create opens sessions", || {
        opens(&cluster, "dev", POD)?;
        opens(&cluster, "admin", POD)
    });
    suite.check("who may only create opens them by SPDY", || {
        creates_by_spdy(&cluster, "nobody", POD)
    });
    suite.check(
        "kubectl's second try, by SPDY, is refused for want of create too",
        || {
            let reader = cluster.kubectl_as("reader")?;
            let ended = reader.run(&["exec", "box-one", "-v=6", "--", "true"], b"")?;
            let wanted = "cannot create resource \"pods/exec\"";
            ensure!(
                ended.code != 0 && ended.stderr.contains(wanted),
                "{ended:?}"
            );
            Ok(())
        },
    );
    suite.check("everything else costs nothing", || {
        let before = asked_in_all(&kubectl)?;
        for _ in 0..5 {
            kubectl.ok(&["get", "pods", "-A"])?;
            kubectl.ok(&["auth", "can-i", "create", "pods/exec"])?;
            kubectl.ok(&["logs", "box-one"])?;
        }
        let after = asked_in_all(&kubectl)?;
        ensure!(before == after, "{before} became {after}");
        Ok(())
    });
    suite.check("a namespace that is Off is not asked about", || {
        labelled(&cluster, "Off", "", true)
    });
    suite.check("deleted, get is enough again", || {
        kubectl.ok(&[
            "label",
            "namespace",
            "default",
            &format!("{LABEL}=Deny"),
            "--overwrite",
        ])?;
        kubectl.ok(&["delete", "-k", &overlay])?;
        eventually(&cluster, true)
    });
    suite.verdict();
}

/// Labels the namespace, and waits until `reader` is let through, or not, and the action was counted.
fn labelled(cluster: &Cluster, value: &str, action: &str, through: bool) -> Result<()> {
    let kubectl = cluster.kubectl()?;
    let label = format!("{LABEL}={value}");
    kubectl.ok(&["label", "namespace", "default", &label, "--overwrite"])?;
    eventually(cluster, through)?;
    if action.is_empty() {
        // It was denied before; nothing is counted any more.
        let before = asked_in_all(&kubectl)?;
        opens(cluster, "reader", POD)?;
        ensure!(asked_in_all(&kubectl)? == before, "it is asked");
        return Ok(());
    }
    wait::until("it is counted", Duration::from_secs(30), || {
        as_wished(cluster, through)?;
        Ok((asked(&kubectl, action)? > 0).then_some(()))
    })
}

/// The API server learns of labels by a watch.
fn eventually(cluster: &Cluster, through: bool) -> Result<()> {
    wait::until("the label is known", Duration::from_secs(30), || {
        as_wished(cluster, through).map(Some)
    })
}

/// Whether `reader`, who may only get, is let through.
fn as_wished(cluster: &Cluster, through: bool) -> Result<()> {
    if through {
        opens(cluster, "reader", POD)
    } else {
        refused(cluster, "reader", POD)
    }
}

/// How often the policy ended with an action, by the API server's own account.
fn asked(kubectl: &Kubectl, action: &str) -> Result<u64> {
    count(kubectl, |line| {
        line.contains(&format!("enforcement_action=\"{action}\""))
    })
}

fn asked_in_all(kubectl: &Kubectl) -> Result<u64> {
    count(kubectl, |_| true)
}

fn count(kubectl: &Kubectl, wanted: impl Fn(&str) -> bool) -> Result<u64> {
    let metrics = kubectl.ok(&["get", "--raw", "/metrics"])?;
    let ours = |line: &&str| {
        line.starts_with("apiserver_validating_admission_policy_check_total{")
            && line.contains("create-check.streamway.dev")
            && wanted(line)
    };
    let values = metrics.lines().filter(ours);
    Ok(values
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum())
}
