//! A rollout on a real cluster while things break, one after the other: each fault ends in the state that
//! the status then names, and the time that it took is printed.
#![allow(clippy::unwrap_used, clippy::print_stdout)]
// Of a status that was just waited for.
#![allow(clippy::indexing_slicing)]

mod faults;

use faults::scene::Scene;
use faults::{agents, kubelets, outages, waves};
use streamway_e2e::product;
use streamway_e2e::suite::Suite;

#[test]
fn faults_end_where_the_status_says() {
    let cluster = product::three_nodes("test-rollout-faults").up().unwrap();
    let mut scene = Scene::new(cluster).unwrap();
    let mut suite = Suite::default();
    suite.check("before all, three nodes are over", || {
        waves::brought_over(&scene)
    });
    suite.check("agent killed, Redirect", || agents::killed(&scene));
    suite.check("agent hung", || agents::hung(&scene));
    suite.check("agent with another's certificate", || {
        agents::wrong_certificate(&scene)
    });
    suite.check("agent's rights taken", || agents::without_rights(&scene));
    suite.check("kubelet killed and back", || kubelets::killed(&scene));
    suite.check("kubelet restarted", || kubelets::restarted(&scene));
    suite.check("kubelet upgraded and back", || kubelets::upgraded(&scene));
    suite.check("API server restarted", || outages::api_server(&scene));
    suite.check("kubelet of a masked node restarted", || {
        kubelets::masked(&scene)
    });
    suite.check("webhook down", || outages::webhook(&scene));
    suite.check("probe failing on one of three nodes", || {
        waves::probe_fails(&scene)
    });
    suite.check("leader killed mid-wave", || waves::leader_killed(&scene));
    suite.check("a node joins mid-wave", || waves::joined(&mut scene));
    suite.check("a node is deleted mid-wave", || waves::deleted(&scene));
    suite.check("agent killed, Port", || agents::killed_by_port(&scene));
    suite.check("agent hung, Port", || agents::hung_by_port(&scene));
    suite.verdict();
}
