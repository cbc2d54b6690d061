//! SIGTERM: no new connections, sessions run on; what is left is told and cut. Needs no cluster and
//! no root.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::TcpStream;
use std::time::Duration;

use streamway_e2e::peer::{self, Target};
use streamway_e2e::wsclient::{Seen, WsClient, channel};
use streamway_e2e::{run, wait};
use streamway_kstream::ws::Opcode;

#[test]
fn a_terminated_proxy_lets_sessions_run_on_and_tells_those_that_it_cuts() {
    let kubelet = peer::kubelet().unwrap();
    let mut proxy = peer::translator(Target::Ours, &kubelet.address).unwrap();
    let mut session = WsClient::exec(&proxy.address, &["echo"], true).unwrap();
    let terminate = || {
        run::output(&mut run::command(
            "kill",
            ["-TERM", &proxy.pid().to_string()],
        ))
        .unwrap()
    };

    terminate();
    wait::until(
        "new connections are refused",
        Duration::from_secs(10),
        || Ok(TcpStream::connect(&proxy.address).is_err().then_some(())),
    )
    .unwrap();
    session.send(Opcode::Binary, true, b"\0still here").unwrap();
    let mut seen = Vec::new();
    wait::until("the session goes on", Duration::from_secs(10), || {
        seen.extend(session.next(Duration::from_secs(1))?);
        Ok((channel(&seen, 1) == b"still here").then_some(()))
    })
    .unwrap();

    // A second signal ends the grace period.
    terminate();
    let rest = session.rest(Duration::from_secs(10)).unwrap();
    let told = String::from_utf8(channel(&rest, 3)).unwrap();
    assert!(
        told.contains("Failure") && told.contains("shutting down"),
        "{told}"
    );
    assert!(rest.contains(&Seen::Close(1000)), "{rest:?}");
    wait::until("the proxy ends", Duration::from_secs(10), || {
        Ok((!proxy.is_alive()).then_some(()))
    })
    .unwrap();
}
