//! Whatever is written is read, whatever is read does no harm.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod harness;

use harness::{Seen, control, feed, id};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use streamway_spdy::{
    Decoder, Encoder, Frame, Headers, Limits, RstStatus, Session, Side, StreamId, data_head,
    go_away, ping, rst_stream,
};

type Pairs = Vec<(String, String)>;

#[derive(Debug, Clone, PartialEq)]
enum Write {
    SynStream(StreamId, bool, Pairs),
    SynReply(StreamId, bool, Pairs),
    Headers(StreamId, bool, Pairs),
    RstStream(StreamId, u32),
    Settings(Vec<[u8; 8]>),
    Ping(u32),
    GoAway(u32, u32),
    WindowUpdate(u32, u32),
    Data(StreamId, Vec<u8>, bool),
}

fn stream() -> impl Strategy<Value = StreamId> {
    (1..=StreamId::MAX).prop_map(id)
}

/// Names that are all different, and none that SPDY forbids.
fn pairs() -> impl Strategy<Value = Pairs> {
    vec(("[a-z0-9:é-]{0,8}", "\\PC{0,40}"), 0..6).prop_map(|pairs| {
        let named = |(n, (name, value)): (usize, (String, String))| (format!("{n}{name}"), value);
        pairs.into_iter().enumerate().map(named).collect()
    })
}

fn write() -> impl Strategy<Value = Write> {
    let bits = || 0..=StreamId::MAX;
    prop_oneof![
        (stream(), any::<bool>(), pairs()).prop_map(|(id, fin, p)| Write::SynStream(id, fin, p)),
        (stream(), any::<bool>(), pairs()).prop_map(|(id, fin, p)| Write::SynReply(id, fin, p)),
        (stream(), any::<bool>(), pairs()).prop_map(|(id, fin, p)| Write::Headers(id, fin, p)),
        (stream(), 1..=u32::MAX).prop_map(|(id, status)| Write::RstStream(id, status)),
        vec(any::<[u8; 8]>(), 0..4).prop_map(Write::Settings),
        (1..=u32::MAX).prop_map(Write::Ping),
        (bits(), any::<u32>()).prop_map(|(id, status)| Write::GoAway(id, status)),
        (bits(), bits()).prop_map(|(id, delta)| Write::WindowUpdate(id, delta)),
        (stream(), vec(any::<u8>(), 0..200), any::<bool>())
            .prop_map(|(id, bytes, fin)| Write::Data(id, bytes, fin)),
    ]
}

impl Write {
    fn put(&self, encoder: &mut Encoder, out: &mut Vec<u8>) {
        fn borrow(pairs: &Pairs) -> Vec<(&str, &str)> {
            pairs
                .iter()
                .map(|(name, value)| (&name[..], &value[..]))
                .collect()
        }
        match self {
            Self::SynStream(id, fin, pairs) => encoder.syn_stream(out, *id, *fin, &borrow(pairs)),
            Self::SynReply(id, fin, pairs) => encoder.syn_reply(out, *id, *fin, &borrow(pairs)),
            Self::Headers(id, fin, pairs) => encoder.headers(out, *id, *fin, &borrow(pairs)),
            Self::RstStream(id, status) => rst_stream(out, *id, RstStatus(*status)),
            Self::Settings(entries) => {
                let count = u32::try_from(entries.len()).unwrap().to_be_bytes();
                out.extend(control(4, 0, &[&count, entries.as_flattened()].concat()));
            }
            Self::Ping(id) => ping(out, *id),
            Self::GoAway(last_good, status) => go_away(out, *last_good, *status),
            Self::WindowUpdate(id, delta) => {
                out.extend(control(
                    9,
                    0,
                    [id.to_be_bytes(), delta.to_be_bytes()].as_flattened(),
                ));
            }
            Self::Data(stream, bytes, fin) => {
                out.extend(data_head(
                    *stream,
                    u32::try_from(bytes.len()).unwrap(),
                    *fin,
                ));
                out.extend(bytes);
            }
        }
    }
}

/// What was read, as it was written.
fn written(seen: Seen) -> Write {
    let own = |headers: Headers| {
        headers
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    match seen {
        Seen::Data { stream, bytes, fin } => Write::Data(stream, bytes, fin),
        Seen::Control(frame, _) => match frame {
            Frame::SynStream {
                id,
                associated,
                priority,
                slot,
                fin,
                unidirectional,
                headers,
            } => {
                assert_eq!(
                    (associated, priority, slot, unidirectional),
                    (0, 0, 0, false)
                );
                Write::SynStream(id, fin, own(headers))
            }
            Frame::SynReply { id, fin, headers } => Write::SynReply(id, fin, own(headers)),
            Frame::Headers { id, fin, headers } => Write::Headers(id, fin, own(headers)),
            Frame::RstStream { id, status } => Write::RstStream(id, status.0),
            // A frame says how many there were; what they were is passed over.
            Frame::Settings { entries } => {
                Write::Settings(vec![[0; 8]; usize::try_from(entries).unwrap()])
            }
            Frame::Ping { id } => Write::Ping(id),
            Frame::GoAway { last_good, status } => Write::GoAway(last_good, status),
            Frame::WindowUpdate { id, delta } => Write::WindowUpdate(id, delta),
            other => panic!("{other:?}"),
        },
    }
}

/// Cuts `bytes` at `cuts`.
fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.sort_unstable();
    at.push(bytes.len());
    let mut start = 0;
    at.into_iter()
        .map(|end| &bytes[std::mem::replace(&mut start, end)..end])
        .collect()
}

/// Bytes that look like frames more often than noise does.
fn frame_like() -> impl Strategy<Value = Vec<u8>> {
    let control = (0_u16..12, any::<u8>(), vec(any::<u8>(), 0..40))
        .prop_map(|(kind, flags, payload)| control(kind, flags, &payload));
    let data = (stream(), vec(any::<u8>(), 0..40)).prop_map(|(stream, payload)| {
        let head = data_head(stream, u32::try_from(payload.len()).unwrap(), false);
        [&head[..], &payload].concat()
    });
    vec(prop_oneof![control, data, vec(any::<u8>(), 0..20)], 0..8).prop_map(|all| all.concat())
}

proptest! {
    #[test]
    fn what_is_written_is_read(writes in vec(write(), 0..30), cuts in vec(any::<Index>(), 0..20)) {
        let mut wire = Vec::new();
        let mut encoder = Encoder::new();
        for write in &writes {
            write.put(&mut encoder, &mut wire);
        }
        let mut decoder = Decoder::new(Limits::default());
        let (seen, error) = feed(&mut decoder, pieces(&wire, &cuts));
        prop_assert_eq!(error, None);
        prop_assert_eq!(decoder.buffered_bytes(), 0);
        let lengths: usize = seen.iter().map(|seen| match seen {
            Seen::Control(_, len) => *len,
            Seen::Data { bytes, .. } => 8 + bytes.len(),
        }).sum();
        prop_assert_eq!(lengths, wire.len());
        let read: Vec<Write> = seen.into_iter().map(written).collect();
        let writes: Vec<Write> = writes.into_iter().map(|write| match write {
            Write::Settings(entries) => Write::Settings(vec![[0; 8]; entries.len()]),
            write => write,
        }).collect();
        prop_assert_eq!(read, writes);
    }

    #[test]
    fn cuts_change_nothing_about_any_bytes(bytes in frame_like(), cuts in vec(any::<Index>(), 0..20)) {
        let limits = Limits { max_control_payload: 30, ..Limits::default() };
        let whole = feed(&mut Decoder::new(limits.clone()), [&bytes[..]]);
        let mut decoder = Decoder::new(limits);
        let cut = feed(&mut decoder, pieces(&bytes, &cuts));
        prop_assert_eq!(whole, cut);
        prop_assert!(decoder.buffered_bytes() <= 30);
    }

    #[test]
    fn a_session_takes_any_bytes(bytes in frame_like(), server in any::<bool>()) {
        let side = if server { Side::Server } else { Side::Client };
        let mut session = Session::new(side, Limits::default());
        let (mut out, mut at) = (Vec::new(), 0);
        for kind in ["a", "b"] {
            session.open(&[("k", kind)], &mut out).unwrap();
        }
        let mut answers = Vec::new();
        while let Ok(handled) = session.handle(&bytes[at..], &mut answers) {
            at += handled.consumed;
            if handled.event.is_none() {
                prop_assert_eq!(at, bytes.len());
                break;
            }
        }
        prop_assert!(answers.len() <= bytes.len());
    }
}
