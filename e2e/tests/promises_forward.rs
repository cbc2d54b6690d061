//! Promise 9: one refused connection does not end a whole port-forward.
//!
//! client-go closes every forwarded port as soon as any error stream holds text (`portforward.go`,
//! `handleConnection`), so what is asked here is that no text arrives, that the refused connection
//! ends, and that the others go on. Needs no cluster and no root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod tunnel;

use std::time::Duration;

use anyhow::{Result, ensure};
use streamway_e2e::fake_kubelet::{FakeKubelet, Script};
use streamway_e2e::peer::{self, Server, Target};
use streamway_e2e::wait;
use tunnel::{Happened, Tunnel};

const PATIENCE: Duration = Duration::from_secs(10);

/// A port that upstream's kubelet side refuses; see `bench/peer/kubelet.go`.
const REFUSED: u16 = 9999;

fn pair(target: Target) -> Result<(Server, Server)> {
    let kubelet = peer::kubelet()?;
    let translator = peer::translator(target, &kubelet.address)?;
    Ok((kubelet, translator))
}

/// Sends on a connection to an echoing port, and waits for the same to come back.
fn echo(tunnel: &mut Tunnel, connection: &tunnel::Forwarded, text: &[u8]) -> Result<()> {
    tunnel.send(connection.data, text)?;
    let mut back = Vec::new();
    tunnel.until("the echo", PATIENCE, |happened| {
        if let Happened::Data { stream, bytes, .. } = happened
            && *stream == connection.data
        {
            back.extend_from_slice(bytes);
        }
        back.len() >= text.len()
    })?;
    ensure!(back == text, "{} bytes came back as others", text.len());
    Ok(())
}

/// The error stream's text of a connection that is refused, once both of its streams are over.
fn refusal(tunnel: &mut Tunnel) -> Result<String> {
    let refused = tunnel.open(REFUSED)?;
    let (mut text, mut error_over, mut data_over) = (Vec::new(), false, false);
    tunnel.until("the refused connection's end", PATIENCE, |happened| {
        match happened {
            Happened::Data { stream, bytes, fin } if *stream == refused.error => {
                text.extend_from_slice(bytes);
                error_over |= fin;
            }
            Happened::Data { stream, fin, .. } if *stream == refused.data => data_over |= fin,
            Happened::Reset(stream) if *stream == refused.error => error_over = true,
            Happened::Reset(stream) if *stream == refused.data => data_over = true,
            _ => {}
        }
        error_over && data_over
    })?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn refused_port_leaves_the_others(target: Target) -> Result<()> {
    let (_kubelet, translator) = pair(target)?;
    let mut tunnel = Tunnel::open_to(&translator.address)?;
    let before = tunnel.open(8080)?;
    echo(&mut tunnel, &before, b"before")?;
    // More than once: what is kept of a refusal must not spoil the next.
    for _ in 0..3 {
        let text = refusal(&mut tunnel)?;
        ensure!(
            text.is_empty(),
            "client-go would end every forwarded port at: {text}"
        );
    }
    echo(&mut tunnel, &before, &[7; 100_000])?;
    let after = tunnel.open(8081)?;
    echo(&mut tunnel, &after, b"after")?;
    Ok(())
}

#[test]
fn ours_keeps_the_other_ports() {
    refused_port_leaves_the_others(Target::Ours).unwrap();
}

#[test]
fn upstream_ends_every_port() {
    let broken = refused_port_leaves_the_others(Target::Upstream).unwrap_err();
    let told = format!("{broken:#}");
    assert!(told.contains("client-go would end every"), "{told}");
    assert!(told.contains("connection refused"), "{told}");
}

#[test]
fn the_refusal_is_in_the_log_with_port_and_words() {
    let (_kubelet, translator) = pair(Target::Ours).unwrap();
    let mut tunnel = Tunnel::open_to(&translator.address).unwrap();
    refusal(&mut tunnel).unwrap();
    wait::until("the log tells it", PATIENCE, || {
        let said = translator.said();
        let told = said.lines().any(|line| {
            line.contains("was refused")
                && line.contains("9999")
                && line.contains("connection refused")
        });
        ensure!(told, "{said}");
        Ok(Some(()))
    })
    .unwrap();
}

#[test]
fn with_the_gate_off_the_text_goes_through_as_upstreams_does() {
    let kubelet = peer::kubelet().unwrap();
    let gates = ["--feature-gates", "IsolatePortForwardErrors=false"];
    let ours = peer::ours(&kubelet.address, &gates).unwrap();
    let upstream = peer::translator(Target::Upstream, &kubelet.address).unwrap();
    let [ours, upstream] = [&ours.address, &upstream.address].map(|address| {
        let mut tunnel = Tunnel::open_to(address).unwrap();
        refusal(&mut tunnel).unwrap()
    });
    assert!(ours.contains("connection refused"), "{ours}");
    assert_eq!(ours, upstream);
}

/// A kubelet that only writes why, and leaves the data stream as it is: the client would wait.
#[test]
fn the_refused_connections_data_stream_is_reset() {
    let fake = FakeKubelet::start(Script::Hold(|streams| {
        let why = b"error forwarding port 9999: connection refused";
        streams.data("error", why, true)
    }))
    .unwrap();
    let translator = peer::translator(Target::Ours, &fake.address).unwrap();
    let mut tunnel = Tunnel::open_to(&translator.address).unwrap();
    let refused = tunnel.open(REFUSED).unwrap();
    tunnel
        .until("the data stream's reset", PATIENCE, |happened| {
            if let Happened::Data { stream, bytes, .. } = happened {
                assert_eq!(*stream, refused.error);
                assert_eq!(bytes, b"", "client-go would end every forwarded port");
            }
            matches!(happened, Happened::Reset(stream) if *stream == refused.data)
        })
        .unwrap();
}

#[test]
fn connections_of_one_tunnel_carry_their_own_bytes() {
    let (_kubelet, translator) = pair(Target::Ours).unwrap();
    let mut tunnel = Tunnel::open_to(&translator.address).unwrap();
    let all: Vec<_> = (0..40).map(|_| tunnel.open(8080).unwrap()).collect();
    for (number, connection) in (0..).zip(&all) {
        echo(&mut tunnel, connection, &[number; 3000]).unwrap();
    }
    // Half-closed by the client, a connection ends by itself; the next still works.
    tunnel.finish(all[0].data).unwrap();
    let mut over = false;
    tunnel
        .until("the finished connection's end", PATIENCE, |happened| {
            match happened {
                Happened::Data { stream, fin, .. } => over |= *fin && *stream == all[0].data,
                Happened::Reset(stream) => over |= *stream == all[0].data,
                _ => {}
            }
            over
        })
        .unwrap();
    echo(&mut tunnel, &all[1], b"still here").unwrap();
}

#[test]
fn junk_in_a_tunnel_ends_that_tunnel_only() {
    let (_kubelet, mut translator) = pair(Target::Ours).unwrap();
    let mut good = Tunnel::open_to(&translator.address).unwrap();
    let connection = good.open(8080).unwrap();
    let upper_case = [
        // SYN_STREAM whose header block is no zlib stream.
        &[0x80, 3, 0, 1, 0, 0, 0, 14][..],
        &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
    ]
    .concat();
    let junk: [&[u8]; 3] = [&[0x80, 3, 0, 99, 0, 0, 0, 0], &[0xff; 64], &upper_case];
    for junk in junk {
        let mut bad = Tunnel::open_to(&translator.address).unwrap();
        bad.message(junk).unwrap();
        bad.until("a close for a broken protocol", PATIENCE, |happened| {
            matches!(happened, Happened::Closed(1002))
        })
        .unwrap();
    }
    assert!(translator.is_alive(), "{}", translator.said());
    echo(&mut good, &connection, b"untouched").unwrap();
}
