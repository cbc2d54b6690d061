//! port-forward: SPDY carried in WebSocket binary messages (`SPDY/3.1+portforward.k8s.io`) on the
//! client's side, the same SPDY bare on the upstream's.
//!
//! Message boundaries mean nothing. What the client sends goes through as it is; what the upstream
//! sends too, unless errors are isolated.
//!
//! # Isolated errors
//!
//! client-go closes the whole connection when an error stream holds text, so that one refused
//! connection ends every forwarded port ([kubernetes/kubectl#1169]). With isolation the tunnel reads
//! along: the text of an error stream is taken out and reported, and the data stream that it is about
//! is reset instead. Everything else, compressed header blocks included, goes through untouched.
//!
//! [kubernetes/kubectl#1169]: https://github.com/kubernetes/kubectl/issues/1169

mod isolate;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

use streamway_kstream::ws::{self, Event};
use streamway_spdy::Limits;

use crate::transmit::Head;
use crate::{Bytes, End, Outcome, Outputs, Refusal, Translate};
use isolate::{Isolation, Pass};

/// One port-forward. See the [crate's contract](crate).
#[derive(Debug)]
pub struct Tunnel {
    ws: ws::Decoder,
    isolation: Option<Isolation>,
    bytes: Bytes,
    end: Option<End>,
}

impl Tunnel {
    /// A tunnel to an upstream that has answered 101 with `portforward.k8s.io`.
    pub fn new(isolate_errors: bool, limits: Limits) -> Self {
        Self {
            ws: ws::Decoder::new(ws::Role::Server, ws::Limits::default()),
            isolation: isolate_errors.then(|| Isolation::new(limits)),
            bytes: Bytes::default(),
            end: None,
        }
    }

    /// Forwarded connections that are kept track of, for tests and diagnostics.
    pub fn tracked_connections(&self) -> usize {
        self.isolation.as_ref().map_or(0, Isolation::connections)
    }

    fn conclude(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// A run of the client's SPDY bytes.
    fn client_run(&mut self, bytes: &[u8], range: Range<usize>, out: &mut Outputs) {
        if range.is_empty() {
            return;
        }
        if let Some(isolation) = &mut self.isolation
            && let Err(error) = isolation.client_bytes(bytes)
        {
            let detail = format!("the client broke the SPDY protocol: {error}");
            out.client.close(ws::CloseCode::PROTOCOL_ERROR, &detail);
            self.conclude(End::new(Outcome::ClientMisbehaved, detail));
            return;
        }
        self.bytes.from_client += range.len() as u64;
        out.upstream.framed(Head::default(), range);
    }
}

/// One binary message: `before`, then the upstream's bytes at `range`.
fn pass(before: &[u8], range: Range<usize>, out: &mut Outputs) {
    let len = before.len() + range.len();
    if len == 0 {
        return;
    }
    let mut head = Head::default();
    head.push(ws::encode_head(ws::Opcode::Binary, true, len as u64, None).as_slice());
    head.push(before);
    out.client.framed(head, range);
}

impl Translate for Tunnel {
    fn handle_client(&mut self, input: &mut [u8], offset: usize, _now: Instant, out: &mut Outputs) {
        let mut at = 0;
        while self.end.is_none() {
            let Some(rest) = input.get_mut(at..).filter(|rest| !rest.is_empty()) else {
                return;
            };
            let decoded = match self.ws.decode(rest) {
                Ok(decoded) => decoded,
                Err(error) => {
                    out.client.close(error.close_code(), &error.to_string());
                    self.conclude(End::new(Outcome::ClientMisbehaved, error.to_string()));
                    return;
                }
            };
            match decoded.event {
                Some(Event::Payload { range, .. }) => {
                    let base = offset + at;
                    let bytes = rest.get(range.clone()).unwrap_or_default();
                    self.client_run(bytes, base + range.start..base + range.end, out);
                }
                Some(Event::Ping(payload)) => out.client.pong(payload),
                Some(Event::Close(..)) => {
                    out.client.close(ws::CloseCode::NORMAL, "");
                    self.conclude(End::new(Outcome::Closed, "the client closed the WebSocket"));
                }
                Some(_) => {}
                None if decoded.consumed == 0 => return,
                None => {}
            }
            at += decoded.consumed;
        }
    }

    fn handle_upstream(&mut self, input: &[u8], offset: usize, _now: Instant, out: &mut Outputs) {
        if self.end.is_some() {
            return;
        }
        self.bytes.from_upstream += input.len() as u64;
        let Some(isolation) = &mut self.isolation else {
            pass(&[], offset..offset + input.len(), out);
            return;
        };
        let result = isolation.upstream_bytes(input, |Pass { before, range }| {
            pass(before, offset + range.start..offset + range.end, out);
        });
        if let Err(error) = result {
            let detail = format!("the node broke the SPDY protocol: {error}");
            out.client.close(ws::CloseCode::INTERNAL_ERROR, &detail);
            self.conclude(End::new(Outcome::UpstreamMisbehaved, detail));
        }
    }

    fn handle_client_gone(&mut self, detail: &str, _out: &mut Outputs) {
        self.conclude(End::new(Outcome::ClientGone, detail));
    }

    fn handle_upstream_gone(&mut self, detail: &str, out: &mut Outputs) {
        if self.end.is_none() {
            out.client.close(ws::CloseCode::NORMAL, "");
        }
        self.conclude(End::new(Outcome::Closed, detail));
    }

    fn handle_timeout(&mut self, _now: Instant, _reading_upstream: bool, _out: &mut Outputs) {}

    fn handle_shutdown(&mut self, out: &mut Outputs) {
        if self.end.is_none() {
            out.client.close(
                ws::CloseCode::GOING_AWAY,
                "the stream proxy is shutting down",
            );
        }
        self.conclude(End::new(
            Outcome::Shutdown,
            "the stream proxy is shutting down",
        ));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        // kubectl pings inside the tunnel, every 10 s; a ping of ours would be one more than SPDY
        // had. TCP tells of a peer that vanished.
        None
    }

    fn is_open(&self) -> bool {
        true
    }

    fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    fn bytes(&self) -> Bytes {
        self.bytes
    }

    fn poll_refusal(&mut self) -> Option<Refusal> {
        self.isolation.as_mut()?.refusals.pop_front()
    }
}

/// Refusals that wait to be reported.
type Refusals = VecDeque<Refusal>;
