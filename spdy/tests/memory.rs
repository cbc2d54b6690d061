//! What a connection costs in memory, by an allocator that counts.
#![allow(
    unsafe_code,
    reason = "an allocator cannot be had without; it passes everything on to the system's"
)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod harness;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use flate2::FlushCompress;
use harness::{Deflate, announced, block, control, feed, id, syn_stream};
use streamway_spdy::{Decoder, Encoder, Limits, Session, SessionEvent, Side};

#[global_allocator]
static COUNTING: Counting = Counting;

struct Counting;

thread_local! {
    /// Bytes that are allocated, and the most that were. By thread, as tests run side by side.
    static NOW: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let now = NOW.get() + bytes;
    NOW.set(now);
    PEAK.set(PEAK.get().max(now));
}

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Runs `work`; gives back what it made, the bytes that this keeps, and the most that it needed.
fn measure<T>(work: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = NOW.get();
    PEAK.set(before);
    let made = work();
    let size = |bytes: isize| usize::try_from(bytes - before).unwrap_or(0);
    (made, size(NOW.get()), size(PEAK.get()))
}

#[test]
fn an_idle_exec_session_holds_less_than_two_kib() {
    let frames = include_str!("data/spdystream.hex");
    let bytes = |line: &str| -> Vec<u8> {
        let hex: Vec<u32> = line.chars().filter_map(|c| c.to_digit(16)).collect();
        hex.chunks(2)
            .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
            .collect()
    };
    let reply = |name: &str| {
        let line = frames
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        bytes(line)
    };
    // What a kubelet says to `exec -i`: its replies, deflated by Go.
    let replies = [reply("syn_reply_1 "), reply("syn_reply_3 ")].concat();
    let (session, kept, peak) = measure(|| {
        let mut session = Session::new(Side::Client, Limits::default());
        let mut out = Vec::new();
        for kind in ["error", "stdin", "stdout", "stderr"] {
            session.open(&[("streamType", kind)], &mut out).unwrap();
        }
        let mut input = &replies[..];
        for _ in 0..2 {
            let handled = session.handle(input, &mut out).unwrap();
            assert!(matches!(handled.event, Some(SessionEvent::Replied { .. })));
            input = &input[handled.consumed..];
        }
        session
    });
    println!("an idle session keeps {kept} bytes, needed {peak} at most");
    assert_eq!(session.open_streams(), 4);
    assert!(kept < 2 << 10, "{kept} bytes are kept");
    assert!(
        peak < 64 << 10,
        "{peak} bytes were needed, zlib's state among them"
    );
}

#[test]
fn a_long_history_costs_no_more_than_zlibs_state() {
    let wire = include_bytes!("data/spdystream-portforward.bin");
    let (mut decoder, kept, _) = measure(|| {
        let mut decoder = Decoder::new(Limits::default());
        assert_eq!(feed(&mut decoder, [&wire[..]]).0.len(), 120);
        decoder
    });
    println!("after 120 streams a decoder keeps {kept} bytes");
    assert!(kept < 64 << 10, "{kept} bytes are kept");
    // Nor does one of half a megabyte.
    let long = "x".repeat(60_000);
    let mut wire_of_ours = Vec::new();
    let mut encoder = Encoder::new();
    for _ in 0..10 {
        encoder.syn_stream(&mut wire_of_ours, id(1), false, &[("long", &long)]);
    }
    let (_decoder, kept, _) = measure(|| {
        let mut decoder = Decoder::new(Limits::default());
        let mut at = 0;
        while at < wire_of_ours.len() {
            at += decoder.decode(&wire_of_ours[at..]).unwrap().consumed;
        }
        decoder
    });
    assert!(kept < 64 << 10, "{kept} bytes are kept");
    // A walker of the same bytes keeps nothing.
    let (_walker, kept, _) = measure(|| {
        let mut walker = Decoder::new_walker(Limits::default());
        let mut at = 0;
        while at < wire.len() {
            at += walker.decode(&wire[at..]).unwrap().consumed;
        }
        walker
    });
    assert_eq!(kept, 0);
    decoder.decode(&[]).unwrap();
}

#[test]
fn announced_lengths_allocate_nothing() {
    let heads = [
        announced(1, 0, 65_536, &[]),
        vec![0, 0, 0, 1, 0, 0xff, 0xff, 0xff],
    ];
    for head in heads {
        let mut decoder = Decoder::new(Limits::default());
        let ((), kept, peak) = measure(|| {
            assert_eq!(decoder.decode(&head).unwrap().event, None);
        });
        assert_eq!((kept, peak), (0, 0), "{head:x?}");
    }
}

#[test]
fn data_is_not_copied() {
    let mut wire = streamway_spdy::data_head(id(1), 1 << 20, false).to_vec();
    wire.resize(8 + (1 << 20), 7);
    let mut decoder = Decoder::new(Limits::default());
    let ((), _, peak) = measure(|| {
        for piece in wire.chunks(1000) {
            let mut at = 0;
            while at < piece.len() {
                at += decoder.decode(&piece[at..]).unwrap().consumed;
            }
        }
    });
    assert_eq!(peak, 0);
}

#[test]
fn a_bomb_costs_no_more_than_the_limits() {
    let zeros = vec![0; 32 << 20];
    let bomb = Deflate::new().block(&block(1, &[(b"bomb", &zeros)]), FlushCompress::Sync);
    let wire = syn_stream(1, &bomb);
    drop(zeros);
    let limits = Limits::default();
    let held = usize::try_from(limits.max_control_payload).unwrap();
    for len in [wire.len(), 1000, 1] {
        let ((), _, peak) = measure(|| {
            let mut decoder = Decoder::new(Limits::default());
            assert!(feed(&mut decoder, wire.chunks(len)).1.is_some());
        });
        // Vectors double as they grow; zlib's state is the rest.
        let bound = 2 * held + 3 * limits.max_header_block + (64 << 10);
        println!("in pieces of {len}: {peak} bytes");
        assert!(peak < bound, "in pieces of {len}: {peak} bytes");
    }
}

#[test]
fn what_was_held_is_given_back() {
    let mut frames = control(6, 0, &[0, 0, 0, 1]);
    frames.extend(streamway_spdy::data_head(id(1), 0, false));
    let mut decoder = Decoder::new(Limits::default());
    let ((), kept, peak) = measure(|| {
        for byte in frames.iter().cycle().take(100 * frames.len()) {
            decoder.decode(&[*byte]).unwrap();
        }
    });
    assert_eq!(kept, 0);
    assert!(peak <= 16, "a head or a ping's id: {peak}");
}
