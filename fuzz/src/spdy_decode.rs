//! Any bytes, read whole, in pieces, and by a walker.

use streamway_spdy::{DecodeError, Decoder, Event, Frame, Limits, StreamId};

/// The first byte says how long the pieces are, the rest is what a peer sends.
pub(crate) fn run(data: &[u8]) {
    let Some((&piece, wire)) = data.split_first() else {
        return;
    };
    let limits = Limits {
        max_control_payload: 4096,
        max_headers: 16,
        max_header_block: 4096,
        ..Limits::default()
    };
    let whole = read(Decoder::new(limits.clone()), wire, wire.len().max(1));
    let pieces = read(
        Decoder::new(limits.clone()),
        wire,
        usize::from(piece).max(1),
    );
    assert_eq!(whole, pieces, "cuts change nothing");

    // A walker sees the same bounds; it does not see what is wrong inside a control frame.
    let walked = read(Decoder::new_walker(limits), wire, usize::from(piece).max(1));
    let bounds: Vec<_> = whole.0.iter().map(Seen::bound).collect();
    let walked: Vec<_> = walked.0.iter().map(Seen::bound).collect();
    assert_eq!(walked.get(..bounds.len()), Some(&bounds[..]));
}

#[derive(Debug, PartialEq)]
enum Seen {
    Control(Frame, usize),
    Data(StreamId, Vec<u8>, bool),
    Opaque(usize),
}

impl Seen {
    /// A frame's bytes on the wire, and the stream if it is data.
    fn bound(&self) -> (usize, Option<StreamId>) {
        match self {
            Self::Control(_, len) => (*len, None),
            Self::Data(stream, bytes, _) => (8 + bytes.len(), Some(*stream)),
            Self::Opaque(len) => (*len, None),
        }
    }
}

/// Every whole frame, and what ended the reading.
fn read(mut decoder: Decoder, wire: &[u8], piece: usize) -> (Vec<Seen>, Option<DecodeError>) {
    let mut seen = Vec::new();
    let mut run = Vec::new();
    for piece in wire.chunks(piece) {
        let mut at = 0;
        while at < piece.len() {
            let rest = &piece[at..];
            let decoded = match decoder.decode(rest) {
                Ok(decoded) => decoded,
                Err(error) => return (seen, Some(error)),
            };
            assert!(decoded.consumed > 0, "each step gets on");
            at += decoded.consumed;
            match decoded.event {
                None => assert_eq!(at, piece.len()),
                Some(Event::Control { frame, wire_len }) => {
                    seen.push(Seen::Control(frame, wire_len))
                }
                Some(Event::Data {
                    stream,
                    range,
                    frame_len,
                    start,
                    end,
                    fin,
                }) => {
                    assert_eq!(start, run.is_empty());
                    run.extend(&rest[range]);
                    assert_eq!(end, run.len() as u64 == u64::from(frame_len));
                    if end {
                        seen.push(Seen::Data(stream, std::mem::take(&mut run), fin));
                    }
                }
                Some(Event::Opaque { range, end, .. }) => {
                    run.extend(&rest[range]);
                    if end {
                        seen.push(Seen::Opaque(8 + std::mem::take(&mut run).len()));
                    }
                }
                Some(_) => {}
            }
            assert!(decoder.buffered_bytes() <= 4096);
        }
    }
    (seen, None)
}
