//! However the bytes are cut, the same comes of them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod harness;

use harness::{Seen, feed, id, transcript};
use streamway_spdy::frame::{HEADERS, RST_STREAM, SYN_REPLY, SYN_STREAM};
use streamway_spdy::{Decoder, Event, Frame, Limits, data_head};

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut decoder = Decoder::new(Limits::default());
    let (seen, error) = feed(&mut decoder, pieces);
    assert_eq!(error, None);
    assert_eq!(decoder.buffered_bytes(), 0, "everything was whole");
    seen
}

#[test]
fn every_frame_type_is_read() {
    let wire = transcript();
    let seen = read([&wire[..]]);
    let controls = |seen: &Seen| match seen {
        Seen::Control(frame, len) => Some((frame.clone(), *len)),
        Seen::Data { .. } => None,
    };
    let frames: Vec<(Frame, usize)> = seen.iter().filter_map(controls).collect();
    let mut types = Vec::new();
    for (frame, _) in &frames {
        types.push(match frame {
            Frame::SynStream { .. } => 1,
            Frame::SynReply { .. } => 2,
            Frame::RstStream { .. } => 3,
            Frame::Settings { entries: 2 } => 4,
            Frame::Ping { id: 1 } => 6,
            Frame::GoAway {
                last_good: 3,
                status: 0,
            } => 7,
            Frame::Headers { .. } => 8,
            Frame::WindowUpdate {
                id: 1,
                delta: 0x1_0000,
            } => 9,
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(types, [1, 1, 6, 2, 2, 4, 9, 8, 3, 7]);
    let Frame::SynStream {
        fin: true, headers, ..
    } = &frames[1].0
    else {
        panic!("{:?}", frames[1]);
    };
    assert_eq!(headers.get("Port"), Some("8080"));
    let Frame::SynReply {
        fin: true, headers, ..
    } = &frames[4].0
    else {
        panic!("{:?}", frames[4]);
    };
    assert_eq!(headers.get_all("x").collect::<Vec<_>>(), ["a", "b"]);
    let data = |seen: &&Seen| matches!(seen, Seen::Data { .. });
    assert_eq!(
        seen.iter().filter(data).cloned().collect::<Vec<_>>(),
        [
            Seen::Data {
                stream: id(1),
                bytes: b"hi".to_vec(),
                fin: false
            },
            Seen::Data {
                stream: id(1),
                bytes: Vec::new(),
                fin: false
            },
            Seen::Data {
                stream: id(0x7fff_ffff),
                bytes: vec![0x80; 40],
                fin: true
            },
            Seen::Data {
                stream: id(3),
                bytes: Vec::new(),
                fin: true
            },
        ]
    );
    let payloads: usize = seen
        .iter()
        .map(|seen| match seen {
            Seen::Control(_, len) => *len,
            Seen::Data { bytes, .. } => 8 + bytes.len(),
        })
        .sum();
    assert_eq!(payloads, wire.len(), "lengths on the wire add up");
}

#[test]
fn every_cut_in_two() {
    let wire = transcript();
    let whole = read([&wire[..]]);
    for at in 0..=wire.len() {
        let (left, right) = wire.split_at(at);
        assert_eq!(read([left, right]), whole, "cut at {at}");
        assert_eq!(
            read([left, &[], right]),
            whole,
            "cut at {at}, with nothing between"
        );
    }
}

#[test]
fn pieces_of_every_length() {
    let wire = transcript();
    let whole = read([&wire[..]]);
    for len in 1..wire.len() {
        assert_eq!(read(wire.chunks(len)), whole, "in pieces of {len}");
    }
}

#[test]
fn a_walker_gives_back_what_it_was_given_and_names_the_streams() {
    let wire = transcript();
    for len in 1..=wire.len() {
        let mut walker = Decoder::new_walker(Limits::default());
        let mut back = Vec::new();
        let mut named = Vec::new();
        let mut data = Vec::new();
        for piece in wire.chunks(len) {
            let mut at = 0;
            while at < piece.len() {
                let rest = &piece[at..];
                let decoded = walker.decode(rest).unwrap();
                assert!(decoded.consumed > 0);
                at += decoded.consumed;
                match decoded.event {
                    Some(Event::Opaque {
                        head,
                        kind,
                        range,
                        start,
                        end,
                        stream,
                    }) => {
                        if start {
                            back.extend(head);
                        }
                        back.extend(&rest[range]);
                        if end {
                            named.push((kind, stream.map(|id| id.get())));
                        }
                    }
                    Some(Event::Data {
                        stream,
                        range,
                        end,
                        fin,
                        frame_len,
                        ..
                    }) => {
                        data.extend(&rest[range]);
                        if end {
                            back.extend(data_head(stream, frame_len, fin));
                            back.append(&mut data);
                        }
                    }
                    Some(other) => panic!("{other:?} from a walker"),
                    None => assert_eq!(at, piece.len()),
                }
                assert!(
                    walker.buffered_bytes() < 8,
                    "holds a part of a head at most"
                );
            }
        }
        assert_eq!(back, wire, "in pieces of {len}");
        let streams: Vec<_> = named
            .iter()
            .filter(|(_, stream)| stream.is_some())
            .collect();
        assert_eq!(
            streams,
            [
                &(SYN_STREAM, Some(1)),
                &(SYN_STREAM, Some(3)),
                &(SYN_REPLY, Some(1)),
                &(SYN_REPLY, Some(3)),
                &(HEADERS, Some(1)),
                &(RST_STREAM, Some(3)),
            ]
        );
        assert_eq!(named.len(), 10);
    }
}

#[test]
fn a_frame_in_progress_is_held_and_let_go() {
    let mut wire = Vec::new();
    streamway_spdy::Encoder::new().syn_stream(&mut wire, id(1), false, &[("a", "b")]);
    let mut decoder = Decoder::new(Limits::default());
    for at in 0..wire.len() - 1 {
        assert_eq!(decoder.decode(&wire[at..=at]).unwrap().event, None);
        // A head is held until it is whole, then the payload is.
        let held = if at < 7 { at + 1 } else { at - 7 };
        assert_eq!(decoder.buffered_bytes(), held);
    }
    assert!(
        decoder
            .decode(&wire[wire.len() - 1..])
            .unwrap()
            .event
            .is_some()
    );
    assert_eq!(decoder.buffered_bytes(), 0);

    // Data is never held, however little of it came.
    let mut wire = data_head(id(1), 1000, false).to_vec();
    wire.extend([1; 10]);
    let decoded = decoder.decode(&wire).unwrap();
    assert_eq!(
        decoded.event,
        Some(Event::Data {
            stream: id(1),
            range: 8..18,
            frame_len: 1000,
            start: true,
            end: false,
            fin: false
        })
    );
    assert_eq!(decoder.buffered_bytes(), 0);
}
