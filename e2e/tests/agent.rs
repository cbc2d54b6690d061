//! A node's agent, as the real binary beside a real kubelet that is too old for WebSockets: its identity,
//! its redirection, its report, its death and its update. The controller's part is played by hand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod node_agent;

use node_agent::{identity, outage, traffic, update};
use streamway_e2e::OLD_KUBELET;
use streamway_e2e::cluster::Cluster;
use streamway_e2e::suite::Suite;

use node_agent::world::World;

#[test]
fn an_agent_serves_its_node_and_no_other() {
    let cluster = Cluster::builder("test-agent")
        .controllers(true)
        .node("one", OLD_KUBELET, None)
        .node("two", OLD_KUBELET, None)
        .up()
        .unwrap();
    let world = World::new(&cluster).unwrap();
    let mut suite = Suite::default();
    suite.check("an agent waits for its certificate, and says so", || {
        identity::waits_for_approval(&world)
    });
    suite.check("traffic comes to it, and execs as WebSockets", || {
        traffic::redirected(&world)
    });
    suite.check("it reports on change only", || {
        traffic::reported_once(&world)
    });
    suite.check("killed: nothing fails, and it comes back as it was", || {
        outage::killed(&world)
    });
    suite.check("stopped: out of the path by itself, and back", || {
        outage::stopped(&world)
    });
    suite.check("the API server away: nothing changes on the node", || {
        outage::api_server_away(&world)
    });
    suite.check("an update cuts no session and refuses no request", || {
        update::side_by_side(&world)
    });
    suite.check("traffic goes back, sessions go on", || {
        traffic::given_back(&world)
    });
    suite.check("an update by way of the port does the same", || {
        update::by_port(&world)
    });
    suite.check("a certificate is good for its own node only", || {
        identity::good_for_one_node(&world)
    });
    suite.check("a certificate that is no good is replaced", || {
        identity::replaced(&world)
    });
    suite.check("without the right to redirect it says so", || {
        traffic::without_the_right(&world)
    });
    suite.verdict();
}
