//! Transcripts of exec and attach sessions, each at several ways of cutting the bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod rig;

use std::time::Duration;

use rig::{Heard, Rig, Seen};
use streamway_kstream::channel::StreamOptions;
use streamway_kstream::ws::Opcode;
use streamway_spdy::Limits;
use streamway_translate::exec::Exec;
use streamway_translate::{Outcome, Translate};

const SUCCESS: &[u8] = br#"{"metadata":{},"status":"Success"}"#;

fn options(stdin: bool, tty: bool) -> StreamOptions {
    StreamOptions {
        stdin,
        stdout: true,
        stderr: !tty,
        tty,
    }
}

fn exec(cut: usize, options: StreamOptions) -> Rig<Exec> {
    Rig::new(cut, |now, out| {
        Exec::new(options, Limits::default(), now, out)
    })
}

/// Runs a transcript with whole inputs, and cut into pieces of every small size.
fn at_every_cut(transcript: impl Fn(usize)) {
    for cut in (1..=40).chain([100, 1 << 20]) {
        transcript(cut);
    }
}

fn opened(name: &str) -> Heard {
    Heard::Opened(name.to_owned())
}

fn finish(rig: &mut Rig<Exec>, status: &[u8]) {
    rig.node_data("stdout", b"", true);
    if rig.streams.contains_key("stderr") {
        rig.node_data("stderr", b"", true);
    }
    rig.node_data("error", status, true);
}

#[test]
fn a_command_with_output_on_both_channels() {
    at_every_cut(|cut| {
        let mut rig = exec(cut, options(false, false));
        assert_eq!(
            rig.heard,
            [opened("error"), opened("stdout"), opened("stderr")]
        );
        assert!(rig.machine.is_open());
        assert_eq!(rig.seen, [Seen::Message(vec![1])], "hello");
        rig.node_data("stdout", b"out", false);
        rig.node_data("stderr", b"err", false);
        finish(&mut rig, SUCCESS);
        assert_eq!(rig.channel(1), b"out");
        assert_eq!(rig.channel(2), b"err");
        assert_eq!(rig.channel(3), SUCCESS);
        assert_eq!(rig.seen.last(), Some(&Seen::Close(1000)));
        assert_eq!(rig.machine.end().unwrap().outcome, Outcome::Success);
        assert_eq!(rig.machine.bytes().from_upstream, 6 + SUCCESS.len() as u64);
        assert!(rig.seen.iter().all(|seen| !matches!(seen, Seen::Text(_))));
        assert!(
            rig.seen
                .iter()
                .all(|seen| *seen != Seen::Message(Vec::new()))
        );
    });
}

#[test]
fn stdin_and_its_end_reach_the_node_in_order() {
    at_every_cut(|cut| {
        let mut rig = exec(cut, options(true, false));
        rig.message(b"\0hello ");
        rig.message(b"\0");
        rig.message(b"\0world");
        rig.message(&[255, 0]);
        rig.message(&[255, 0]);
        rig.message(b"\0too late");
        assert_eq!(rig.stream("stdin"), b"hello world");
        assert_eq!(rig.heard.last(), Some(&Heard::Fin("stdin".into())));
        assert!(rig.machine.end().is_none());
    });
}

#[test]
fn a_terminal_has_resizes_and_no_stderr() {
    at_every_cut(|cut| {
        let mut rig = exec(
            cut,
            StreamOptions {
                stderr: true,
                ..options(true, true)
            },
        );
        let names = ["error", "stdin", "stdout", "resize"];
        assert_eq!(rig.heard, names.map(opened));
        rig.message(b"\x04{\"Width\":80,\"Height\":24}\n");
        assert_eq!(rig.stream("resize"), b"{\"Width\":80,\"Height\":24}\n");
    });
}

#[test]
fn fragments_are_one_message_and_pings_may_stand_between() {
    at_every_cut(|cut| {
        let mut rig = exec(cut, options(true, false));
        rig.frame(Opcode::Binary, false, b"\0");
        rig.frame(Opcode::Ping, true, b"now");
        rig.frame(Opcode::Continuation, false, b"ab");
        rig.frame(Opcode::Continuation, false, b"");
        rig.frame(Opcode::Continuation, true, b"cd");
        assert_eq!(rig.stream("stdin"), b"abcd");
        assert!(rig.seen.contains(&Seen::Pong(b"now".to_vec())));
        // The close signal too.
        rig.frame(Opcode::Binary, false, &[255]);
        rig.frame(Opcode::Continuation, true, &[0]);
        assert_eq!(rig.heard.last(), Some(&Heard::Fin("stdin".into())));
    });
}

#[test]
fn text_and_empty_messages_and_unknown_channels_do_no_harm() {
    at_every_cut(|cut| {
        let mut rig = exec(cut, options(true, false));
        rig.frame(Opcode::Text, true, b"\0text");
        rig.message(b"");
        rig.message(b"\x01not yours");
        rig.message(b"\x09unknown");
        rig.message(b"\x04{\"Width\":1,\"Height\":1}");
        rig.message(b"\x04{\"Width\":2,\"Height\":2}");
        assert_eq!(rig.stream("stdin"), b"text");
        assert!(rig.machine.end().is_none());
    });
}

#[test]
fn exit_codes_of_32_bits_and_the_runtimes_words_survive() {
    at_every_cut(|cut| {
        let status = br#"{"status":"Failure","message":"command terminated with non-zero exit code: the runtime's words","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3221225786"}]}}"#;
        let mut rig = exec(cut, options(false, false));
        finish(&mut rig, status);
        assert_eq!(rig.channel(3), status, "as it is");
        assert_eq!(
            rig.machine.end().unwrap().outcome,
            Outcome::ExitCode(3_221_225_786)
        );
    });
}

#[test]
fn a_node_that_goes_without_a_status_is_a_failure() {
    at_every_cut(|cut| {
        for ends in [
            (|rig| rig.node_goes_away()) as fn(&mut Rig<Exec>),
            |rig| {
                rig.machine
                    .handle_upstream_gone("connection reset", &mut rig.out);
                rig.settle();
            },
            |rig| finish(rig, b""),
            |rig| finish(rig, br#"{"status":"Succ"#),
        ] {
            let mut rig = exec(cut, options(true, false));
            rig.node_data("stdout", b"half of", false);
            ends(&mut rig);
            let status = String::from_utf8(rig.channel(3)).unwrap();
            assert!(status.contains(r#""status":"Failure""#), "{status}");
            assert_eq!(rig.channel(1), b"half of");
            assert_eq!(rig.seen.last(), Some(&Seen::Close(1000)));
            assert!(!rig.machine.end().unwrap().outcome.is_the_commands());
        }
    });
}

#[test]
fn a_status_counts_even_where_the_streams_are_reset_after_it() {
    let mut rig = exec(1 << 20, options(true, false));
    rig.node_data("stdout", b"all", false);
    rig.node_data("error", SUCCESS, false);
    for stream in ["error", "stdin", "stdout", "stderr"] {
        rig.node_reset(stream);
    }
    rig.node_goes_away();
    assert_eq!(rig.machine.end().unwrap().outcome, Outcome::Success);
    assert_eq!(rig.channel(3), SUCCESS);
}

#[test]
fn output_that_is_reset_before_the_status_is_truncated() {
    let mut rig = exec(1 << 20, options(false, false));
    rig.node_data("stdout", b"half", false);
    rig.node_reset("stdout");
    rig.node_data("stderr", b"", true);
    rig.node_data("error", SUCCESS, true);
    assert_eq!(rig.machine.end().unwrap().outcome, Outcome::Truncated);
    assert!(
        String::from_utf8(rig.channel(3))
            .unwrap()
            .contains("Failure")
    );
}

#[test]
fn a_client_that_leaves_ends_the_nodes_session() {
    at_every_cut(|cut| {
        for leaves in [
            (|rig| rig.frame(Opcode::Close, true, &1000_u16.to_be_bytes())) as fn(&mut Rig<Exec>),
            |rig| {
                rig.machine.handle_client_gone("hung up", &mut rig.out);
                rig.settle();
            },
        ] {
            let mut rig = exec(cut, options(true, false));
            leaves(&mut rig);
            assert_eq!(rig.machine.end().unwrap().outcome, Outcome::ClientGone);
            let reset = |name: &str| Heard::Reset(name.to_owned());
            for stream in ["error", "stdin", "stdout", "stderr"] {
                assert!(rig.heard.contains(&reset(stream)), "{stream}");
            }
            assert_eq!(rig.heard.last(), Some(&Heard::GoAway));
        }
    });
}

#[test]
fn junk_from_the_client_closes_with_a_code() {
    at_every_cut(|cut| {
        for (junk, code) in [
            (&[0x82, 0x01, 0x00][..], 1002),            // not masked
            (&[0xf2, 0x81, 0, 0, 0, 0, 0], 1002),       // reserved bits
            (&[0x80, 0x81, 0, 0, 0, 0, 0], 1002),       // continues nothing
            (&[0x82, 0x81, 0, 0, 0, 0, 0xff], 1002),    // a close signal that names nothing
            (&[0x82, 0x82, 0, 0, 0, 0, 0xff, 9], 1002), // one for a channel that is none
        ] {
            let mut rig = exec(cut, options(true, false));
            rig.client_bytes(junk);
            assert_eq!(rig.seen.last(), Some(&Seen::Close(code)), "{junk:x?}");
            assert_eq!(
                rig.machine.end().unwrap().outcome,
                Outcome::ClientMisbehaved
            );
            assert_eq!(rig.heard.last(), Some(&Heard::GoAway));
        }
    });
}

#[test]
fn junk_from_the_node_is_a_failure() {
    at_every_cut(|cut| {
        for junk in [
            &[0x80, 3, 0, 0x77, 0, 0, 0, 0][..],
            &[0x80, 3, 0, 3, 0, 0, 0, 1, 0],
            b"HTTP/1.1 500 Internal Server Error\r\n",
        ] {
            let mut rig = exec(cut, options(true, false));
            rig.node_bytes(junk);
            rig.settle();
            // What reads as an unfinished frame is silence, and ends as that.
            rig.wait(Duration::from_secs(120));
            let end = rig.machine.end().expect("an end");
            assert!(!end.outcome.is_the_commands(), "{end:?}");
            assert!(
                String::from_utf8(rig.channel(3))
                    .unwrap()
                    .contains("Failure")
            );
        }
    });
}

#[test]
fn a_status_without_end_is_refused() {
    let mut rig = exec(1 << 20, options(false, false));
    for _ in 0..17 {
        if rig.machine.end().is_none() {
            rig.node_data("error", &[b'x'; 4096], false);
        }
    }
    assert_eq!(
        rig.machine.end().unwrap().outcome,
        Outcome::UpstreamMisbehaved
    );
}

#[test]
fn streams_that_are_not_opened_in_time_fail_the_session() {
    let mut rig = Rig::silent(1 << 20, |now, out| {
        Exec::new(options(true, false), Limits::default(), now, out)
    });
    rig.settle();
    assert!(!rig.machine.is_open());
    rig.wait(Duration::from_secs(29));
    assert!(rig.machine.end().is_none());
    rig.wait(Duration::from_secs(2));
    assert_eq!(rig.machine.end().unwrap().outcome, Outcome::UpstreamSilent);
}

#[test]
fn a_refused_stream_fails_the_session() {
    let mut rig = Rig::silent(1 << 20, |now, out| {
        Exec::new(options(true, false), Limits::default(), now, out)
    });
    rig.settle();
    let id = rig.streams["stdin"];
    let mut bytes = Vec::new();
    rig.node
        .refuse(id, streamway_spdy::RstStatus::REFUSED_STREAM, &mut bytes);
    rig.node_bytes(&bytes);
    let end = rig.machine.end().unwrap();
    assert_eq!(end.outcome, Outcome::UpstreamMisbehaved);
    assert!(end.detail.contains("stdin"), "{}", end.detail);
}

#[test]
fn an_idle_session_pings_the_node_no_more_than_spdy_did() {
    let mut rig = exec(1 << 20, options(true, false));
    rig.wait(Duration::from_secs(600));
    assert!(rig.machine.end().is_none());
    assert!(
        (1..=120).contains(&rig.pings),
        "{} pings in 600 s",
        rig.pings
    );
    let pongs = rig
        .seen
        .iter()
        .filter(|seen| matches!(seen, Seen::Pong(_)))
        .count();
    assert!(
        (10..=30).contains(&pongs),
        "a Pong well within every 61 s: {pongs}"
    );
    assert!(!rig.seen.contains(&Seen::Ping));
}

#[test]
fn a_node_that_answers_no_ping_is_dead() {
    let mut rig = exec(1 << 20, options(true, false));
    rig.node = streamway_spdy::Session::new(streamway_spdy::Side::Server, Limits::default());
    let start = rig.now;
    // The node's answers are dropped: only the machine is driven.
    while rig.machine.end().is_none() {
        let due = rig.machine.poll_timeout().unwrap();
        rig.now = due;
        rig.machine.handle_timeout(due, true, &mut rig.out);
        while rig.out.upstream.pop().is_some() {}
    }
    assert_eq!(rig.machine.end().unwrap().outcome, Outcome::UpstreamSilent);
    assert!(rig.now - start <= Duration::from_secs(60));
}

#[test]
fn a_consumer_that_stalls_is_not_dead() {
    let mut rig = exec(1 << 20, options(true, false));
    rig.message(b"\0bytes that nobody reads");
    let until = rig.now + Duration::from_secs(600);
    let mut pongs = 0;
    while let Some(due) = rig.machine.poll_timeout().filter(|due| *due < until) {
        rig.now = due;
        rig.machine.handle_timeout(due, true, &mut rig.out);
        while rig.out.upstream.pop().is_some() {}
        while rig.out.client.pop().is_some() {
            pongs += 1;
        }
    }
    assert!(rig.machine.end().is_none(), "{:?}", rig.machine.end());
    assert!(
        pongs >= 10,
        "the client's deadline of 61 s is kept away: {pongs}"
    );
}

#[test]
fn a_client_that_pings_and_reads_nothing_costs_one_pong() {
    let mut rig = exec(1 << 20, options(true, false));
    let mut frame = vec![0x89, 0x84, 0, 0, 0, 0];
    frame.extend_from_slice(b"ping");
    for _ in 0..10_000 {
        let mut bytes = frame.clone();
        rig.machine
            .handle_client(&mut bytes, 0, rig.now, &mut rig.out);
    }
    assert_eq!(rig.out.client.own_bytes(), 0);
    assert!(rig.out.client.pop().is_some());
    assert!(rig.out.client.pop().is_none());
}

#[test]
fn a_node_that_pings_and_reads_nothing_is_cut_off() {
    let mut rig = exec(1 << 20, options(true, false));
    let ping = [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 2];
    let mut most = 0;
    for _ in 0..20_000 {
        rig.machine.handle_upstream(&ping, 0, rig.now, &mut rig.out);
        most = most.max(rig.out.upstream.own_bytes());
    }
    assert_eq!(
        rig.machine.end().unwrap().outcome,
        Outcome::UpstreamMisbehaved
    );
    assert!(most < 70 << 10, "{most}");
}

#[test]
fn shutdown_is_a_failure_that_the_client_is_told() {
    let mut rig = exec(1 << 20, options(true, false));
    rig.machine.handle_shutdown(&mut rig.out);
    rig.settle();
    assert!(
        String::from_utf8(rig.channel(3))
            .unwrap()
            .contains("shutting down")
    );
    assert_eq!(rig.seen.last(), Some(&Seen::Close(1000)));
}
