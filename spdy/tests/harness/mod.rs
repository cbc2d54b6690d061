//! What the tests share: input in pieces, and a log of what came of it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "each test takes what it needs"
)]

use streamway_spdy::frame::{HEAD, VERSION};
use streamway_spdy::{DecodeError, Decoder, Encoder, Event, Frame, RstStatus, StreamId};
use streamway_spdy::{data_head, go_away, ping, rst_stream};

/// An event, with a frame's runs of data put together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    Control(Frame, usize),
    Data {
        stream: StreamId,
        bytes: Vec<u8>,
        fin: bool,
    },
}

pub(crate) fn id(id: u32) -> StreamId {
    StreamId::new(id).unwrap()
}

/// Feeds `pieces` and checks the contract on the way: everything is consumed, ranges lie within what
/// was consumed, runs of a frame add up to its length.
pub(crate) fn feed<'a>(
    decoder: &mut Decoder,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Seen>, Option<DecodeError>) {
    let mut seen = Vec::new();
    let mut data: Option<Vec<u8>> = None;
    for piece in pieces {
        let mut at = 0;
        loop {
            let rest = &piece[at..];
            let decoded = match decoder.decode(rest) {
                Ok(decoded) => decoded,
                Err(error) => return (seen, Some(error)),
            };
            at += decoded.consumed;
            match decoded.event {
                None => {
                    assert_eq!(at, piece.len(), "no event, so everything is consumed");
                    break;
                }
                Some(Event::Control { frame, wire_len }) => {
                    assert!(data.is_none(), "a frame within a frame");
                    seen.push(Seen::Control(frame, wire_len));
                }
                Some(Event::Data {
                    stream,
                    range,
                    frame_len,
                    start,
                    end,
                    fin,
                }) => {
                    assert!(range.end <= decoded.consumed);
                    assert_eq!(start, data.is_none());
                    let bytes = data.get_or_insert_default();
                    bytes.extend_from_slice(&rest[range]);
                    assert_eq!(end, bytes.len() == usize::try_from(frame_len).unwrap());
                    assert!(end || !fin, "fin before the frame's end");
                    if end {
                        let bytes = data.take().unwrap();
                        seen.push(Seen::Data { stream, bytes, fin });
                    }
                }
                Some(other) => panic!("{other:?} from a decoder that reads"),
            }
        }
    }
    (seen, None)
}

/// A control frame as bytes, right or wrong.
pub(crate) fn control(kind: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    announced(kind, flags, u32::try_from(payload.len()).unwrap(), payload)
}

/// A control frame that announces `len` bytes, whatever it has.
pub(crate) fn announced(kind: u16, flags: u8, len: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (VERSION | 0x8000).to_be_bytes().to_vec();
    frame.extend(kind.to_be_bytes());
    frame.push(flags);
    frame.extend(&len.to_be_bytes()[1..]);
    assert_eq!(frame.len(), HEAD);
    frame.extend(payload);
    frame
}

/// Names and values as a block, not compressed, with whatever count.
pub(crate) fn block(count: u32, headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = count.to_be_bytes().to_vec();
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        block.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        block.extend(*text);
    }
    block
}

/// zlib as a peer uses it: level 9 and SPDY's dictionary, flushed after each block.
pub(crate) struct Deflate(flate2::Compress);

impl Deflate {
    pub(crate) fn new() -> Self {
        let mut zlib = flate2::Compress::new(flate2::Compression::best(), true);
        let _adler = zlib
            .set_dictionary(include_bytes!("../../src/dictionary.bin"))
            .unwrap();
        Self(zlib)
    }

    pub(crate) fn block(&mut self, block: &[u8], flush: flate2::FlushCompress) -> Vec<u8> {
        let mut out = Vec::with_capacity(block.len() + 1024);
        self.0.compress_vec(block, &mut out, flush).unwrap();
        assert!(out.len() < out.capacity(), "all of it came out");
        out
    }

    /// A SYN_STREAM with these headers.
    pub(crate) fn syn_stream(&mut self, stream: u32, headers: &[(&[u8], &[u8])]) -> Vec<u8> {
        let count = u32::try_from(headers.len()).unwrap();
        let block = self.block(&block(count, headers), flate2::FlushCompress::Sync);
        syn_stream(stream, &block)
    }
}

/// A SYN_STREAM with a block that is deflated already.
pub(crate) fn syn_stream(stream: u32, deflated: &[u8]) -> Vec<u8> {
    let mut payload = stream.to_be_bytes().to_vec();
    payload.extend([0; 6]);
    payload.extend(deflated);
    control(1, 0, &payload)
}

/// A frame of every type, each in the forms that matter: some 600 bytes.
pub(crate) fn transcript() -> Vec<u8> {
    let mut encoder = Encoder::new();
    let mut out = Vec::new();
    encoder.syn_stream(&mut out, id(1), false, &[("streamType", "error")]);
    encoder.syn_stream(
        &mut out,
        id(3),
        true,
        &[("streamtype", "stdin"), ("port", "8080")],
    );
    ping(&mut out, 1);
    encoder.syn_reply(&mut out, id(1), false, &[]);
    encoder.syn_reply(&mut out, id(3), true, &[("x", "a\0b")]);
    out.extend(data_head(id(1), 2, false));
    out.extend(b"hi");
    out.extend(data_head(id(1), 0, false));
    out.extend(control(4, 0, &[&[0, 0, 0, 2][..], &[7; 16]].concat()));
    out.extend(control(9, 0, &[0, 0, 0, 1, 0, 1, 0, 0]));
    encoder.headers(&mut out, id(1), false, &[("late", "")]);
    out.extend(data_head(id(0x7fff_ffff), 40, true));
    out.extend([0x80; 40]);
    out.extend(data_head(id(3), 0, true));
    rst_stream(&mut out, id(3), RstStatus::CANCEL);
    go_away(&mut out, 3, 0);
    out
}
