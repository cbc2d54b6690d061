//! RFC 6455 framing: the RFC's own examples, every byte split, and anything at all.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;
use streamway_kstream::ws::{
    CloseCode, Decoder, Event, Limits, MessageKind, Opcode, Role, WsError, close_frame, encode_head,
};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Got {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, Vec<u8>),
}

/// Everything in `wire`, read in pieces of `cut` bytes.
fn read(role: Role, wire: &[u8], cut: usize) -> Result<Vec<Got>, WsError> {
    let mut decoder = Decoder::new(role, Limits::default());
    let (mut got, mut message) = (Vec::new(), Vec::new());
    for piece in wire.chunks(cut) {
        let mut piece = piece.to_vec();
        let mut at = 0;
        while at < piece.len() {
            let decoded = decoder.decode(&mut piece[at..])?;
            match decoded.event {
                Some(Event::Payload {
                    kind,
                    range,
                    start,
                    end,
                }) => {
                    if start {
                        message.clear();
                    }
                    message.extend_from_slice(&piece[at..][range]);
                    if end {
                        got.push(Got::Message(kind, std::mem::take(&mut message)));
                    }
                }
                Some(Event::Ping(payload)) => got.push(Got::Ping(payload.as_slice().to_vec())),
                Some(Event::Pong(payload)) => got.push(Got::Pong(payload.as_slice().to_vec())),
                Some(Event::Close(code, reason)) => {
                    got.push(Got::Close(
                        code.map(CloseCode::get),
                        reason.as_slice().to_vec(),
                    ));
                }
                _ => {}
            }
            assert!(decoded.consumed > 0, "no progress");
            at += decoded.consumed;
        }
    }
    Ok(got)
}

/// The same at every cut.
fn read_all_ways(role: Role, wire: &[u8]) -> Result<Vec<Got>, WsError> {
    let whole = read(role, wire, wire.len().max(1));
    for cut in 1..=wire.len() {
        assert_eq!(read(role, wire, cut), whole, "in pieces of {cut}");
    }
    whole
}

fn text(payload: &[u8]) -> Got {
    Got::Message(MessageKind::Text, payload.to_vec())
}

fn binary(payload: &[u8]) -> Got {
    Got::Message(MessageKind::Binary, payload.to_vec())
}

/// RFC 6455 §5.7.
#[test]
fn the_rfcs_examples() {
    let hello = text(b"Hello");
    let unmasked = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(
        read_all_ways(Role::Client, &unmasked).unwrap(),
        std::slice::from_ref(&hello)
    );
    let masked = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    assert_eq!(
        read_all_ways(Role::Server, &masked).unwrap(),
        std::slice::from_ref(&hello)
    );
    let fragmented = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
    assert_eq!(read_all_ways(Role::Client, &fragmented).unwrap(), [hello]);
    let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
    assert_eq!(
        read_all_ways(Role::Client, &ping).unwrap(),
        [Got::Ping(b"Hello".to_vec())]
    );
    let pong = [
        0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    assert_eq!(
        read_all_ways(Role::Server, &pong).unwrap(),
        [Got::Pong(b"Hello".to_vec())]
    );
    for (head, len) in [
        (&[0x82, 0x7e, 0x01, 0x00][..], 256),
        (&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], 65_536),
    ] {
        let payload = vec![7; len];
        let wire = [head, &payload].concat();
        assert_eq!(read(Role::Client, &wire, 1000).unwrap(), [binary(&payload)]);
        assert_eq!(
            encode_head(Opcode::Binary, true, len as u64, None).as_slice(),
            head
        );
    }
}

#[test]
fn control_frames_may_stand_within_a_message() {
    let wire = [
        &[0x02, 0x01, b'a'][..],
        &[0x89, 0x00],
        &[0x00, 0x00],
        &[0x80, 0x01, b'b'],
    ]
    .concat();
    assert_eq!(
        read_all_ways(Role::Client, &wire).unwrap(),
        [Got::Ping(Vec::new()), binary(b"ab")]
    );
    assert_eq!(
        read_all_ways(Role::Client, &[0x82, 0x00]).unwrap(),
        [binary(b"")]
    );
}

#[test]
fn closing() {
    let mut wire = Vec::new();
    close_frame(CloseCode::NORMAL, "", &mut wire);
    assert_eq!(
        wire,
        [0x88, 0x02, 0x03, 0xe8],
        "as Kubernetes' servers close"
    );
    assert_eq!(
        read_all_ways(Role::Client, &wire).unwrap(),
        [Got::Close(Some(1000), Vec::new())]
    );
    assert_eq!(
        read_all_ways(Role::Client, &[0x88, 0x00]).unwrap(),
        [Got::Close(None, Vec::new())]
    );
    // A reason is cut at a character, and stays a control frame.
    let mut wire = Vec::new();
    close_frame(CloseCode::PROTOCOL_ERROR, &"é".repeat(100), &mut wire);
    let Got::Close(Some(1002), reason) = &read_all_ways(Role::Client, &wire).unwrap()[0] else {
        panic!("no close");
    };
    assert_eq!(std::str::from_utf8(reason).unwrap(), "é".repeat(61));
    wire.extend_from_slice(&[0x82, 0x00]);
    assert_eq!(read_all_ways(Role::Client, &wire), Err(WsError::AfterClose));
}

#[test]
fn what_breaks_the_protocol_is_named() {
    let long = |len: u64| [&[0x82, 0xff][..], &len.to_be_bytes(), &[0; 4]].concat();
    for (wire, error) in [
        (vec![0x82, 0x01, 0x00], WsError::Masked(false)),
        (vec![0xc2, 0x80, 0, 0, 0, 0], WsError::Reserved(0x40)),
        (vec![0x83, 0x80, 0, 0, 0, 0], WsError::Opcode(3)),
        (vec![0x8b, 0x80, 0, 0, 0, 0], WsError::Opcode(11)),
        (vec![0x09, 0x80, 0, 0, 0, 0], WsError::FragmentedControl),
        (vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0], WsError::LongControl),
        (vec![0x80, 0x80, 0, 0, 0, 0], WsError::NoMessage),
        (
            vec![0x02, 0x80, 0, 0, 0, 0, 0x82, 0x80, 0, 0, 0, 0],
            WsError::Interrupted,
        ),
        (vec![0x82, 0xfe, 0, 125, 0, 0, 0, 0], WsError::Length),
        (long(65_535), WsError::Length),
        (long(1 << 63), WsError::Length),
        (long((32 << 20) + 1), WsError::TooLong(32 << 20)),
        (vec![0x88, 0x81, 0, 0, 0, 0, 3], WsError::Close),
        (vec![0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed], WsError::Close),
    ] {
        assert_eq!(
            read_all_ways(Role::Server, &wire),
            Err(error.clone()),
            "{wire:x?}"
        );
        let code = if matches!(error, WsError::TooLong(_)) {
            1009
        } else {
            1002
        };
        assert_eq!(error.close_code().get(), code);
    }
    assert_eq!(
        read_all_ways(Role::Client, &[0x82, 0x80]),
        Err(WsError::Masked(true))
    );
}

#[test]
fn a_message_in_endless_fragments_has_a_limit() {
    let mut decoder = Decoder::new(Role::Client, Limits { max_message: 1000 });
    let mut fragment = [&[0x02, 100][..], &[0; 100]].concat();
    let mut answer = Ok(());
    for _ in 0..11 {
        let mut at = 0;
        while at < fragment.len() && answer.is_ok() {
            answer = decoder
                .decode(&mut fragment[at..])
                .map(|decoded| at += decoded.consumed);
        }
        fragment[0] = 0x00;
    }
    assert_eq!(answer, Err(WsError::TooLong(1000)));
}

fn frames() -> impl Strategy<Value = Vec<(u8, Vec<u8>, [u8; 4])>> {
    let frame = (
        0_u8..6,
        prop::collection::vec(any::<u8>(), 0..300),
        any::<[u8; 4]>(),
    );
    prop::collection::vec(frame, 0..12)
}

proptest! {
    /// Messages, fragmented and with control frames between, survive masks and any cuts.
    #[test]
    fn round_trip(frames in frames(), cut in 1_usize..70) {
        let (mut wire, mut expected) = (Vec::new(), Vec::new());
        let mut open: Option<Vec<u8>> = None;
        for (kind, payload, mask) in frames {
            let small = payload.get(..payload.len().min(125)).unwrap().to_vec();
            let (opcode, fin, payload) = match (kind, &mut open) {
                (0, _) => { expected.push(Got::Ping(small.clone())); (Opcode::Ping, true, small) }
                (1, _) => { expected.push(Got::Pong(small.clone())); (Opcode::Pong, true, small) }
                (2 | 3, Some(message)) => {
                    message.extend_from_slice(&payload);
                    (Opcode::Continuation, false, payload)
                }
                (_, Some(message)) => {
                    message.extend_from_slice(&payload);
                    expected.push(binary(message));
                    open = None;
                    (Opcode::Continuation, true, payload)
                }
                (2 | 3, None) => { open = Some(payload.clone()); (Opcode::Binary, false, payload) }
                (_, None) => { expected.push(binary(&payload)); (Opcode::Binary, true, payload) }
            };
            wire.extend_from_slice(encode_head(opcode, fin, payload.len() as u64, Some(mask)).as_slice());
            wire.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
        prop_assert_eq!(read(Role::Server, &wire, cut).unwrap(), expected);
    }

    /// Nothing panics, and how the bytes are cut does not matter.
    #[test]
    fn anything(wire in prop::collection::vec(any::<u8>(), 0..200), cut in 1_usize..50, server: bool) {
        let role = if server { Role::Server } else { Role::Client };
        prop_assert_eq!(read(role, &wire, cut), read(role, &wire, wire.len().max(1)));
    }
}
