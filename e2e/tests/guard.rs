//! A session needs `create`, by each of the enforcers alone, on API servers that do not ask for it
//! themselves and on one that does: who may only get is refused with 403 before the upgrade, nobody else
//! notices, and what else is asked costs no call.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod enforcers;

use enforcers::{Enforced, POD, World};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::sessions::{RIGHTS, opens};
use streamway_e2e::suite::Suite;
use streamway_e2e::webhook::{Replica, install};
use streamway_e2e::{CURRENT, OLD_API_SERVER, UNCHECKED_API_SERVER};

/// Turns the API server's own check off.
const OWN_CHECK_OFF: &str = "--feature-gates=AuthorizePodWebsocketUpgradeCreatePermission=false";

#[test]
fn a_session_needs_create_on_an_old_api_server() {
    a_session_needs_create(OLD_API_SERVER);
}

#[test]
fn a_session_needs_create_on_an_api_server_without_the_check() {
    a_session_needs_create(UNCHECKED_API_SERVER);
}

#[test]
fn a_session_needs_create_on_a_current_api_server() {
    a_session_needs_create(CURRENT);
}

fn a_session_needs_create(version: &str) {
    let mut flags = vec!["--enable-aggregator-routing=true"];
    if version == CURRENT {
        flags.push(OWN_CHECK_OFF);
    }
    let cluster = Cluster::builder(&format!("test-guard-{version}"))
        .api_server(version)
        .api_server_flags(&flags)
        .node("one", version, None)
        .up()
        .unwrap();
    let kubectl = cluster.kubectl().unwrap();
    kubectl.apply(RIGHTS).unwrap();
    install(&kubectl).unwrap();
    let authority = cluster.file("front-proxy-ca.crt");
    let authority = authority.to_string_lossy();
    let replica = Replica::start(
        &cluster,
        0,
        &[
            "--access-check",
            "--client-ca-file",
            &authority,
            "--client-allowed-names",
            "front-proxy-client",
            "--guard-nodes-proxy",
        ],
    )
    .unwrap();
    let world = World {
        cluster: &cluster,
        kubectl,
        replica,
    };
    let mut suite = Suite::default();
    let mut check = |what: &str, check: &dyn Fn() -> anyhow::Result<()>| {
        suite.check(&format!("{version}: {what}"), check);
    };
    check("alone, get is enough", &|| {
        opens(world.cluster, "reader", POD)
    });
    if version != OLD_API_SERVER {
        check("alone, get nodes/proxy is enough for a kubelet", &|| {
            world.kubelet_alone()
        });
    }
    check("at admission: the ladder", &|| world.ladder());
    check("at admission: who may what", &|| world.enforced());
    check("at admission: nothing else costs a call", &|| {
        world.costs_nothing(Enforced::AtAdmission)
    });
    check("at admission: an exemption, to the second", &|| {
        world.exemption()
    });
    check("at admission: the webhook is away", &|| {
        world.admission_away()
    });
    if version != OLD_API_SERVER {
        check("at admission: RBAC answers first", &|| world.index());
    }
    check("without it, get is enough again", &|| world.no_admission());
    check("before RBAC: it audits first", &|| {
        world.authorization_audits()
    });
    check("before RBAC: who may what", &|| {
        world.authorizes()?;
        world.enforced()
    });
    if version != OLD_API_SERVER {
        check("before RBAC: nothing else costs a call", &|| {
            world.costs_nothing(Enforced::BeforeRbac)
        });
        check("before RBAC: exempt", &|| world.exempt_before_rbac());
        check("get nodes/proxy runs no commands", &|| world.kubelet());
    }
    check("only API servers are answered", &|| {
        world.answers_nobody_else()
    });
    check("before RBAC: the webhook is away", &|| {
        world.authorization_away()
    });
    if version == CURRENT {
        check("the API server's own check", &|| {
            let on = OWN_CHECK_OFF.replace("false", "true");
            world.cluster.restart_api_server_with(0, &[&on])?;
            world.own_check()
        });
    }
    suite.verdict();
}
