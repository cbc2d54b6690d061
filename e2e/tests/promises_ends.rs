//! How sessions end when a side does what it should not: killed, cut, silent, greedy, not reading.
//! Where upstream is wrong, the same check is shown to fail against it. Needs no cluster and no root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use streamway_e2e::fake_kubelet::{FakeKubelet, Script};
use streamway_e2e::peer::{self, Server, Target};
use streamway_e2e::wsclient::{Seen, WsClient, channel, exec_path};
use streamway_e2e::{checks, https, wait};
use streamway_kstream::ws::Opcode;

const PATIENCE: Duration = Duration::from_secs(20);
const SUCCESS: &[u8] = br#"{"metadata":{},"status":"Success"}"#;

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

/// What the status on the error channel says: `Success` or `Failure`.
fn verdict(seen: &[Seen]) -> Result<String> {
    let status: serde_json::Value =
        serde_json::from_slice(&channel(seen, 3)).with_context(|| format!("{seen:?}"))?;
    Ok(status["status"].as_str().unwrap_or_default().to_owned())
}

fn running(kubelet: &Server) -> Result<u32> {
    let request = "GET /running HTTP/1.1\r\nHost: k\r\nConnection: close\r\n\r\n";
    let answer = https::exchange(&kubelet.address, None, request)?;
    Ok(answer.body.trim().parse()?)
}

/// What a session with an idle kubelet's command is answered instead of 101.
fn refusal(translator: &Server) -> https::Answer {
    let session = WsClient::open(&translator.address, &exec_path(&["x"], false), b"").unwrap();
    session.expect_err("it was answered 101")
}

fn killed_kubelet_is_a_failure(target: Target) -> Result<()> {
    let (kubelet, translator) = pair(target)?;
    let mut session = WsClient::exec(&translator.address, &["tick"], false)?;
    let mut output = 0;
    while output < 2 {
        let seen = session.next(PATIENCE)?.context("no output")?;
        output += channel(&[seen], 1).len();
    }
    // SIGKILL, in the middle of the command.
    drop(kubelet);
    let seen = session.rest(PATIENCE)?;
    let verdict = verdict(&seen)?;
    ensure!(verdict == "Failure", "killed, and told as {verdict}");
    Ok(())
}

#[test]
fn ours_calls_a_killed_kubelet_a_failure() {
    killed_kubelet_is_a_failure(Target::Ours).unwrap();
}

#[test]
fn upstream_calls_a_killed_kubelet_a_success() {
    let broken = killed_kubelet_is_a_failure(Target::Upstream).unwrap_err();
    let told = format!("{broken:#}");
    assert!(told.contains("told as Success"), "{told}");
}

fn reset_output_is_no_success(target: Target) -> Result<()> {
    let script = Script::Then(|streams| {
        [
            streams.data("stdout", b"half", false),
            streams.reset("stdout"),
            streams.data("stderr", b"", true),
            streams.data("error", SUCCESS, true),
        ]
        .concat()
    });
    let (_fake, translator) = before_fake(target, script)?;
    let mut session = WsClient::exec(&translator.address, &["x"], false)?;
    let seen = session.rest(PATIENCE)?;
    ensure!(channel(&seen, 1) == b"half", "{seen:?}");
    let verdict = verdict(&seen)?;
    ensure!(verdict == "Failure", "cut short, and told as {verdict}");
    Ok(())
}

#[test]
fn ours_calls_output_that_was_cut_a_failure() {
    reset_output_is_no_success(Target::Ours).unwrap();
}

#[test]
fn upstream_calls_output_that_was_cut_a_success() {
    let broken = reset_output_is_no_success(Target::Upstream).unwrap_err();
    let told = format!("{broken:#}");
    assert!(told.contains("told as Success"), "{told}");
}

/// A runtime that says everything at once and is gone, and a client that reads late.
#[test]
fn what_a_kubelet_said_before_it_left_arrives_whole() {
    const CHUNKS: usize = 10;
    let script = Script::Then(|streams| {
        let mut bytes = Vec::new();
        for _ in 0..CHUNKS {
            bytes.extend(streams.data("stdout", &[b'x'; 30 << 10], false));
        }
        bytes.extend(streams.data("stdout", b"", true));
        bytes.extend(streams.data("stderr", b"", true));
        bytes.extend(streams.data("error", SUCCESS, true));
        bytes
    });
    let (_fake, translator) = before_fake(Target::Ours, script).unwrap();
    let mut session = WsClient::exec(&translator.address, &["x"], false).unwrap();
    // Unread bytes of the client's are what makes a kernel reset a connection that closes.
    for _ in 0..50 {
        session.send(Opcode::Ping, true, b"unread").unwrap();
    }
    let seen = session.rest(PATIENCE).unwrap();
    assert_eq!(channel(&seen, 1).len(), CHUNKS * (30 << 10));
    assert_eq!(channel(&seen, 3), SUCCESS);
    let close = seen.iter().position(|seen| *seen == Seen::Close(1000));
    let close = close.expect("no close");
    let status = seen
        .iter()
        .rposition(|seen| matches!(seen, Seen::Message(message) if message.first() == Some(&3)));
    assert!(status < Some(close), "the close came before the status");
}

/// Within Kubernetes' own 30 s for each, and as HTTP.
fn tells_silence_before_101(script: Script, status: u16, words: &str) {
    let fake = FakeKubelet::start(script).unwrap();
    let mut translator = peer::translator(Target::Ours, &fake.address).unwrap();
    let mut connection = https::connect(&translator.address, None).unwrap();
    connection
        .sock
        .set_read_timeout(Some(Duration::from_secs(45)))
        .unwrap();
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n",
        exec_path(&["x"], false)
    );
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = vec![0; 4096];
    let count = connection.read(&mut answer).unwrap();
    let mut answer = String::from_utf8_lossy(&answer[..count]).into_owned();
    if !answer.contains(words) {
        let mut body = vec![0; 4096];
        let count = connection.read(&mut body).unwrap();
        answer.push_str(&String::from_utf8_lossy(&body[..count]));
    }
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{answer}"
    );
    assert!(answer.contains(words), "{answer}");
    assert!(translator.is_alive(), "{}", translator.said());
}

#[test]
fn a_kubelet_that_never_answers_is_told_as_http() {
    tells_silence_before_101(Script::Stalled, 504, "did not answer the upgrade");
}

#[test]
fn a_kubelet_that_opens_no_stream_is_told_as_http() {
    tells_silence_before_101(Script::Mute, 502, "did not open the session's streams");
}

#[test]
fn a_switch_to_something_else_is_refused() {
    let bomb = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n{}\r\n",
        format!("X-Pad: {}\r\n", "x".repeat(1000)).repeat(4000)
    );
    let answers = [
        "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
            .to_owned(),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
         X-Stream-Protocol-Version: v3.channel.k8s.io\r\n\r\n"
            .to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
        String::new(),
        bomb,
        String::from_utf8_lossy(&checks::noise(4096)).into_owned(),
    ];
    for answer in answers {
        let head: String = answer.chars().take(80).collect();
        let (_fake, mut translator) = before_fake(Target::Ours, Script::Answer(answer)).unwrap();
        let before = translator.memory().unwrap();
        let answered = refusal(&translator);
        assert!(answered.status >= 500, "{head:?}: {answered:?}");
        let grown = translator.memory().unwrap().saturating_sub(before);
        assert!(grown < 8 << 10, "{head:?}: {grown} KiB");
        assert!(translator.is_alive(), "{}", translator.said());
    }
}

#[test]
fn a_header_bomb_is_refused_and_not_inflated() {
    let script = Script::Hold(|streams| streams.bomb("stdout"));
    let (_fake, mut translator) = before_fake(Target::Ours, script).unwrap();
    let before = translator.memory().unwrap();
    let mut most = 0;
    for _ in 0..20 {
        let mut session = WsClient::exec(&translator.address, &["x"], false).unwrap();
        let seen = session.rest(PATIENCE).unwrap();
        assert_eq!(verdict(&seen).unwrap(), "Failure", "{seen:?}");
        let said = String::from_utf8_lossy(&channel(&seen, 3)).into_owned();
        assert!(said.contains("header block"), "{said}");
        most = most.max(translator.memory().unwrap());
    }
    // One alone would be 6 MiB.
    assert!(most < before + (5 << 10), "from {before} to {most} KiB");
    assert!(translator.is_alive());
}

/// Clients that ask for much and read nothing cost a bounded amount, and leave nothing when they go.
#[test]
fn clients_that_do_not_read_are_bounded_and_let_go() {
    const CLIENTS: u32 = 20;
    let (kubelet, translator) = pair(Target::Ours).unwrap();
    let descriptors = translator.descriptors().unwrap();
    let before = translator.memory().unwrap();
    let huge = (1_u64 << 40).to_string();
    let mut sessions: Vec<_> = (0..CLIENTS)
        .map(|_| WsClient::exec(&translator.address, &["zero", &huge], true).unwrap())
        .collect();
    for session in &mut sessions {
        session.next(PATIENCE).unwrap().expect("no output");
    }
    // There is no event to wait for: that memory stays is looked at over some time.
    let start = Instant::now();
    wait::until("a while passes", PATIENCE, || {
        let grown = translator.memory()?.saturating_sub(before);
        assert!(grown < u64::from(CLIENTS) << 10, "{grown} KiB");
        Ok((start.elapsed() > Duration::from_secs(3)).then_some(()))
    })
    .unwrap();
    assert_eq!(running(&kubelet).unwrap(), CLIENTS);
    drop(sessions);
    wait::until(
        "the commands end with their clients",
        Duration::from_secs(5),
        || Ok((running(&kubelet)? == 0).then_some(())),
    )
    .unwrap();
    wait::until("descriptors come back", PATIENCE, || {
        Ok((translator.descriptors()? <= descriptors + 2).then_some(()))
    })
    .unwrap();
}

/// Junk before TLS, before the request, in it and behind it: the next session works.
#[test]
fn junk_before_a_session_harms_nobody() {
    let (_kubelet, mut translator) = pair(Target::Ours).unwrap();
    let noise = checks::noise(64 << 10);
    for chunk in noise.chunks(8 << 10) {
        let mut tcp = TcpStream::connect(&translator.address).unwrap();
        // Either may fail: the other side is right to cut this off.
        let _ = tcp.write_all(chunk);
        let mut tls = https::connect(&translator.address, None).unwrap();
        let _ = tls.write_all(chunk).and_then(|()| tls.flush());
        let request = "GET /exec/default/pod/container?command=echo&input=1&output=1 HTTP/1.1\r\n";
        let mut half = https::connect(&translator.address, None).unwrap();
        let _ = half.write_all(&[request.as_bytes(), chunk].concat());
        let path = exec_path(&["echo"], true);
        if let Ok(mut session) = WsClient::open(&translator.address, &path, chunk).unwrap() {
            let seen = session.rest(PATIENCE).unwrap();
            assert_ne!(verdict(&seen).unwrap_or_default(), "Success", "{seen:?}");
        }
        assert!(translator.is_alive(), "{}", translator.said());
    }
    let mut session = WsClient::exec(&translator.address, &["zero", "3"], false).unwrap();
    assert_eq!(channel(&session.rest(PATIENCE).unwrap(), 1), [0, 0, 0]);
}

#[test]
fn a_kubelet_that_comes_later_is_found() {
    let (nowhere, metrics) = (peer::free_address().unwrap(), peer::free_address().unwrap());
    let translator = peer::ours_with_metrics(&nowhere, &metrics, &[]).unwrap();
    let ready = || -> Result<String> {
        let mut tcp = TcpStream::connect(&metrics)?;
        tcp.write_all(b"GET /readyz?verbose HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        tcp.read_to_string(&mut answer)?;
        Ok(answer)
    };
    wait::until("the proxy says why it is not ready", PATIENCE, || {
        let answer = ready()?;
        ensure!(
            !answer.starts_with("HTTP/1.1 200") && answer.contains("error dialing the kubelet"),
            "{answer}"
        );
        Ok(Some(()))
    })
    .unwrap();
    let answered = refusal(&translator);
    assert_eq!(answered.status, 502, "{answered:?}");
    let complaints = translator.said();
    let complaints = complaints
        .lines()
        .filter(|line| line.contains("cannot be reached"));
    assert_eq!(complaints.count(), 1, "{}", translator.said());

    let _kubelet = peer::kubelet_at(&nowhere).unwrap();
    let mut session = WsClient::exec(&translator.address, &["zero", "3"], false).unwrap();
    assert_eq!(channel(&session.rest(PATIENCE).unwrap(), 1), [0, 0, 0]);
    wait::until("the proxy is ready", Duration::from_secs(40), || {
        let answer = ready()?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(Some(()))
    })
    .unwrap();
}
