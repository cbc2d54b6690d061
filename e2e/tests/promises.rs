//! What the stream proxy does better than upstream's translator. Where upstream is wrong, the same
//! check is shown to fail against it. Needs no cluster and no root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fmt::Write as _;
use std::io::Read;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use streamway_e2e::fake_kubelet::{FakeKubelet, Script};
use streamway_e2e::peer::{self, Server, Target};
use streamway_e2e::wait;
use streamway_e2e::wsclient::{Seen, WsClient, channel, exec_path};
use streamway_kstream::ws::Opcode;

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// A kubelet with a translator before it.
fn pair(target: Target) -> Result<(Server, Server)> {
    let kubelet = peer::kubelet()?;
    let translator = peer::translator(target, &kubelet.address)?;
    Ok((kubelet, translator))
}

fn before_fake(target: Target, script: Script) -> Result<(FakeKubelet, Server)> {
    let fake = FakeKubelet::start(script)?;
    let translator = peer::translator(target, &fake.address)?;
    Ok((fake, translator))
}

/// The status on the error channel.
fn status(seen: &[Seen]) -> Result<serde_json::Value> {
    let text = channel(seen, 3);
    serde_json::from_slice(&text).with_context(|| format!("{seen:?}"))
}

/// The promise is kept by ours, and, where `upstream` says so, broken by upstream.
macro_rules! promise {
    ($ours:ident, $check:ident) => {
        #[test]
        fn $ours() {
            $check(Target::Ours).unwrap();
        }
    };
    ($ours:ident, $upstream:ident, $check:ident) => {
        promise!($ours, $check);

        #[test]
        fn $upstream() {
            let broken =
                $check(Target::Upstream).expect_err("upstream keeps it: no promise of ours");
            println!("upstream: {broken:#}");
        }
    };
}

promise!(
    ours_tells_refusals_before_101,
    upstream_answers_101_first,
    refused_before_101
);
fn refused_before_101(target: Target) -> Result<()> {
    for (code, extra) in [
        (403, ""),
        (404, ""),
        (429, "Retry-After: 60\r\n"),
        (500, ""),
    ] {
        let body = format!("because of {code}");
        let answer = format!(
            "HTTP/1.1 {code} Because\r\n{extra}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let (_fake, translator) = before_fake(target, Script::Answer(answer))?;
        match WsClient::open(&translator.address, &exec_path(&["x"], false), b"")? {
            Ok(_) => bail!("{code} was answered with 101"),
            Err(got) => {
                ensure!(got.status == code && got.body.ends_with(&body), "{got:?}");
                let retry = got.body.to_ascii_lowercase().contains("retry-after: 60");
                ensure!(retry == (code == 429), "{got:?}");
            }
        }
    }
    Ok(())
}

promise!(ours_refuses_redirects, redirects);
fn redirects(target: Target) -> Result<()> {
    for code in [301, 302, 303, 307, 308] {
        let elsewhere = peer::free_address()?;
        let listener = std::net::TcpListener::bind(&elsewhere)?;
        listener.set_nonblocking(true)?;
        let answer = format!(
            "HTTP/1.1 {code} Moved\r\nLocation: https://{elsewhere}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let (_fake, translator) = before_fake(target, Script::Answer(answer))?;
        match WsClient::open(&translator.address, &exec_path(&["x"], false), b"")? {
            Ok(_) => bail!("{code} was answered with 101"),
            Err(got) => {
                ensure!(
                    got.status == 502 && got.body.contains("redirect not allowed"),
                    "{got:?}"
                );
                ensure!(
                    !got.body.contains(&elsewhere),
                    "the target was told: {got:?}"
                );
            }
        }
        ensure!(listener.accept().is_err(), "the redirect was followed");
    }
    Ok(())
}

#[test]
fn a_kubelet_that_is_not_there_is_told_as_http() {
    let nowhere = peer::free_address().unwrap();
    let mut translator = peer::translator(Target::Ours, &nowhere).unwrap();
    let answer = WsClient::open(&translator.address, &exec_path(&["x"], false), b"").unwrap();
    let answer = answer.expect_err("no 101");
    assert_eq!(answer.status, 502);
    assert!(
        answer.body.contains("error dialing the kubelet"),
        "{answer:?}"
    );
    assert!(translator.is_alive());
}

promise!(
    ours_calls_a_vanished_node_a_failure,
    upstream_calls_it_a_success,
    vanished
);
fn vanished(target: Target) -> Result<()> {
    let scripts: [Script; 2] = [
        Script::Then(|streams| streams.data("stdout", b"half", false)),
        Script::Then(|streams| {
            [streams.data("stdout", b"half", false), streams.go_away()].concat()
        }),
    ];
    for script in scripts {
        let (_fake, translator) = before_fake(target, script)?;
        let mut session = WsClient::exec(&translator.address, &["x"], false)?;
        let seen = session.rest(SECONDS(20))?;
        ensure!(channel(&seen, 1) == b"half", "{seen:?}");
        ensure!(status(&seen)?["status"] == "Failure", "{seen:?}");
        ensure!(seen.contains(&Seen::Close(1000)), "{seen:?}");
    }
    Ok(())
}

promise!(ours_sends_the_tail_to_a_slow_reader, tail);
fn tail(target: Target) -> Result<()> {
    const BYTES: usize = 8 << 20;
    let (_kubelet, translator) = pair(target)?;
    let mut session = WsClient::exec(&translator.address, &["zero", &BYTES.to_string()], false)?;
    let start = Instant::now();
    let (mut bytes, mut said, mut closed) = (0, Vec::new(), None);
    while let Some(seen) = session.next(SECONDS(30))? {
        match seen {
            Seen::Message(message) if message.first() == Some(&1) => {
                bytes += message.len() - 1;
                ensure!(
                    closed.is_none() && said.is_empty(),
                    "output after the status"
                );
                // Slower than the command, and with pings under way while the other side closes.
                session.send(Opcode::Ping, true, b"")?;
                let at = u32::try_from(bytes >> 20)?;
                wait::until("it is time to read on", SECONDS(5), || {
                    Ok((start.elapsed() > Duration::from_millis(100) * at).then_some(()))
                })?;
            }
            Seen::Message(message) => said.extend_from_slice(message.get(1..).unwrap_or_default()),
            Seen::Close(code) => closed = Some(code),
            Seen::End => break,
            Seen::Text(_) => bail!("a text message"),
            Seen::Pong => {}
        }
    }
    ensure!(bytes == BYTES, "{bytes} of {BYTES} bytes arrived");
    ensure!(
        said.windows(9).any(|nine| nine == b"\"Success\""),
        "{said:?}"
    );
    ensure!(closed == Some(1000), "closed with {closed:?}");
    Ok(())
}

promise!(
    ours_puts_fragments_together,
    upstream_takes_fragments_for_messages,
    fragments
);
fn fragments(target: Target) -> Result<()> {
    let (_kubelet, translator) = pair(target)?;
    let mut session = WsClient::exec(&translator.address, &["echo"], true)?;
    session.send(Opcode::Binary, false, b"\0")?;
    session.send(Opcode::Continuation, false, b"ab")?;
    session.send(Opcode::Ping, true, b"between")?;
    session.send(Opcode::Continuation, true, b"cd")?;
    session.send(Opcode::Text, true, b"\0ef")?;
    session.send(Opcode::Binary, true, b"")?;
    session.send(Opcode::Binary, true, &[255, 0])?;
    let seen = session.rest(SECONDS(10))?;
    ensure!(channel(&seen, 1) == b"abcdef", "{seen:?}");
    ensure!(status(&seen)?["status"] == "Success", "{seen:?}");
    Ok(())
}

promise!(ours_keeps_what_came_with_the_request, early_bytes);
fn early_bytes(target: Target) -> Result<()> {
    let (_kubelet, translator) = pair(target)?;
    let early = [
        WsClient::frame(Opcode::Binary, true, b"\0early"),
        WsClient::frame(Opcode::Binary, true, &[255, 0]),
    ]
    .concat();
    let session = WsClient::open(&translator.address, &exec_path(&["echo"], true), &early)?;
    let seen = session
        .map_err(|answer| anyhow::anyhow!("{answer:?}"))?
        .rest(SECONDS(10))?;
    ensure!(channel(&seen, 1) == b"early", "{seen:?}");
    Ok(())
}

promise!(
    ours_keeps_exit_codes_of_32_bits,
    upstream_loses_them,
    exit_codes
);
fn exit_codes(target: Target) -> Result<()> {
    let (_kubelet, translator) = pair(target)?;
    for code in ["255", "2147483648", "3221225786"] {
        let mut session = WsClient::exec(&translator.address, &["exit", code], false)?;
        let seen = session.rest(SECONDS(10))?;
        let status = status(&seen)?;
        ensure!(
            status["details"]["causes"][0]["message"] == code,
            "{status}"
        );
        let words = format!("the runtime's words for {code}");
        ensure!(
            status["message"]
                .as_str()
                .is_some_and(|text| text.contains(&words)),
            "{status}"
        );
    }
    Ok(())
}

promise!(
    ours_survives_a_consumer_that_stalls_100_s,
    upstream_answers_no_ping_meanwhile,
    stalled
);
fn stalled(target: Target) -> Result<()> {
    const MESSAGE: usize = 32 << 10;
    const MESSAGES: usize = 256;
    let (_kubelet, translator) = pair(target)?;
    let mut session = WsClient::exec(&translator.address, &["count", "100"], true)?;
    let before = translator.memory()?;
    let message = WsClient::frame(
        Opcode::Binary,
        true,
        &[&[0][..], &vec![b'x'; MESSAGE]].concat(),
    );
    // client-go's rules: a write has 60 s, and so has the wait for a Pong (61 s).
    session
        .connection
        .sock
        .set_write_timeout(Some(SECONDS(60)))?;
    let (mut last_pong, mut last_ping, mut sent) = (Instant::now(), Instant::now(), 0);
    let mut seen = Vec::new();
    loop {
        if sent < MESSAGES {
            session
                .raw(&message)
                .context("a write took more than 60 s")?;
            sent += 1;
            if sent == MESSAGES {
                session.send(Opcode::Binary, true, &[255, 0])?;
            }
        }
        if last_ping.elapsed() > SECONDS(5) {
            session.send(Opcode::Ping, true, b"")?;
            last_ping = Instant::now();
        }
        let pause = if sent < MESSAGES {
            Duration::from_millis(1)
        } else {
            SECONDS(1)
        };
        match session.next(pause)? {
            Some(Seen::Pong) => last_pong = Instant::now(),
            Some(Seen::End) => break,
            Some(other) => seen.push(other),
            None => {}
        }
        ensure!(
            last_pong.elapsed() < SECONDS(61),
            "no Pong for 61 s: client-go gives up"
        );
        ensure!(
            translator.memory()? < before + (8 << 10),
            "memory grows: {} KiB",
            translator.memory()?
        );
    }
    let counted = String::from_utf8(channel(&seen, 1))?;
    ensure!(
        counted.trim() == (MESSAGE * MESSAGES).to_string(),
        "{counted:?} {seen:?}"
    );
    Ok(())
}

promise!(ours_ends_what_a_client_leaves, left);
fn left(target: Target) -> Result<()> {
    // A command that neither reads nor writes, so that nothing but the client's leaving ends it.
    let (fake, translator) = before_fake(target, Script::Idle)?;
    let session = WsClient::exec(&translator.address, &["sleep"], false)?;
    wait::until("the session is open", SECONDS(60), || {
        Ok((fake.open.load(Ordering::Relaxed) == 1).then_some(()))
    })?;
    drop(session);
    wait::until(
        "the node's session ends with its client",
        SECONDS(5),
        || Ok((fake.open.load(Ordering::Relaxed) == 0).then_some(())),
    )
}

promise!(ours_notices_a_node_that_answers_nothing, silent);
fn silent(target: Target) -> Result<()> {
    let (_fake, translator) = before_fake(target, Script::Silent)?;
    let mut session = WsClient::exec(&translator.address, &["x"], false)?;
    let seen = session.rest(SECONDS(60))?;
    let status = status(&seen)?;
    ensure!(
        status["message"]
            .as_str()
            .is_some_and(|text| text.contains("no ping")),
        "{status}"
    );
    Ok(())
}

promise!(
    ours_allocates_nothing_on_trust,
    upstream_allocates_what_is_announced,
    announced
);
fn announced(target: Target) -> Result<()> {
    let script = Script::Then(|streams| {
        let head = streams.huge_head("stdout");
        // The rest never comes; what a trusting reader allocates stays until it does.
        [&head[..], &[0; 1024]].concat()
    });
    let fake = FakeKubelet::start(script)?;
    let translator = peer::translator(target, &fake.address)?;
    let before = translator.memory()?;
    let mut most = 0;
    let mut sessions = Vec::new();
    for _ in 0..20 {
        let mut session = WsClient::exec(&translator.address, &["x"], false)?;
        session.next(SECONDS(5))?;
        most = most.max(translator.memory()?);
        sessions.push(session);
    }
    most = most.max(translator.memory()?);
    ensure!(
        most < before + (16 << 10),
        "memory grew by {} KiB",
        most - before
    );
    Ok(())
}

promise!(ours_sends_no_more_heartbeats_than_spdy, heartbeats);
fn heartbeats(target: Target) -> Result<()> {
    let (fake, translator) = before_fake(target, Script::Idle)?;
    let mut session = WsClient::exec(&translator.address, &["x"], true)?;
    let start = Instant::now();
    let (mut pings, mut frames) = (0_usize, 0_usize);
    while start.elapsed() < SECONDS(22) {
        if start.elapsed() > SECONDS(5 * (pings as u64 + 1)) {
            session.send(Opcode::Ping, true, b"")?;
            pings += 1;
        }
        match session.next(Duration::from_millis(250))? {
            Some(Seen::Message(hello)) if hello.len() == 1 => {}
            Some(Seen::Pong) => frames += 1,
            Some(other) => bail!("{other:?}"),
            None => {}
        }
    }
    ensure!(
        pings == 4 && frames == 4,
        "{pings} pings were answered with {frames} frames"
    );
    // SPDY had one in 5 s.
    let upstream = fake.pings.load(Ordering::Relaxed);
    ensure!(
        (1..=4).contains(&upstream),
        "{upstream} pings reached the node in 22 s"
    );
    Ok(())
}

#[test]
fn ours_survives_junk_on_both_sides() {
    let junk: [fn(&mut streamway_e2e::fake_kubelet::Streams) -> Vec<u8>; 3] = [
        |_| b"HTTP/1.1 500 Internal Server Error\r\n\r\n".to_vec(),
        |_| vec![0x80, 3, 0, 99, 0, 0, 0, 0],
        |_| streamway_e2e::checks::noise(64 << 10),
    ];
    for make in junk {
        let (_fake, mut translator) = before_fake(Target::Ours, Script::Then(make)).unwrap();
        match WsClient::open(&translator.address, &exec_path(&["x"], false), b"").unwrap() {
            // Junk that comes with the streams' replies is told before 101.
            Err(answer) => assert_eq!(answer.status, 502, "{answer:?}"),
            Ok(mut session) => {
                let seen = session.rest(SECONDS(20)).unwrap();
                assert_eq!(status(&seen).unwrap()["status"], "Failure", "{seen:?}");
            }
        }
        assert!(translator.is_alive(), "{}", translator.said());
    }
    let (_kubelet, mut translator) = pair(Target::Ours).unwrap();
    for (junk, code) in [
        (vec![0x82, 0x01, 0x00], Some(1002)),
        (vec![0xff; 64], Some(1002)),
        (WsClient::frame(Opcode::Binary, true, &[255]), Some(1002)),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Some(1002)),
    ] {
        let mut session = WsClient::exec(&translator.address, &["echo"], true).unwrap();
        session.raw(&junk).unwrap();
        let seen = session.rest(SECONDS(20)).unwrap();
        let closed = seen.iter().find_map(|seen| match seen {
            Seen::Close(code) => Some(*code),
            _ => None,
        });
        assert_eq!(closed, code, "{junk:x?}: {seen:?}");
    }
    // And the next session works.
    let mut session = WsClient::exec(&translator.address, &["zero", "3"], false).unwrap();
    assert_eq!(channel(&session.rest(SECONDS(10)).unwrap(), 1), [0, 0, 0]);
    assert!(translator.is_alive(), "{}", translator.said());
}

#[test]
fn ours_carries_a_thousand_sessions_at_once() {
    let (_kubelet, translator) = pair(Target::Ours).unwrap();
    let load = |sessions| {
        peer::load(
            &translator.address,
            &["-mode", "check", "-sessions", sessions],
        )
    };
    load("50").unwrap();
    let (memory, descriptors) = (
        translator.memory().unwrap(),
        translator.descriptors().unwrap(),
    );
    load("1000").unwrap();
    wait::until("descriptors come back", SECONDS(20), || {
        Ok((translator.descriptors()? <= descriptors + 10).then_some(()))
    })
    .unwrap();
    // The allocator gives pages back some seconds after they are free.
    wait::until("memory comes back", SECONDS(30), || {
        let grown = translator.memory()?.saturating_sub(memory);
        ensure!(grown < 64 << 10, "{grown} KiB stayed");
        Ok(Some(()))
    })
    .unwrap();
}

#[test]
fn client_gos_port_forward_carries_connections_at_once() {
    // What a refused one does to the others: promises_forward.rs.
    let (_kubelet, translator) = pair(Target::Ours).unwrap();
    let said = peer::load(
        &translator.address,
        &["-mode", "forward", "-mib", "64", "-sessions", "8"],
    );
    let said = said.with_context(|| translator.said()).unwrap();
    assert!(said.contains("\"mib\":64"), "{said}");
}

/// Wrong flags and files: one line that says the way out, exit code 64 or 1, never a panic.
#[test]
fn mistakes_are_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "no certificate").unwrap();
    let text = text.to_string_lossy().into_owned();
    let own = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["b".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("crt"), folder.path().join("key"));
    std::fs::write(&certificate, own.cert.pem()).unwrap();
    std::fs::write(&key, other.signing_key.serialize_pem()).unwrap();
    let (certificate, key) = (
        certificate.to_string_lossy().into_owned(),
        key.to_string_lossy().into_owned(),
    );
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = busy.local_addr().unwrap().to_string();
    let free = peer::free_address().unwrap();
    let skip = "--kubelet-insecure-skip-tls-verify";
    let open = ["--anonymous-auth", "--authorization-mode", "AlwaysAllow"];
    let cases: [(&[&str], i32, &str); 16] = [
        (&[], 64, "--kubelet-certificate-authority"),
        (&[skip], 64, "--kubeconfig"),
        (
            &[skip, "--feature-gates", "NoSuchGate=true"],
            64,
            "NoSuchGate",
        ),
        (
            &[skip, "--feature-gates", "PortForwardWebsockets=perhaps"],
            64,
            "PortForwardWebsockets",
        ),
        (
            &[skip, "--feature-gates", "NodeDeclaredFeatures=false"],
            64,
            "ExtendWebSocketsToKubelet",
        ),
        (
            &["--kubelet-certificate-authority", "/no/such/file"],
            64,
            "/no/such/file",
        ),
        (
            &["--kubelet-certificate-authority", &text],
            64,
            "--kubelet-certificate-authority",
        ),
        (&[skip, "--kubelet", "nonsense"], 64, "--kubelet"),
        (
            &[
                skip,
                "--tls-cert-file",
                &text,
                "--tls-private-key-file",
                &text,
            ],
            64,
            "--tls-cert-file",
        ),
        (
            &[
                skip,
                "--tls-cert-file",
                &certificate,
                "--tls-private-key-file",
                &key,
            ],
            64,
            "--tls",
        ),
        (&[skip, "--no-such-flag"], 64, "--no-such-flag"),
        (
            &[skip, "--traffic", "NodeStreaming"],
            64,
            "--rotate-certificates",
        ),
        (
            &[skip, "--rotate-certificates"],
            64,
            "--bootstrap-kubeconfig",
        ),
        (&[skip, "--redirect-ports", "2-1"], 64, "--redirect-ports"),
        (
            &[skip, "--admin-socket", "/no/such/file"],
            1,
            "--admin-socket",
        ),
        (&[skip, "--listen", &busy], 1, "--listen"),
    ];
    for (args, code, names) in cases {
        let mut command = std::process::Command::new(streamway_e2e::streamproxy().unwrap());
        command
            .arg("node")
            .args(args)
            .args(["--metrics-listen", &free]);
        if !args.is_empty() && args != [skip] {
            command.args(open);
        }
        if !args.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command.env_remove("KUBERNETES_SERVICE_HOST");
        let mut child = command
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let ended = wait::until("it ends", SECONDS(20), || Ok(child.try_wait()?));
        let _ = child.kill();
        let mut said = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        let mut told = String::new();
        let _ = write!(told, "{args:?}: {said}");
        assert_eq!(ended.expect(&told).code(), Some(code), "{told}");
        let errors: Vec<&str> = said
            .lines()
            .filter(|line| !line.contains(" INFO ") && !line.contains(" WARN "))
            .collect();
        assert_eq!(errors.len(), 1, "{told}");
        assert!(
            errors[0].starts_with("error: ") && errors[0].contains(names),
            "{told}"
        );
        assert!(!said.contains("panicked"), "{told}");
    }
}
