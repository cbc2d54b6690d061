//! Frames to bytes.

use crate::frame::{
    FLAG_FIN, GOAWAY, HEADERS, MAX_PAYLOAD, PING, RST_STREAM, RstStatus, SYN_REPLY, SYN_STREAM,
    StreamId, VERSION,
};
use crate::headers::Headers;
use crate::inflate::DICTIONARY_ID;

/// zlib's head: deflate, 32 KiB window, a preset dictionary, best compression; then its id.
const ZLIB_HEAD: [u8; 2] = [0x78, 0xf9];

/// Longest stored block of deflate.
const MAX_STORED: usize = 0xffff;

/// Writes the frames of one direction that have header blocks.
///
/// Blocks are stored, not compressed: a deflate state costs 256 KiB for as long as the connection
/// lives, to save some thirty bytes in its first milliseconds. Every zlib reads it.
///
/// A frame's headers come to less than 16 MiB; a longer frame would be cut to that, and the peer
/// refuse it.
#[derive(Debug, Default)]
pub struct Encoder {
    started: bool,
}

impl Encoder {
    /// At the start of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a SYN_STREAM to `out`. Names are written in lower case.
    pub fn syn_stream(
        &mut self,
        out: &mut Vec<u8>,
        id: StreamId,
        fin: bool,
        headers: &[(&str, &str)],
    ) {
        let mut fixed = [0; 10];
        if let Some(start) = fixed.first_chunk_mut() {
            *start = id.get().to_be_bytes();
        }
        self.block_frame(out, SYN_STREAM, fin, &fixed, headers);
    }

    /// Appends a SYN_REPLY to `out`.
    pub fn syn_reply(
        &mut self,
        out: &mut Vec<u8>,
        id: StreamId,
        fin: bool,
        headers: &[(&str, &str)],
    ) {
        self.block_frame(out, SYN_REPLY, fin, &id.get().to_be_bytes(), headers);
    }

    /// Appends a HEADERS frame to `out`.
    pub fn headers(
        &mut self,
        out: &mut Vec<u8>,
        id: StreamId,
        fin: bool,
        headers: &[(&str, &str)],
    ) {
        self.block_frame(out, HEADERS, fin, &id.get().to_be_bytes(), headers);
    }

    fn block_frame(
        &mut self,
        out: &mut Vec<u8>,
        kind: u16,
        fin: bool,
        fixed: &[u8],
        headers: &[(&str, &str)],
    ) {
        let mut block = Vec::new();
        Headers::write(headers, &mut block);
        let mut payload = fixed.to_vec();
        if !std::mem::replace(&mut self.started, true) {
            payload.extend_from_slice(&ZLIB_HEAD);
            payload.extend_from_slice(&DICTIONARY_ID.to_be_bytes());
        }
        for part in block.chunks(MAX_STORED) {
            // Not more than MAX_STORED, by chunks().
            let len = u16::try_from(part.len()).unwrap_or(u16::MAX);
            payload.push(0);
            payload.extend_from_slice(&len.to_le_bytes());
            payload.extend_from_slice(&(!len).to_le_bytes());
            payload.extend_from_slice(part);
        }
        // An empty stored block ends it on a byte, as a sync flush does.
        payload.extend_from_slice(&[0, 0, 0, 0xff, 0xff]);
        let most = usize::try_from(MAX_PAYLOAD).unwrap_or(usize::MAX);
        debug_assert!(payload.len() <= most, "headers do not fit a frame");
        payload.truncate(most);
        control(out, kind, if fin { FLAG_FIN } else { 0 }, &payload);
    }
}

/// The head of a DATA frame with `len` bytes of payload; at most 2^24 - 1, what is above is cut off.
pub fn data_head(id: StreamId, len: u32, fin: bool) -> [u8; 8] {
    debug_assert!(len <= MAX_PAYLOAD, "{len} bytes do not fit a data frame");
    let flags = if fin { FLAG_FIN } else { 0 };
    let [a, b, c, d] = id.get().to_be_bytes();
    let [_, x, y, z] = len.min(MAX_PAYLOAD).to_be_bytes();
    [a, b, c, d, flags, x, y, z]
}

/// Appends a PING (12 bytes) to `out`. `id` is not 0, which ends the peer's connection.
pub fn ping(out: &mut Vec<u8>, id: u32) {
    control(out, PING, 0, &id.to_be_bytes());
}

/// Appends a RST_STREAM (16 bytes) to `out`. `status` is not 0, which ends the peer's connection.
pub fn rst_stream(out: &mut Vec<u8>, id: StreamId, status: RstStatus) {
    pair(out, RST_STREAM, id.get(), status.0);
}

/// Appends a GOAWAY (16 bytes) to `out`. `last_good` is the last stream that was taken, 0 for none.
pub fn go_away(out: &mut Vec<u8>, last_good: u32, status: u32) {
    pair(out, GOAWAY, last_good, status);
}

fn pair(out: &mut Vec<u8>, kind: u16, first: u32, second: u32) {
    let mut payload = [0; 8];
    if let Some((low, high)) = payload.split_at_mut_checked(4) {
        low.copy_from_slice(&first.to_be_bytes());
        high.copy_from_slice(&second.to_be_bytes());
    }
    control(out, kind, 0, &payload);
}

fn control(out: &mut Vec<u8>, kind: u16, flags: u8, payload: &[u8]) {
    out.extend_from_slice(&(VERSION | 0x8000).to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    let [_, x, y, z] = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .min(MAX_PAYLOAD)
        .to_be_bytes();
    out.extend_from_slice(&[flags, x, y, z]);
    out.extend_from_slice(payload);
}
