//! What a peer may not do, and what it cannot make us hold.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod harness;

use flate2::FlushCompress;
use harness::{Deflate, announced, block, control, feed, syn_stream};
use streamway_spdy::{DecodeError, Decoder, Fault, Limits};

fn refused(wire: &[u8]) -> DecodeError {
    let whole = feed(&mut Decoder::new(Limits::default()), [wire])
        .1
        .unwrap();
    let bytes = feed(&mut Decoder::new(Limits::default()), wire.chunks(1))
        .1
        .unwrap();
    assert_eq!(whole, bytes, "byte by byte it is the same error");
    whole
}

/// The error for a block that is sound zlib.
fn refused_block(bytes: &[u8]) -> DecodeError {
    refused(&syn_stream(
        1,
        &Deflate::new().block(bytes, FlushCompress::Sync),
    ))
}

#[test]
fn a_small_block_does_not_become_megabytes() {
    let zeros = vec![0; 32 << 20];
    let deflated = Deflate::new().block(&block(1, &[(b"bomb", &zeros)]), FlushCompress::Sync);
    assert!(
        deflated.len() < 40_000,
        "{} bytes are within the frame's limit",
        deflated.len()
    );
    let error = refused(&syn_stream(1, &deflated));
    let DecodeError::TooLong {
        what: "header block",
        len,
        limit,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(limit, Limits::default().max_header_block);
    assert!(len <= limit + 1024, "inflating stopped at {len}");
    assert_eq!(error.fault(), Fault::Local);
}

#[test]
fn a_block_may_be_as_long_as_the_limit() {
    let limit = Limits::default().max_header_block;
    let overhead = block(1, &[(b"v", b"")]).len();
    for (len, fits) in [(limit, true), (limit + 1, false)] {
        let value = vec![b'x'; len - overhead];
        let wire = Deflate::new().syn_stream(1, &[(b"v", &value)]);
        let (seen, error) = feed(&mut Decoder::new(Limits::default()), [&wire[..]]);
        assert_eq!(
            (seen.len(), error.is_none()),
            (usize::from(fits), fits),
            "{len} bytes"
        );
    }
}

#[test]
fn headers_are_counted_before_they_are_read() {
    let names: Vec<String> = (0..129).map(|n| format!("h{n}")).collect();
    let headers: Vec<(&[u8], &[u8])> = names.iter().map(|n| (n.as_bytes(), &b""[..])).collect();
    assert_eq!(
        refused_block(&block(129, &headers)),
        DecodeError::TooManyHeaders(129)
    );
    assert_eq!(
        refused_block(&block(u32::MAX, &[])),
        DecodeError::TooManyHeaders(u32::MAX)
    );
    let wire = Deflate::new().syn_stream(1, &headers[..128]);
    assert_eq!(
        feed(&mut Decoder::new(Limits::default()), [&wire[..]]).1,
        None
    );
}

#[test]
fn lengths_within_a_block_are_not_believed() {
    let a: (&[u8], &[u8]) = (b"a", b"b");
    let lies: [(&str, Vec<u8>); 8] = [
        ("no count", vec![0, 0, 0]),
        ("more headers than there are", block(2, &[a])),
        ("fewer headers than there are", block(1, &[a, (b"c", b"d")])),
        (
            "a name of 4 GiB",
            [&block(1, &[])[..], &[0xff; 4], b"a"].concat(),
        ),
        (
            "a value beyond the end",
            [&block(1, &[])[..], b"\0\0\0\x01a\0\0\0\x02b"].concat(),
        ),
        ("no value", [&block(1, &[])[..], b"\0\0\0\x01a"].concat()),
        ("a byte behind it", [&block(1, &[a])[..], &[0]].concat()),
        ("nothing", Vec::new()),
    ];
    for (what, bytes) in lies {
        let error = refused_block(&bytes);
        assert!(
            matches!(error, DecodeError::HeaderBlock(_)),
            "{what}: {error}"
        );
        assert_eq!(error.fault(), Fault::Peer);
    }
}

#[test]
fn names_that_spdy_forbids_are_refused() {
    let bad: [&[(&[u8], &[u8])]; 6] = [
        &[(b"StreamType", b"data")],
        &[(b"", b"data")],
        &[(b"a", b"1"), (b"a", b"2")],
        &[(b"connection", b"close")],
        &[(b"transfer-encoding", b"chunked")],
        &[(b"a", b"\xff")],
    ];
    for headers in bad {
        let error = refused_block(&block(u32::try_from(headers.len()).unwrap(), headers));
        assert!(
            matches!(error, DecodeError::HeaderBlock(_)),
            "{headers:?}: {error}"
        );
    }
}

#[test]
fn a_frame_is_refused_by_its_head() {
    // None of these has a payload: the head is enough, and nothing is waited for or collected.
    let heads = [
        (
            announced(1, 0, 9, &[]),
            DecodeError::Length { kind: 1, len: 9 },
        ),
        (
            announced(2, 0, 3, &[]),
            DecodeError::Length { kind: 2, len: 3 },
        ),
        (
            announced(3, 0, 9, &[]),
            DecodeError::Length { kind: 3, len: 9 },
        ),
        (
            announced(4, 0, 0, &[]),
            DecodeError::Length { kind: 4, len: 0 },
        ),
        (
            announced(6, 0, 5, &[]),
            DecodeError::Length { kind: 6, len: 5 },
        ),
        (
            announced(7, 0, 4, &[]),
            DecodeError::Length { kind: 7, len: 4 },
        ),
        (
            announced(8, 0, 0, &[]),
            DecodeError::Length { kind: 8, len: 0 },
        ),
        (
            announced(9, 0, 7, &[]),
            DecodeError::Length { kind: 9, len: 7 },
        ),
        (announced(5, 0, 0, &[]), DecodeError::UnknownType(5)),
        (announced(10, 0, 8, &[]), DecodeError::UnknownType(10)),
        (
            announced(6, 1, 4, &[]),
            DecodeError::Flags { kind: 6, flags: 1 },
        ),
        (
            announced(7, 2, 8, &[]),
            DecodeError::Flags { kind: 7, flags: 2 },
        ),
        (
            announced(9, 4, 8, &[]),
            DecodeError::Flags { kind: 9, flags: 4 },
        ),
        (vec![0x80, 2, 0, 6, 0, 0, 0, 4], DecodeError::Version(2)),
        (vec![0, 0, 0, 0, 0, 0, 0, 1], DecodeError::ZeroStream(0)),
        (
            announced(1, 0, 65_537, &[]),
            DecodeError::TooLong {
                what: "control frame",
                len: 65_537,
                limit: 65_536,
            },
        ),
    ];
    for (head, expected) in heads {
        assert_eq!(refused(&head), expected);
        let walked = Decoder::new_walker(Limits::default())
            .decode(&head)
            .unwrap_err();
        assert_eq!(walked, expected, "a walker agrees");
    }
}

#[test]
fn fields_that_no_frame_has_are_refused() {
    let zero = [0_u8; 4];
    let five = [0, 0, 0, 5];
    let cases = [
        (
            control(6, 0, &zero),
            DecodeError::Value {
                what: "id of PING",
                value: 0,
            },
        ),
        (
            control(3, 0, &[five, zero].concat()),
            DecodeError::Value {
                what: "status of RST_STREAM",
                value: 0,
            },
        ),
        (
            control(3, 0, &[zero, five].concat()),
            DecodeError::ZeroStream(3),
        ),
        (
            control(4, 0, &[0xff; 12]),
            DecodeError::Length { kind: 4, len: 12 },
        ),
        (
            control(4, 0, &[&five[..], &[0; 48]].concat()),
            DecodeError::Length { kind: 4, len: 52 },
        ),
    ];
    for (wire, expected) in cases {
        assert_eq!(refused(&wire), expected);
    }
    let wire = Deflate::new().syn_stream(0, &[(b"a", b"b")]);
    assert_eq!(refused(&wire), DecodeError::ZeroStream(1));
}

#[test]
fn data_is_limited_only_where_it_is_asked_for() {
    let head = [0, 0, 0, 1, 0, 0xff, 0xff, 0xff];
    assert_eq!(
        feed(&mut Decoder::new(Limits::default()), [&head[..]]).1,
        None
    );
    let limits = Limits {
        max_data_payload: 1 << 20,
        ..Limits::default()
    };
    let error = Decoder::new(limits).decode(&head).unwrap_err();
    let expected = DecodeError::TooLong {
        what: "data frame",
        len: (1 << 24) - 1,
        limit: 1 << 20,
    };
    assert_eq!(error, expected);
}
