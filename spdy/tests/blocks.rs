//! Header blocks of one connection are one zlib stream, whoever deflates it, and however.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod harness;

use flate2::FlushCompress;
use harness::{Deflate, Seen, block, feed, id, syn_stream};
use streamway_spdy::{DecodeError, Decoder, Frame, Limits};

type Pairs = Vec<(String, String)>;
type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

/// Reads SYN_STREAMs and gives back their ids and headers.
fn opened(wire: &[u8]) -> Vec<(u32, Pairs)> {
    let (seen, error) = feed(&mut Decoder::new(Limits::default()), [wire]);
    assert_eq!(error, None);
    let opened = seen.into_iter().map(|seen| match seen {
        Seen::Control(Frame::SynStream { id, headers, .. }, _) => {
            let pairs = headers
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()));
            (id.get(), pairs.collect())
        }
        other => panic!("{other:?}"),
    });
    opened.collect()
}

fn refused(wire: &[u8]) -> DecodeError {
    feed(&mut Decoder::new(Limits::default()), [wire])
        .1
        .unwrap()
}

#[test]
fn hundred_and_twenty_streams_of_a_port_forward() {
    // More than the history that is kept in place of zlib's state, so both ways are taken.
    let streams = opened(include_bytes!("data/spdystream-portforward.bin"));
    assert_eq!(streams.len(), 120);
    for (n, (stream, headers)) in streams.into_iter().enumerate() {
        assert_eq!(usize::try_from(stream).unwrap(), 2 * n + 1);
        let (connection, kind) = (n / 2, ["error", "data"][n % 2]);
        let find = |name| &headers.iter().find(|(own, _)| own == name).unwrap().1;
        assert_eq!(headers.len(), 3);
        assert_eq!(find("streamtype"), kind);
        assert_eq!(find("port"), &(8080 + connection % 3).to_string());
        assert_eq!(find("requestid"), &connection.to_string());
    }
}

#[test]
fn a_block_may_refer_to_any_that_came_before() {
    // 32 KiB of noise, in blocks of 1 KiB, and then all of it once more: the second half is copied
    // out of the window by a peer that deflates well, at every distance up to the window's size.
    let mut seed = 1_u32;
    let mut noise = || -> Vec<u8> {
        let byte = |_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'!' + u8::try_from((seed >> 24) % 90).unwrap()
        };
        (0..1024).map(byte).collect()
    };
    let values: Vec<Vec<u8>> = (0..24).map(|_| noise()).collect();
    let mut zlib = Deflate::new();
    let mut wire = Vec::new();
    let mut lens = Vec::new();
    for (n, value) in values.iter().chain(&values).enumerate() {
        let frame = zlib.syn_stream(u32::try_from(2 * n + 1).unwrap(), &[(b"v", value)]);
        lens.push(frame.len());
        wire.extend(frame);
    }
    assert!(
        lens[24..].iter().all(|len| *len < 100),
        "copies, not texts: {lens:?}"
    );
    for ((_, headers), value) in opened(&wire).iter().zip(values.iter().chain(&values)) {
        assert_eq!(headers[0].1.as_bytes(), value);
    }
}

#[test]
fn every_way_of_flushing_is_read() {
    // A partial flush does not end on a byte, so zlib's state has to stay between the blocks.
    for flush in [
        FlushCompress::Sync,
        FlushCompress::Full,
        FlushCompress::Partial,
    ] {
        let mut zlib = Deflate::new();
        let mut wire = Vec::new();
        for stream in [1, 3, 5, 7] {
            let value = format!("value {stream}");
            let deflated = zlib.block(&block(1, &[(b"name", value.as_bytes())]), flush);
            let on_a_byte = deflated.ends_with(&[0, 0, 0xff, 0xff]);
            assert_eq!(on_a_byte, flush != FlushCompress::Partial);
            wire.extend(syn_stream(stream, &deflated));
        }
        for (stream, headers) in opened(&wire) {
            assert_eq!(
                headers,
                [("name".to_owned(), format!("value {stream}"))],
                "{flush:?}"
            );
        }
    }
}

#[test]
fn headers_are_read_as_they_were_written() {
    let long = "x".repeat(60_000);
    let mut wire = Vec::new();
    let mut encoder = streamway_spdy::Encoder::new();
    encoder.syn_stream(&mut wire, id(1), false, &[]);
    encoder.syn_stream(
        &mut wire,
        id(3),
        false,
        &[("StreamType", ""), ("long", &long)],
    );
    encoder.syn_stream(&mut wire, id(5), false, &[("é", "ü\0\u{1f980}")]);
    let streams = opened(&wire);
    assert_eq!(streams[0].1, []);
    assert_eq!(
        streams[1].1[0],
        ("streamtype".to_owned(), String::new()),
        "in lower case"
    );
    assert_eq!(streams[1].1[1].1, long);
    assert_eq!(streams[2].1[0], ("é".to_owned(), "ü\0\u{1f980}".to_owned()));
}

#[test]
fn what_is_not_the_connections_zlib_stream_is_refused() {
    let mut zlib = Deflate::new();
    let good = zlib.syn_stream(1, &[(b"a", b"b")]);
    let deflated = &good[18..];

    let cases: [(&str, Change<'_>); 7] = [
        ("no dictionary", &|bytes| bytes[1] = 0xda),
        ("another dictionary", &|bytes| bytes[3] ^= 1),
        ("not deflate", &|bytes| bytes[0] = 0x79),
        ("a larger window", &|bytes| {
            bytes[..2].copy_from_slice(&[0x88, 0x3b])
        }),
        ("cut within its head", &|bytes| bytes.truncate(5)),
        ("cut within its block", &|bytes| {
            bytes.truncate(bytes.len() - 9)
        }),
        ("no block behind its block", &|bytes| bytes.push(0x07)),
    ];
    for (what, change) in cases {
        let mut bytes = deflated.to_vec();
        change(&mut bytes);
        let error = refused(&syn_stream(1, &bytes));
        let zlib = matches!(error, DecodeError::Zlib(_) | DecodeError::HeaderBlock(_));
        assert!(zlib, "{what}: {error}");
    }

    // The stream ends, as zlib streams otherwise do.
    let mut zlib = Deflate::new();
    let ended = zlib.block(&block(1, &[(b"a", b"b")]), FlushCompress::Finish);
    assert!(matches!(
        refused(&syn_stream(1, &ended)),
        DecodeError::Zlib(_)
    ));

    // A stored block of ten bytes, of which eight came; they end as a flush does.
    let mut cut = vec![0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2, 0, 10, 0, 0xf5, 0xff];
    cut.extend([0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    let error = refused(&syn_stream(1, &cut));
    assert_eq!(error, DecodeError::Zlib("a block is not whole"));

    // A frame is lost, so the next one's references go nowhere.
    let mut zlib = Deflate::new();
    let _lost = zlib.syn_stream(1, &[(b"name", b"a value to come back to")]);
    let next = zlib.syn_stream(3, &[(b"name", b"a value to come back to")]);
    assert!(matches!(refused(&next), DecodeError::Zlib(_)));
}
