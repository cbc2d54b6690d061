//! TCP connections, whoever made them.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Has the kernel notice a peer that vanished: 30 s of silence, then three probes 10 s apart.
pub fn keep_alive(tcp: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    // Without it a dead peer costs more time, nothing else.
    let _ = SockRef::from(tcp).set_tcp_keepalive(&keepalive);
}
