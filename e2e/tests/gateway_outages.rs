//! API servers that restart, several of them, several gateways: what a client notices, with real
//! client-go, and frame by frame.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod outages;

use std::time::Duration;

use anyhow::{Result, ensure};
use outages::asker::{Asker, GET, MANY, POST};
use outages::clients::Clients;
use outages::gateway::{address, readiness, refuses_at_once};
use outages::process::Footprint;
use outages::session::Session;
use outages::several::{one_is_killed, one_is_leaving};
use outages::update::{answers_what_runs, rolling_update};
use serde_json::Value;
use streamway_e2e::cluster::{Cluster, Gateway};
use streamway_e2e::httpclient::Speaks;
use streamway_e2e::suite::Suite;
use streamway_e2e::{OLD_API_SERVER, wait};
use tokio::runtime::Runtime;

/// The numbers.
const WATCHES: usize = 500;
const EXECS: usize = 200;

#[test]
fn an_api_server_restarts_under_load() {
    let cluster = Cluster::builder("test-gateway-restart")
        .api_server(OLD_API_SERVER)
        .node("node", OLD_API_SERVER, None)
        .up()
        .unwrap();
    let gateway = cluster.gateway("gateway").up().unwrap();
    let runtime = Runtime::new().unwrap();
    let mut suite = Suite::default();
    let fresh = Footprint::of(gateway.pid).unwrap();
    let mut full = fresh;
    suite.check(
        "an API server restarts under 500 watches and 200 streams: watches resume and miss nothing, \
         streams fail",
        || {
            full = restarts_under_load(&runtime, &cluster, &gateway)?;
            Ok(())
        },
    );
    suite.check("watches do the same without the gateway", || {
        let kubeconfig = cluster.kubeconfig();
        let clients = Clients::up(&cluster, "direct", &kubeconfig, WATCHES, 0)?;
        cluster.restart_api_server(0)?;
        clients.all_were_cut()?;
        let summary = clients.finish()?;
        summary.tell("direct");
        summary.watches_are_whole(WATCHES)
    });
    for speaks in [Speaks::Http1, Speaks::Http2] {
        let what = format!("a request that runs when a gateway ends is answered, over {speaks:?}");
        suite.check(&what, || answers_what_runs(&runtime, &cluster, speaks));
    }
    suite.check("the same load again takes no more than before", || {
        let kubeconfig = &gateway.kubeconfig;
        let clients = Clients::up(&cluster, "again", kubeconfig, WATCHES, EXECS)?;
        let again = Footprint::of(gateway.pid)?;
        println!("    the gateway under the load {full:?}, under the same again {again:?}");
        let summary = clients.finish()?;
        summary.tell("again");
        ensure!(
            summary.interrupted == 0 && summary.missed == 0,
            "{summary:?}"
        );
        Ok(())
    });
    suite.check("memory and descriptors come back", || {
        comes_back(&gateway, fresh, full)
    });
    suite.verdict();
}

/// What the gateway held under the load.
fn restarts_under_load(
    runtime: &Runtime,
    cluster: &Cluster,
    gateway: &Gateway,
) -> Result<Footprint> {
    let clients = Clients::up(cluster, "through", &gateway.kubeconfig, WATCHES, EXECS)?;
    let full = Footprint::of(gateway.pid)?;
    cluster.kill_api_server(0)?;
    readiness(gateway, false)?;
    refuses_at_once(runtime, gateway)?;
    cluster.start_api_server_again(0)?;
    readiness(gateway, true)?;
    clients.all_were_cut()?;
    let ends = clients.told("exec-end");
    let failed = |line: &&Value| line["success"] == false && line["error"] != "";
    let failed = ends.iter().filter(failed).count();
    let summary = clients.finish()?;
    summary.tell("through the gateway");
    println!("    a session's end: {}", ends[0]["error"]);
    ensure!(failed == EXECS, "{failed} of {EXECS} failed: {ends:?}");
    ensure!(summary.execs_succeeded == 0, "{summary:?}");
    summary.watches_are_whole(WATCHES)?;
    Ok(full)
}

/// Waits until what the load took is given back: all descriptors, once connections that idle are closed,
/// which takes a minute; and half of the memory. The other half is what an allocator may keep: the
/// machine code that was read in, and pages that are not empty. That it is no leak, the second load shows.
fn comes_back(gateway: &Gateway, fresh: Footprint, full: Footprint) -> Result<()> {
    let now = || Footprint::of(gateway.pid);
    let half = fresh.memory.midpoint(full.memory);
    let back = wait::until("the load is given back", Duration::from_secs(90), || {
        let now = now()?;
        let back = now.memory <= half && now.descriptors <= fresh.descriptors + 8;
        Ok(back.then_some(now))
    });
    println!(
        "    the gateway fresh {fresh:?}, under the load {full:?}, now {:?}",
        now()?
    );
    back.map(drop)
}

#[test]
fn one_of_several_goes() {
    let cluster = Cluster::builder("test-gateway-several")
        .api_server(OLD_API_SERVER)
        .api_servers(3)
        .api_server_flags(&["--shutdown-delay-duration=60s"])
        .node("node", OLD_API_SERVER, None)
        .up()
        .unwrap();
    let gateway = cluster.gateway("gateway").up().unwrap();
    let runtime = Runtime::new().unwrap();
    let mut suite = Suite::default();
    suite.check(
        "one of three API servers is killed: no GET fails, the others' watches and sessions go on, and \
         it gets new ones when it is back",
        || one_is_killed(&runtime, &cluster, &gateway),
    );
    suite.check(
        "an API server that says it is not ready gets nothing new, and keeps what it has",
        || one_is_leaving(&runtime, &cluster, &gateway),
    );
    suite.check("all API servers go, and one comes back", || {
        for index in 0..3 {
            cluster.kill_api_server(index)?;
        }
        readiness(&gateway, false)?;
        refuses_at_once(&runtime, &gateway)?;
        cluster.start_api_server_again(0)?;
        readiness(&gateway, true)?;
        let asker = Asker::start(&runtime, address(&gateway), &[GET, POST]);
        asker.more(MANY)?;
        asker.none_failed(&runtime)?;
        Session::open(address(&gateway))?.ends_well()
    });
    suite.check(
        "gateways are updated: no request fails, no session is cut before the grace period's end",
        || rolling_update(&runtime, &cluster),
    );
    suite.verdict();
}
