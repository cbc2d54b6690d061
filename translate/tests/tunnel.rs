//! Transcripts of port-forward tunnels, each at several ways of cutting the bytes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::time::Instant;

use streamway_kstream::ws::{self, Event, Role};
use streamway_spdy::{Limits, RstStatus, Session, SessionEvent, Side, StreamId};
use streamway_translate::tunnel::Tunnel;
use streamway_translate::{Chunk, Outcome, Outputs, Translate};

/// A client and a node that speak SPDY to each other through a tunnel.
struct Rig {
    tunnel: Tunnel,
    out: Outputs,
    client: Session,
    node: Session,
    ws: ws::Decoder,
    cut: usize,
    now: Instant,
    /// What each side's session reported.
    client_saw: Vec<SessionEvent>,
    client_text: Vec<u8>,
    node_saw: Vec<SessionEvent>,
    closed: Option<u16>,
}

impl Rig {
    fn new(cut: usize, isolate: bool) -> Self {
        Self {
            tunnel: Tunnel::new(isolate, Limits::default()),
            out: Outputs::default(),
            client: Session::new(Side::Client, Limits::default()),
            node: Session::new(Side::Server, Limits::default()),
            ws: ws::Decoder::new(Role::Client, ws::Limits::default()),
            cut,
            #[allow(clippy::disallowed_methods)]
            now: Instant::now(),
            client_saw: Vec::new(),
            client_text: Vec::new(),
            node_saw: Vec::new(),
            closed: None,
        }
    }

    /// The client sends SPDY bytes, in a message for each of Go's small writes.
    fn client_sends(&mut self, spdy: &[u8]) {
        for part in spdy.chunks(5) {
            let head = ws::encode_head(ws::Opcode::Binary, true, part.len() as u64, Some([0; 4]));
            let wire = [head.as_slice(), part].concat();
            for piece in wire.chunks(self.cut) {
                let mut buffer = piece.to_vec();
                self.tunnel
                    .handle_client(&mut buffer, 0, self.now, &mut self.out);
                self.deliver(&buffer, &[]);
            }
        }
    }

    fn node_sends(&mut self, spdy: &[u8]) {
        for piece in spdy.chunks(self.cut) {
            self.tunnel
                .handle_upstream(piece, 0, self.now, &mut self.out);
            self.deliver(&[], piece);
        }
    }

    fn deliver(&mut self, client_buffer: &[u8], node_buffer: &[u8]) {
        let (mut replies, mut at) = (Vec::new(), 0);
        let bytes = take(&mut self.out.upstream, client_buffer);
        while at < bytes.len() {
            let handled = self.node.handle(&bytes[at..], &mut replies).unwrap();
            if let Some(SessionEvent::Opened { id, .. }) = handled.event {
                self.node.accept(id, &mut replies).unwrap();
            }
            self.node_saw.extend(handled.event);
            at += handled.consumed;
        }
        let mut bytes = take(&mut self.out.client, node_buffer);
        let mut at = 0;
        while at < bytes.len() {
            let decoded = self.ws.decode(&mut bytes[at..]).unwrap();
            match decoded.event {
                Some(Event::Payload { range, .. }) => {
                    let spdy = bytes[at..][range].to_vec();
                    self.client_reads(&spdy);
                }
                Some(Event::Close(code, _)) => self.closed = code.map(|code| code.get()),
                _ => {}
            }
            at += decoded.consumed;
        }
        if !replies.is_empty() {
            self.node_sends(&replies);
        }
    }

    fn client_reads(&mut self, spdy: &[u8]) {
        let (mut replies, mut at) = (Vec::new(), 0);
        while at < spdy.len() {
            let handled = self.client.handle(&spdy[at..], &mut replies).unwrap();
            match handled.event {
                Some(SessionEvent::Data { ref range, fin, .. }) => {
                    self.client_text
                        .extend_from_slice(&spdy[at..][range.clone()]);
                    if fin {
                        self.client_saw.extend(handled.event);
                    }
                }
                other => self.client_saw.extend(other),
            }
            at += handled.consumed;
        }
    }

    /// Opens a forwarded connection as client-go does.
    fn connect(&mut self, request: &str, port: &str) -> (StreamId, StreamId) {
        let mut spdy = Vec::new();
        let headers = |kind| [("streamType", kind), ("port", port), ("requestID", request)];
        let error = self.client.open(&headers("error"), &mut spdy).unwrap();
        self.client_sends(&spdy);
        spdy.clear();
        self.client.finish(error, &mut spdy).unwrap();
        let data = self.client.open(&headers("data"), &mut spdy).unwrap();
        self.client_sends(&spdy);
        (error, data)
    }

    fn node_writes(&mut self, id: StreamId, text: &[u8], fin: bool) {
        let head = self
            .node
            .data_head(id, u32::try_from(text.len()).unwrap(), fin)
            .unwrap();
        self.node_sends(&[&head[..], text].concat());
    }

    fn node_resets(&mut self, id: StreamId) {
        let mut spdy = Vec::new();
        self.node.reset(id, RstStatus::CANCEL, &mut spdy);
        self.node_sends(&spdy);
    }

    fn client_saw_reset(&self, id: StreamId) -> bool {
        let reset = |event: &SessionEvent| matches!(event, SessionEvent::Reset { id: own, .. } if *own == id);
        self.client_saw.iter().any(reset)
    }
}

fn take(transmit: &mut streamway_translate::Transmit, buffer: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(chunk) = transmit.pop() {
        match chunk {
            Chunk::Framed { head, payload } => {
                bytes.extend_from_slice(head.as_slice());
                bytes.extend_from_slice(&buffer[payload]);
            }
            Chunk::Own(own) => bytes.extend_from_slice(&own),
            _ => panic!("an unknown chunk"),
        }
    }
    bytes
}

fn at_every_cut(transcript: impl Fn(usize)) {
    for cut in (1..=40).chain([1 << 20]) {
        transcript(cut);
    }
}

#[test]
fn connections_carry_bytes_both_ways() {
    at_every_cut(|cut| {
        for isolate in [true, false] {
            let mut rig = Rig::new(cut, isolate);
            let (error, data) = rig.connect("0", "80");
            rig.node_writes(data, b"from the pod", true);
            rig.node_writes(error, b"", true);
            assert_eq!(rig.client_text, b"from the pod");
            let head = rig.client.data_head(data, 5, true).unwrap();
            rig.client_sends(&[&head[..], b"to it"].concat());
            let fin = |event: &SessionEvent| matches!(event, SessionEvent::Data { fin: true, .. });
            assert!(rig.node_saw.iter().any(fin));
            assert!(rig.tunnel.end().is_none());
            assert!(rig.tunnel.poll_refusal().is_none());
        }
    });
}

#[test]
fn a_refused_connection_leaves_the_others() {
    at_every_cut(|cut| {
        let mut rig = Rig::new(cut, true);
        let (_, good) = rig.connect("0", "80");
        let (error, bad) = rig.connect("1", "9999");
        rig.node_writes(error, b"connection ", false);
        rig.node_writes(error, b"refused", true);
        rig.node_resets(bad);
        rig.node_writes(good, b"still here", false);
        // The client got no word of the error, and a reset of the connection's data.
        assert_eq!(rig.client_text, b"still here");
        assert!(rig.client_saw_reset(bad));
        assert!(!rig.client_saw_reset(good));
        let refusal = rig.tunnel.poll_refusal().unwrap();
        assert_eq!(
            (refusal.port, refusal.text.as_str()),
            (9999, "connection refused")
        );
        assert!(rig.tunnel.poll_refusal().is_none());
    });
}

#[test]
fn a_reset_error_stream_is_reported_too() {
    let mut rig = Rig::new(1 << 20, true);
    let (error, data) = rig.connect("7", "1");
    rig.node_writes(error, b"gone", false);
    rig.node_resets(data);
    rig.node_resets(error);
    assert!(rig.client_saw_reset(data));
    assert!(rig.client_saw_reset(error));
    assert_eq!(rig.tunnel.poll_refusal().unwrap().text, "gone");
}

#[test]
fn without_isolation_the_text_goes_through() {
    let mut rig = Rig::new(1 << 20, false);
    let (error, data) = rig.connect("0", "9999");
    rig.node_writes(error, b"refused", true);
    assert_eq!(rig.client_text, b"refused");
    assert!(!rig.client_saw_reset(data));
}

#[test]
fn ten_thousand_connections_one_after_another_leave_nothing_behind() {
    let mut rig = Rig::new(1 << 20, true);
    for request in 0..10_000_u32 {
        let (error, data) = rig.connect(&request.to_string(), "80");
        rig.node_writes(data, b"x", true);
        rig.node_writes(error, b"", true);
        let mut spdy = Vec::new();
        rig.client.reset(data, RstStatus::CANCEL, &mut spdy);
        rig.client_sends(&spdy);
        rig.client_saw.clear();
        rig.node_saw.clear();
    }
    assert_eq!(rig.client_text.len(), 10_000);
    assert!(
        rig.tunnel.tracked_connections() <= 1,
        "{}",
        rig.tunnel.tracked_connections()
    );
}

#[test]
fn either_end_closes_the_tunnel() {
    let mut rig = Rig::new(1 << 20, true);
    rig.tunnel.handle_upstream_gone("closed", &mut rig.out);
    rig.deliver(&[], &[]);
    assert_eq!(rig.closed, Some(1000));
    assert_eq!(rig.tunnel.end().unwrap().outcome, Outcome::Closed);

    let mut rig = Rig::new(1 << 20, true);
    let mut close = vec![0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
    rig.tunnel
        .handle_client(&mut close, 0, rig.now, &mut rig.out);
    rig.deliver(&[], &[]);
    assert_eq!(rig.closed, Some(1000));
}

#[test]
fn junk_from_either_side_ends_it_with_a_code() {
    let mut rig = Rig::new(1 << 20, true);
    let mut junk = vec![0x82, 0x88, 0, 0, 0, 0, 0x80, 9, 0, 1, 0, 0, 0, 0];
    rig.tunnel
        .handle_client(&mut junk, 0, rig.now, &mut rig.out);
    assert_eq!(rig.tunnel.end().unwrap().outcome, Outcome::ClientMisbehaved);

    let mut rig = Rig::new(1 << 20, true);
    rig.tunnel
        .handle_upstream(&[0x80, 9, 0, 1, 0, 0, 0, 0], 0, rig.now, &mut rig.out);
    rig.deliver(&[], &[]);
    assert_eq!(rig.closed, Some(1011));
    assert_eq!(
        rig.tunnel.end().unwrap().outcome,
        Outcome::UpstreamMisbehaved
    );
}
