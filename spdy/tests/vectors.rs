//! Bytes of the real peer, read and written.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use streamway_spdy::{Decoder, Encoder, Event, Frame, Limits, RstStatus, StreamId};

fn vectors() -> BTreeMap<&'static str, Vec<u8>> {
    let lines = include_str!("data/spdystream.hex").lines();
    let vector = |line: &'static str| {
        let (name, hex) = line.split_once(' ').unwrap();
        let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
        let bytes = digits
            .chunks(2)
            .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap());
        (name, bytes.collect())
    };
    lines.map(vector).collect()
}

fn id(id: u32) -> StreamId {
    StreamId::new(id).unwrap()
}

/// Every event of `bytes`, with data put together, whatever the pieces.
fn events(bytes: &[u8], cut: usize) -> Vec<String> {
    let mut decoder = Decoder::new(Limits::default());
    let mut events = Vec::new();
    let mut data = Vec::new();
    for piece in bytes.chunks(cut) {
        let mut at = 0;
        while at < piece.len() {
            let decoded = decoder.decode(&piece[at..]).unwrap();
            match decoded.event {
                Some(Event::Control { frame, .. }) => events.push(format!("{frame:?}")),
                Some(Event::Data {
                    stream,
                    range,
                    end,
                    fin,
                    frame_len,
                    ..
                }) => {
                    data.extend_from_slice(&piece[at..][range]);
                    if end {
                        assert_eq!(data.len(), usize::try_from(frame_len).unwrap());
                        events.push(format!(
                            "data {stream} {:x?} {fin}",
                            std::mem::take(&mut data)
                        ));
                    }
                }
                _ => {}
            }
            at += decoded.consumed;
        }
    }
    assert_eq!(decoder.buffered_bytes(), 0);
    events
}

#[test]
fn what_the_peer_writes_is_read() {
    let vectors = vectors();
    let client = [
        "syn_stream_1_error",
        "syn_stream_3_stdin",
        "ping_1",
        "rst_5_cancel",
        "data_5_hi",
        "data_5_fin",
        "goaway_7",
    ];
    let wire: Vec<u8> = client
        .iter()
        .flat_map(|name| vectors[name].clone())
        .collect();
    let whole = events(&wire, wire.len());
    assert!(
        whole[0].contains(r#"("streamtype", "error")"#),
        "{}",
        whole[0]
    );
    assert!(
        whole[1].contains(r#"("streamtype", "stdin")"#),
        "{}",
        whole[1]
    );
    assert_eq!(whole[2], format!("{:?}", Frame::Ping { id: 1 }));
    assert_eq!(
        whole[3],
        format!(
            "{:?}",
            Frame::RstStream {
                id: id(5),
                status: RstStatus::CANCEL
            }
        )
    );
    assert_eq!(whole[4], "data 5 [68, 69] false");
    assert_eq!(whole[5], "data 5 [] true");
    assert_eq!(
        whole[6],
        format!(
            "{:?}",
            Frame::GoAway {
                last_good: 7,
                status: 0
            }
        )
    );
    for cut in 1..wire.len() {
        assert_eq!(events(&wire, cut), whole, "in pieces of {cut}");
    }
    let server: Vec<u8> = [&vectors["syn_reply_1"][..], &vectors["syn_reply_3"][..]].concat();
    for cut in 1..=server.len() {
        let replies = events(&server, cut);
        assert!(
            replies[0].starts_with("SynReply { id: StreamId(1), fin: false"),
            "{replies:?}"
        );
        assert!(
            replies[1].starts_with("SynReply { id: StreamId(3), fin: false"),
            "{replies:?}"
        );
    }
}

#[test]
fn frames_without_headers_are_written_as_the_peer_writes_them() {
    let vectors = vectors();
    let mut out = Vec::new();
    streamway_spdy::ping(&mut out, 1);
    assert_eq!(out, vectors["ping_1"]);
    out.clear();
    streamway_spdy::go_away(&mut out, 7, 0);
    assert_eq!(out, vectors["goaway_7"]);
    out.clear();
    streamway_spdy::rst_stream(&mut out, id(5), RstStatus::CANCEL);
    assert_eq!(out, vectors["rst_5_cancel"]);
    assert_eq!(
        streamway_spdy::data_head(id(5), 0, true).to_vec(),
        vectors["data_5_fin"]
    );
    let hi = [&streamway_spdy::data_head(id(5), 2, false)[..], b"hi"].concat();
    assert_eq!(hi, vectors["data_5_hi"]);
}

#[test]
fn stored_header_blocks_are_zlib_that_anyone_reads() {
    let mut encoder = Encoder::new();
    let mut wire = Vec::new();
    encoder.syn_stream(
        &mut wire,
        id(1),
        false,
        &[("streamType", "error"), ("port", "80")],
    );
    encoder.syn_stream(&mut wire, id(3), true, &[("streamtype", "data")]);
    encoder.headers(&mut wire, id(3), false, &[]);
    for cut in 1..=wire.len() {
        let events = events(&wire, cut);
        assert!(
            events[0].contains(r#"("streamtype", "error"), ("port", "80")"#),
            "{}",
            events[0]
        );
        assert!(events[1].contains("fin: true"));
        assert_eq!(events.len(), 3);
    }
    // zlib itself, with nothing of ours around it.
    let mut inflate = flate2::Decompress::new(true);
    let mut block = [0; 256];
    let payload = &wire[18..8 + usize::from(wire[7])];
    let sync = flate2::FlushDecompress::Sync;
    let error = inflate.decompress(payload, &mut block, sync).unwrap_err();
    assert_eq!(error.needs_dictionary(), Some(0xe3c6_a7c2));
    let dictionary = include_bytes!("../src/dictionary.bin");
    assert_eq!(inflate.set_dictionary(dictionary).unwrap(), 0xe3c6_a7c2);
    let rest = &payload[usize::try_from(inflate.total_in()).unwrap()..];
    inflate.decompress(rest, &mut block, sync).unwrap();
    assert!(block.starts_with(b"\0\0\0\x02\0\0\0\x0astreamtype\0\0\0\x05error"));
}

#[test]
fn the_dictionary_is_spdy_3s() {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(include_bytes!("../src/dictionary.bin"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "51d27341373f923f3cd88e1eb7162aeaa3723d7585ff2399201dc06498407f02"
    );
}
