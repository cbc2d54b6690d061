//! Two sessions, one against the other. The cases are those of spdystream's own tests (v0.5.1,
//! `spdy_test.go`), as far as they are about the protocol and not about goroutines and timers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod harness;

use harness::{control, id};
use streamway_spdy::{
    Encoder, Fault, Limits, Misuse, OpenError, RstStatus, Session, SessionError, SessionEvent,
    Side, StreamId, StreamState, data_head, go_away, ping, rst_stream,
};

/// What a user of a session learns, with data copied out of the input.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Opened(u32, String, bool),
    Replied(u32, bool),
    Data(u32, Vec<u8>, bool),
    Reset(u32, RstStatus),
    Pong(u32),
    GoAway(u32),
}

/// One end: a session and what it has to say.
struct End {
    session: Session,
    out: Vec<u8>,
}

impl End {
    fn new(side: Side) -> Self {
        Self::with(side, Limits::default())
    }

    fn with(side: Side, limits: Limits) -> Self {
        Self {
            session: Session::new(side, limits),
            out: Vec::new(),
        }
    }

    fn open(&mut self, kind: &str) -> StreamId {
        self.session
            .open(&[("streamType", kind)], &mut self.out)
            .unwrap()
    }

    fn accept(&mut self, stream: StreamId) {
        self.session.accept(stream, &mut self.out).unwrap();
    }

    fn send(&mut self, stream: StreamId, text: &[u8]) {
        let len = u32::try_from(text.len()).unwrap();
        self.out
            .extend(self.session.data_head(stream, len, false).unwrap());
        self.out.extend(text);
    }

    fn finish(&mut self, stream: StreamId) {
        self.session.finish(stream, &mut self.out).unwrap();
    }

    fn reset(&mut self, stream: StreamId) {
        self.session.reset(stream, RstStatus::CANCEL, &mut self.out);
    }

    fn state(&self, stream: StreamId) -> Option<StreamState> {
        self.session.stream_state(stream)
    }

    /// Reads what the other said, and forgets it there.
    fn hear(&mut self, other: &mut Self) -> Vec<Seen> {
        self.read(&std::mem::take(&mut other.out)).unwrap()
    }

    fn read(&mut self, input: &[u8]) -> Result<Vec<Seen>, SessionError> {
        let mut seen = Vec::new();
        let mut at = 0;
        loop {
            let rest = &input[at..];
            let handled = self.session.handle(rest, &mut self.out)?;
            at += handled.consumed;
            seen.push(match handled.event {
                None => {
                    assert_eq!(at, input.len());
                    return Ok(seen);
                }
                Some(SessionEvent::Opened { id, headers, fin }) => {
                    let kind = headers.get("streamtype").unwrap_or_default().to_owned();
                    Seen::Opened(id.get(), kind, fin)
                }
                Some(SessionEvent::Replied { id, fin }) => Seen::Replied(id.get(), fin),
                Some(SessionEvent::Data { id, range, fin, .. }) => {
                    Seen::Data(id.get(), rest[range].to_vec(), fin)
                }
                Some(SessionEvent::Reset { id, status }) => Seen::Reset(id.get(), status),
                Some(SessionEvent::Pong { id }) => Seen::Pong(id),
                Some(SessionEvent::GoAway { last_good, .. }) => Seen::GoAway(last_good),
                Some(other) => panic!("{other:?}"),
            });
        }
    }
}

fn pair() -> (End, End) {
    (End::new(Side::Client), End::new(Side::Server))
}

/// A pair with one stream that both sides know.
fn open_pair() -> (End, End, StreamId) {
    let (mut client, mut server) = pair();
    let stream = client.open("stdin");
    server.hear(&mut client);
    server.accept(stream);
    assert_eq!(
        client.hear(&mut server),
        [Seen::Replied(stream.get(), false)]
    );
    (client, server, stream)
}

/// TestSpdyStreams.
#[test]
fn streams_open_carry_data_both_ways_and_end() {
    let (mut client, mut server) = pair();
    let (first, second) = (client.open("stdin"), client.open("stdout"));
    assert_eq!((first, second), (id(1), id(3)));
    assert_eq!(
        server.hear(&mut client),
        [
            Seen::Opened(1, "stdin".to_owned(), false),
            Seen::Opened(3, "stdout".to_owned(), false)
        ]
    );
    // Nobody may send before the reply, which spdystream would drop.
    let early = client.session.data_head(first, 1, false);
    assert_eq!(early, Err(Misuse::NotReplied(1)));
    let early = server.session.data_head(first, 1, false);
    assert_eq!(early, Err(Misuse::NotReplied(1)));

    server.accept(first);
    server.accept(second);
    let again = server.session.accept(first, &mut Vec::new());
    assert_eq!(again, Err(Misuse::NoReplyDue(1)));
    let replied = [Seen::Replied(1, false), Seen::Replied(3, false)];
    assert_eq!(client.hear(&mut server), replied);

    client.send(first, b"in");
    server.send(second, b"out");
    server.send(second, b"");
    assert_eq!(
        server.hear(&mut client),
        [Seen::Data(1, b"in".to_vec(), false)]
    );
    assert_eq!(
        client.hear(&mut server),
        [
            Seen::Data(3, b"out".to_vec(), false),
            Seen::Data(3, Vec::new(), false)
        ]
    );

    client.finish(first);
    server.finish(first);
    assert_eq!(server.hear(&mut client), [Seen::Data(1, Vec::new(), true)]);
    assert_eq!(client.hear(&mut server), [Seen::Data(1, Vec::new(), true)]);
    assert_eq!(
        (client.session.open_streams(), server.session.open_streams()),
        (1, 1)
    );
    assert_eq!(client.state(first), None);
    assert_eq!(client.state(second), Some(StreamState::Open));
    // The server opens streams, too, though Kubernetes' does not.
    let third = server.open("push");
    assert_eq!(third, id(2));
    assert_eq!(
        client.hear(&mut server),
        [Seen::Opened(2, "push".to_owned(), false)]
    );
}

/// TestPing.
#[test]
fn pings_come_back_and_count_by_two() {
    let (mut client, mut server) = pair();
    let ids: Vec<u32> = (0..3)
        .map(|_| client.session.ping(&mut client.out))
        .collect();
    assert_eq!(ids, [1, 3, 5]);
    assert_eq!(server.hear(&mut client), [], "the user need not know");
    assert_eq!(
        client.hear(&mut server),
        [Seen::Pong(1), Seen::Pong(3), Seen::Pong(5)]
    );
    assert_eq!(server.session.ping(&mut server.out), 2);
    client.hear(&mut server);
    assert_eq!(server.hear(&mut client), [Seen::Pong(2)]);
    // Every id of the other parity is echoed, also those that no stream can have.
    let mut wire = Vec::new();
    ping(&mut wire, 0xffff_fffe);
    client.read(&wire).unwrap();
    assert_eq!(client.out, wire);
}

/// TestHalfClose.
#[test]
fn one_side_ends_and_the_other_goes_on() {
    let (mut client, mut server, stream) = open_pair();
    client.finish(stream);
    assert_eq!(client.state(stream), Some(StreamState::HalfClosedLocal));
    assert_eq!(
        client.session.data_head(stream, 1, false),
        Err(Misuse::Finished(1))
    );
    assert_eq!(
        client.session.finish(stream, &mut Vec::new()),
        Err(Misuse::Finished(1))
    );
    assert_eq!(server.hear(&mut client), [Seen::Data(1, Vec::new(), true)]);
    assert_eq!(server.state(stream), Some(StreamState::HalfClosedRemote));
    server.send(stream, b"still here");
    assert_eq!(
        client.hear(&mut server),
        [Seen::Data(1, b"still here".to_vec(), false)]
    );
    // The end may come with data.
    let head = server.session.data_head(stream, 3, true).unwrap();
    server.out.extend(head);
    server.out.extend(b"bye");
    assert_eq!(
        client.hear(&mut server),
        [Seen::Data(1, b"bye".to_vec(), true)]
    );
    assert_eq!(
        (client.session.open_streams(), server.session.open_streams()),
        (0, 0)
    );
}

/// TestStreamReset.
#[test]
fn a_reset_ends_both_directions() {
    let (mut client, mut server, stream) = open_pair();
    client.reset(stream);
    assert_eq!(client.state(stream), None);
    client.reset(stream);
    assert_eq!(client.out.len(), 16, "a second reset says nothing");
    assert_eq!(
        server.hear(&mut client),
        [Seen::Reset(1, RstStatus::CANCEL)]
    );
    assert_eq!(
        server.session.data_head(stream, 1, false),
        Err(Misuse::NotOpen(1))
    );
    assert_eq!(
        server.session.accept(stream, &mut Vec::new()),
        Err(Misuse::NotOpen(1))
    );
    // A reset for a stream that is gone is nothing to either.
    let mut wire = Vec::new();
    rst_stream(&mut wire, stream, RstStatus::CANCEL);
    assert_eq!(server.read(&wire), Ok(vec![]));
}

/// TestStreamResetWithDataRemaining.
#[test]
fn data_on_its_way_to_a_reset_stream_is_dropped() {
    let (mut client, mut server, stream) = open_pair();
    let other = client.open("other");
    server.hear(&mut client);
    server.accept(other);
    client.hear(&mut server);

    client.send(stream, &[1; 100]);
    client.send(other, b"after");
    server.reset(stream);
    assert_eq!(
        server.hear(&mut client),
        [Seen::Data(3, b"after".to_vec(), false)]
    );

    // Reset in the middle of a frame: what came counts, the rest does not, the next frame is found.
    let (mut client, mut server, stream) = open_pair();
    client.send(stream, &[1; 100]);
    client.session.ping(&mut client.out);
    let wire = std::mem::take(&mut client.out);
    assert_eq!(
        server.read(&wire[..50]).unwrap(),
        [Seen::Data(1, vec![1; 42], false)]
    );
    server.reset(stream);
    assert_eq!(server.read(&wire[50..]).unwrap(), []);
    assert_eq!(
        client.hear(&mut server),
        [Seen::Reset(1, RstStatus::CANCEL), Seen::Pong(1)]
    );
}

/// TestStreamReadUnblocksAfterCloseThenReset.
#[test]
fn a_stream_is_reset_after_its_end_was_sent() {
    let (mut client, mut server, stream) = open_pair();
    client.finish(stream);
    client.reset(stream);
    assert_eq!(
        server.hear(&mut client),
        [
            Seen::Data(1, Vec::new(), true),
            Seen::Reset(1, RstStatus::CANCEL)
        ],
        "unlike spdystream, which leaves the other half open"
    );
    assert_eq!(server.session.open_streams(), 0);
}

/// TestGoAwayRace, TestClientConnectionStopsServingAfterGoAway.
#[test]
fn no_streams_open_once_one_side_goes_away() {
    let (mut client, mut server, stream) = open_pair();
    // On its way while the server goes.
    let late = client.open("late");
    server.session.go_away(&mut server.out);
    server.session.go_away(&mut server.out);
    assert_eq!(server.hear(&mut client), []);
    assert_eq!(
        client.hear(&mut server),
        [
            Seen::GoAway(1),
            Seen::Reset(late.get(), RstStatus::REFUSED_STREAM)
        ],
        "one GOAWAY, with the last stream that was taken"
    );
    let refused = client.session.open(&[], &mut client.out);
    assert_eq!(refused, Err(OpenError::GoingAway));
    assert_eq!(
        server.session.open(&[], &mut Vec::new()),
        Err(OpenError::GoingAway)
    );
    // What is open goes on, and the other side can say goodbye, too.
    client.send(stream, b"rest");
    client.session.go_away(&mut client.out);
    assert_eq!(
        server.hear(&mut client),
        [Seen::Data(1, b"rest".to_vec(), false), Seen::GoAway(0)]
    );
}

/// TestUnexpectedRemoteConnectionClosed, TestFramingAfterRemoteConnectionClosed: how a connection ends
/// is the caller's to see; what a session holds then shows that a frame was cut off.
#[test]
fn a_connection_that_ends_within_a_frame_is_seen() {
    let (mut client, mut server) = pair();
    client.open("stdin");
    let wire = std::mem::take(&mut client.out);
    server.read(&wire[..wire.len() - 1]).unwrap();
    assert!(server.session.buffered_bytes() > 0);
    server.read(&wire[wire.len() - 1..]).unwrap();
    assert_eq!(server.session.buffered_bytes(), 0);
}

#[test]
fn data_before_the_reply_is_dropped_with_all_of_its_frame() {
    let (mut client, mut server) = pair();
    let stream = client.open("stdin");
    server.hear(&mut client);
    let mut wire = data_head(stream, 10, true).to_vec();
    wire.extend([7; 10]);
    assert_eq!(server.read(&wire[..12]).unwrap(), []);
    server.accept(stream);
    assert_eq!(
        server.read(&wire[12..]).unwrap(),
        [],
        "the frame began before the reply"
    );
    assert_eq!(server.state(stream), Some(StreamState::Open));
    let mut wire = data_head(stream, 2, false).to_vec();
    wire.extend(b"ok");
    assert_eq!(
        server.read(&wire).unwrap(),
        [Seen::Data(1, b"ok".to_vec(), false)]
    );

    // The opener drops it just as well: a server's data comes behind its reply.
    let mut wire = data_head(stream, 1, false).to_vec();
    wire.push(0);
    assert_eq!(client.read(&wire).unwrap(), []);
}

#[test]
fn frames_for_streams_that_are_over_mean_nothing() {
    let mut encoder = Encoder::new();
    let mut wire = Vec::new();
    encoder.syn_reply(&mut wire, id(1), true, &[]);
    encoder.headers(&mut wire, id(1), true, &[("a", "b")]);
    wire.extend(data_head(id(1), 0, true));
    wire.extend(control(4, 0, &[0; 4]));
    wire.extend(control(9, 0, &[0, 0, 0, 1, 0, 0, 0, 9]));
    let mut client = End::new(Side::Client);
    client.open("a");
    client.reset(id(1));
    client.out.clear();
    assert_eq!(client.read(&wire).unwrap(), []);
    assert_eq!(client.out, [], "and are not answered");
}

#[test]
fn data_for_a_stream_that_nobody_opened_is_the_peers_fault() {
    let mut server = End::new(Side::Server);
    let error = server.read(b"GET / HTTP/1.1\r\n\r\n").unwrap_err();
    assert_eq!(
        error,
        SessionError::NeverOpened(u32::from_be_bytes(*b"GET "))
    );
    assert_eq!(error.fault(), Fault::Peer);
    let mut client = End::new(Side::Client);
    client.open("a");
    let error = client.read(&data_head(id(3), 0, false)).unwrap_err();
    assert_eq!(error, SessionError::NeverOpened(3));
}

#[test]
fn ids_may_leave_gaps_and_not_come_back() {
    let mut server = End::new(Side::Server);
    let mut peer = Encoder::new();
    let mut wire = Vec::new();
    for stream in [9, 5, 11, 9, 14] {
        peer.syn_stream(&mut wire, id(stream), false, &[("streamtype", "x")]);
    }
    let seen = server.read(&wire).unwrap();
    let x = || "x".to_owned();
    assert_eq!(
        seen,
        [
            Seen::Opened(9, x(), false),
            Seen::Opened(11, x(), false),
            // Opened twice, it is over: the peer drops it when the reset comes.
            Seen::Reset(9, RstStatus::PROTOCOL_ERROR),
        ]
    );
    let mut resets = Vec::new();
    for stream in [5, 9, 14] {
        rst_stream(&mut resets, id(stream), RstStatus::PROTOCOL_ERROR);
    }
    assert_eq!(server.out, resets, "14 is the server's own to give");
    // The last id of all.
    wire.clear();
    peer.syn_stream(&mut wire, id(StreamId::MAX), false, &[]);
    peer.syn_stream(&mut wire, id(StreamId::MAX), false, &[]);
    let seen = server.read(&wire).unwrap();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(
        seen[1],
        Seen::Reset(StreamId::MAX, RstStatus::PROTOCOL_ERROR)
    );
}

#[test]
fn a_stream_may_end_with_its_first_frame() {
    let mut server = End::new(Side::Server);
    let mut wire = Vec::new();
    Encoder::new().syn_stream(&mut wire, id(1), true, &[]);
    assert_eq!(
        server.read(&wire).unwrap(),
        [Seen::Opened(1, String::new(), true)]
    );
    server.accept(id(1));
    assert_eq!(server.state(id(1)), Some(StreamState::HalfClosedRemote));
    assert_eq!(
        server.read(&data_head(id(1), 0, false)).unwrap(),
        [],
        "no data after its end"
    );
    server.finish(id(1));
    assert_eq!(server.state(id(1)), None);

    // So may a reply.
    let mut client = End::new(Side::Client);
    client.open("a");
    wire.clear();
    Encoder::new().syn_reply(&mut wire, id(1), true, &[]);
    assert_eq!(client.read(&wire).unwrap(), [Seen::Replied(1, true)]);
    assert_eq!(client.state(id(1)), Some(StreamState::HalfClosedRemote));
}

#[test]
fn a_unidirectional_stream_has_one_direction() {
    let mut syn = Vec::new();
    Encoder::new().syn_stream(&mut syn, id(1), false, &[]);
    syn[4] = 2;
    let mut server = End::new(Side::Server);
    server.read(&syn).unwrap();
    server.accept(id(1));
    assert_eq!(
        server.session.data_head(id(1), 1, false),
        Err(Misuse::Finished(1))
    );
    let fin = server.read(&data_head(id(1), 0, true)).unwrap();
    assert_eq!(fin, [Seen::Data(1, Vec::new(), true)]);
    assert_eq!(server.session.open_streams(), 0);

    // With FIN it has none, and is over with the reply.
    syn[4] = 3;
    let mut server = End::new(Side::Server);
    server.read(&syn).unwrap();
    server.accept(id(1));
    assert_eq!(server.session.open_streams(), 0);
}

#[test]
fn headers_end_a_stream_too() {
    let (mut client, mut server, stream) = open_pair();
    let mut wire = Vec::new();
    // No block came from the server's side of this encoder, so it starts the zlib stream; only the
    // server has read one from the client, and it goes on with stored blocks.
    Encoder::new().headers(&mut wire, stream, true, &[("a", "b")]);
    let block = wire.split_off(12);
    wire.extend(&block[6..]);
    wire[7] -= 6;
    assert_eq!(
        server.read(&wire).unwrap(),
        [Seen::Data(1, Vec::new(), true)]
    );
    assert_eq!(server.state(stream), Some(StreamState::HalfClosedRemote));
    server.finish(stream);
    assert_eq!(client.hear(&mut server), [Seen::Data(1, Vec::new(), true)]);
}

#[test]
fn streams_beyond_the_limit_are_refused() {
    let limits = Limits {
        max_streams: 2,
        ..Limits::default()
    };
    let (mut client, mut server) = (End::new(Side::Client), End::with(Side::Server, limits));
    let streams = [client.open("a"), client.open("b"), client.open("c")];
    assert_eq!(server.hear(&mut client).len(), 2);
    assert_eq!(
        server.session.open(&[], &mut Vec::new()),
        Err(OpenError::TooMany(2))
    );
    assert_eq!(
        client.hear(&mut server),
        [Seen::Reset(5, RstStatus::REFUSED_STREAM)]
    );
    // One that goes makes room; the refused one's block was inflated, so the next one's is read.
    client.reset(streams[0]);
    client.open("d");
    assert_eq!(
        server.hear(&mut client),
        [
            Seen::Reset(1, RstStatus::CANCEL),
            Seen::Opened(7, "d".to_owned(), false)
        ]
    );
}

#[test]
fn a_refused_stream_is_reset_and_gone() {
    let (mut client, mut server) = pair();
    let stream = client.open("bad");
    server.hear(&mut client);
    server
        .session
        .refuse(stream, RstStatus::CANCEL, &mut server.out);
    assert_eq!(
        client.hear(&mut server),
        [Seen::Reset(1, RstStatus::CANCEL)]
    );
    assert_eq!(
        (client.session.open_streams(), server.session.open_streams()),
        (0, 0)
    );
}

#[test]
fn answers_are_no_longer_than_what_they_answer() {
    // What makes a session answer: pings, and streams that cannot be.
    let mut wire = Vec::new();
    let mut peer = Encoder::new();
    peer.syn_stream(&mut wire, id(1), false, &[]);
    for n in 0..1000 {
        ping(&mut wire, 2 * n + 1);
        peer.syn_stream(&mut wire, id(1), false, &[]);
    }
    go_away(&mut wire, 0, 0);
    let mut server = End::new(Side::Server);
    server.read(&wire).unwrap();
    assert_eq!(server.out.len(), 1000 * (12 + 16), "each was answered");
    assert!(server.out.len() <= wire.len());
}

#[test]
fn a_head_that_fits_no_frame_is_refused() {
    let (mut client, _server, stream) = open_pair();
    assert!(
        client
            .session
            .data_head(stream, (1 << 24) - 1, false)
            .is_ok()
    );
    assert_eq!(
        client.session.data_head(stream, 1 << 24, true),
        Err(Misuse::TooLong(1 << 24))
    );
    assert_eq!(
        client.state(stream),
        Some(StreamState::Open),
        "nothing changed"
    );
}
