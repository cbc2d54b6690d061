//! Two sessions, and users who do whatever comes to their mind, in any order.

use std::collections::{BTreeMap, VecDeque};

use streamway_spdy::{
    Limits, RstStatus, Session, SessionEvent, Side, StreamId, StreamState, frame::HEAD,
};

/// Each pair of bytes is a step: what, on which side, and how much of it.
pub(crate) fn run(data: &[u8]) {
    let mut ends = [End::new(Side::Client), End::new(Side::Server)];
    for step in data.chunks_exact(2).take(2000) {
        let (what, amount) = (step[0], step[1]);
        let [client, server] = &mut ends;
        let (own, other) = if what & 0x80 == 0 {
            (client, server)
        } else {
            (server, client)
        };
        own.step(what & 0x7f, amount, other);
    }
    settle(&mut ends);
}

/// Everything that was said is heard; then both sides know the same.
fn settle([client, server]: &mut [End; 2]) {
    while !(client.out.is_empty() && server.out.is_empty()) {
        client.hear(server, usize::MAX);
        server.hear(client, usize::MAX);
    }
    let ids = |end: &End| end.known.keys().copied().collect::<Vec<_>>();
    for id in ids(client).into_iter().chain(ids(server)) {
        let states = (
            client.session.stream_state(id),
            server.session.stream_state(id),
        );
        let agree = matches!(
            states,
            (None, None)
                | (Some(StreamState::Opening), Some(StreamState::Opening))
                | (Some(StreamState::Open), Some(StreamState::Open))
                | (
                    Some(StreamState::HalfClosedLocal),
                    Some(StreamState::HalfClosedRemote)
                )
                | (
                    Some(StreamState::HalfClosedRemote),
                    Some(StreamState::HalfClosedLocal)
                )
        );
        assert!(agree, "stream {id}: {states:?}");
        if states.0.is_some() {
            let (ours, theirs) = (&client.known[&id], &server.known[&id]);
            assert_eq!(
                (ours.sent, theirs.sent),
                (theirs.received, ours.received),
                "stream {id}"
            );
        }
    }
    assert_eq!(client.session.open_streams(), server.session.open_streams());
    assert_eq!(client.session.buffered_bytes(), 0);
    assert_eq!(server.session.buffered_bytes(), 0);
}

/// Bytes of a stream so far.
#[derive(Default)]
struct Known {
    sent: u32,
    received: u32,
}

struct End {
    session: Session,
    out: VecDeque<u8>,
    known: BTreeMap<StreamId, Known>,
}

impl End {
    fn new(side: Side) -> Self {
        let limits = Limits {
            max_streams: 6,
            ..Limits::default()
        };
        Self {
            session: Session::new(side, limits),
            out: VecDeque::new(),
            known: BTreeMap::new(),
        }
    }

    fn step(&mut self, what: u8, amount: u8, other: &mut Self) {
        // One of the streams that were ever known.
        let pick = usize::from(amount) % self.known.len().max(1);
        let id = self.known.keys().copied().nth(pick);
        let mut out = Vec::new();
        match (what % 10, id) {
            (0, _) => {
                let value = "v".repeat(usize::from(amount));
                if let Ok(id) = self.session.open(&[("streamtype", &value)], &mut out) {
                    self.known.insert(id, Known::default());
                }
            }
            (1, Some(id)) => {
                let before = self.session.stream_state(id);
                let accepted = self.session.accept(id, &mut out).is_ok();
                assert!(!accepted || before == Some(StreamState::Opening));
                assert_eq!(accepted, !out.is_empty());
            }
            (2, Some(id)) => self.session.refuse(id, RstStatus::REFUSED_STREAM, &mut out),
            (3 | 4, Some(id)) => {
                let before = self.session.stream_state(id);
                let head = self
                    .session
                    .data_head(id, u32::from(amount), what % 10 == 4);
                let open = [Some(StreamState::Open), Some(StreamState::HalfClosedRemote)];
                assert_eq!(head.is_ok(), open.contains(&before));
                if let (Ok(head), Some(known)) = (head, self.known.get_mut(&id)) {
                    assert_eq!(head.len(), HEAD);
                    out.extend(head);
                    out.extend((0..u32::from(amount)).map(|n| letter(id, known.sent + n)));
                    known.sent += u32::from(amount);
                }
            }
            (5, Some(id)) => drop(self.session.finish(id, &mut out)),
            (6, Some(id)) => self.session.reset(id, RstStatus::CANCEL, &mut out),
            (7, _) if amount == 0xff => self.session.go_away(&mut out),
            (7, _) => drop(self.session.ping(&mut out)),
            _ => self.hear(other, usize::from(amount)),
        }
        self.out.extend(out);
    }

    /// Reads at most `most` bytes of what the other said.
    fn hear(&mut self, other: &mut Self, most: usize) {
        let input: Vec<u8> = other.out.drain(..most.min(other.out.len())).collect();
        let mut out = Vec::new();
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let handled = self
                .session
                .handle(rest, &mut out)
                .expect("the other end is sound");
            at += handled.consumed;
            match handled.event {
                None => break,
                Some(SessionEvent::Opened { id, .. }) => {
                    assert!(
                        self.known.insert(id, Known::default()).is_none(),
                        "opened twice"
                    );
                }
                Some(SessionEvent::Data { id, range, .. }) => {
                    let known = self
                        .known
                        .get_mut(&id)
                        .expect("data of a stream that was opened");
                    for byte in &rest[range] {
                        assert_eq!(*byte, letter(id, known.received), "stream {id}");
                        known.received += 1;
                    }
                }
                Some(_) => {}
            }
        }
        assert_eq!(at, input.len());
        self.out.extend(out);
    }
}

/// What a stream's byte at a place is, so that a lost or doubled one shows.
fn letter(id: StreamId, at: u32) -> u8 {
    (id.get().wrapping_mul(31).wrapping_add(at) % 251) as u8
}
