//! The zlib stream of one direction's header blocks, with SPDY/3's preset dictionary.
//!
//! Each block is a part of one stream that lives as long as the connection, so every block must be
//! inflated, also those of streams that nobody wants.

use flate2::{Decompress, FlushDecompress, Status};

use crate::error::DecodeError;
use crate::limits::Limits;

/// What SPDY/3 puts before every zlib stream (draft 3, section 2.6.10.1): 1423 bytes.
pub(crate) const DICTIONARY: &[u8] = include_bytes!("dictionary.bin");

/// Adler-32 of [`DICTIONARY`], as zlib streams name it.
pub(crate) const DICTIONARY_ID: u32 = 0xe3c6_a7c2;

/// Inflates the blocks of one direction.
#[derive(Debug, Default)]
pub(crate) struct Inflate {
    /// Made at the first block: about 40 KiB, most of it zlib's window.
    state: Option<Box<Decompress>>,
}

impl Inflate {
    /// Inflates the next block, all of `input`, to at most the limit's length.
    pub(crate) fn block(&mut self, input: &[u8], limits: &Limits) -> Result<Vec<u8>, DecodeError> {
        let state = self
            .state
            .get_or_insert_with(|| Box::new(Decompress::new(true)));
        let limit = limits.max_header_block;
        let mut block = Vec::new();
        let start = state.total_in();
        let mut chunk = [0_u8; 1024];
        let mut used = 0;
        loop {
            let before = (state.total_in(), state.total_out());
            let rest = input.get(used..).unwrap_or_default();
            match state.decompress(rest, &mut chunk, FlushDecompress::Sync) {
                Ok(Status::StreamEnd) => {
                    return Err(DecodeError::Zlib("it ends before the connection does"));
                }
                Ok(_) => {}
                Err(error) if error.needs_dictionary() == Some(DICTIONARY_ID) => {
                    let set = state.set_dictionary(DICTIONARY);
                    set.map_err(|_| DecodeError::Zlib("the dictionary does not fit"))?;
                    used = count(start, state.total_in());
                    continue;
                }
                Err(error) if error.needs_dictionary().is_some() => {
                    return Err(DecodeError::Zlib("it wants another dictionary"));
                }
                Err(_) => return Err(DecodeError::Zlib("it is corrupt")),
            }
            let produced = count(before.1, state.total_out());
            block.extend_from_slice(chunk.get(..produced).unwrap_or_default());
            if block.len() > limit {
                return Err(DecodeError::TooLong {
                    what: "header block",
                    len: block.len(),
                    limit,
                });
            }
            used = count(start, state.total_in());
            let stuck = before == (state.total_in(), state.total_out());
            if stuck || used >= input.len() && produced < chunk.len() {
                break;
            }
        }
        if used != input.len() {
            return Err(DecodeError::Zlib("bytes are left over"));
        }
        Ok(block)
    }
}

/// How far a counter has come since `start`.
fn count(start: u64, now: u64) -> usize {
    usize::try_from(now - start).unwrap_or(usize::MAX)
}
