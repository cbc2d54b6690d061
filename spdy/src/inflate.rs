//! The zlib stream of one direction's header blocks, with SPDY/3's preset dictionary.
//!
//! Every block is a part of one zlib stream (RFC 1950) that lives as long as the connection, so each
//! must be inflated, also those of streams that nobody wants. zlib's state for that takes about
//! 48 KiB, most of it a window of 32 KiB, where Kubernetes' blocks inflate to some 20 bytes each,
//! and only when a stream opens. So the state is thrown away after each block, and what it inflated
//! so far is kept instead: given to a new state as its dictionary, it means the same.
//!
//! That works where a block ends on a byte, which zlib's sync flush brings about (spdystream does one
//! after each block), and as long as there is little to keep. In all other cases the state stays.

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
    stream: Stream,
}

#[derive(Debug, Default)]
enum Stream {
    /// Nothing came yet.
    #[default]
    New,
    /// What came, inflated; at most [`MAX_HISTORY`].
    History(Vec<u8>),
    /// Too much came.
    State(Box<Decompress>),
}

impl Inflate {
    /// Inflates the next block, which is all of `input`, to at most the limit's length.
    pub(crate) fn block(&mut self, input: &[u8], limits: &Limits) -> Result<Vec<u8>, DecodeError> {
        let (mut state, history, input) = match std::mem::take(&mut self.stream) {
            Stream::New => (restart(&[])?, Some(Vec::new()), zlib_head(input)?),
            Stream::History(history) => (restart(&history)?, Some(history), input),
            Stream::State(state) => (state, None, input),
        };
        let block = inflate(&mut state, input, limits.max_header_block)?;
        self.stream = match history {
            Some(mut history)
                if input.ends_with(&SYNC) && history.len() + block.len() <= MAX_HISTORY =>
            {
                at_block_start(&mut state)?;
                history.extend_from_slice(&block);
                Stream::History(history)
            }
            _ => Stream::State(state),
        };
        Ok(block)
    }
}

/// Reads a zlib stream's head (RFC 1950, section 2.2) off its first block.
fn zlib_head(input: &[u8]) -> Result<&[u8], DecodeError> {
    let Some(([method, flags, a, b, c, d], rest)) = input.split_first_chunk() else {
        return Err(DecodeError::Zlib("its head is cut short"));
    };
    // Method 8 is deflate, the four bits above are a window of at most 32 KiB.
    let window = method >> 4;
    if method & 0x0f != 8 || window > 7 || u16::from_be_bytes([*method, *flags]) % 31 != 0 {
        return Err(DecodeError::Zlib("its head is not zlib's"));
    }
    if flags & PRESET == 0 {
        return Err(DecodeError::Zlib("it has no preset dictionary"));
    }
    if u32::from_be_bytes([*a, *b, *c, *d]) != DICTIONARY_ID {
        return Err(DecodeError::Zlib("it has another preset dictionary"));
    }
    Ok(rest)
}

/// A state that stands behind `history`, at the start of a deflate block.
fn restart(history: &[u8]) -> Result<Box<Decompress>, DecodeError> {
    let mut state = Box::new(Decompress::new(false));
    for part in [DICTIONARY, history] {
        state
            .set_dictionary(part)
            .map_err(|_| DecodeError::Zlib("it cannot be taken up again"))?;
    }
    Ok(state)
}

/// Inflates all of `input`, in steps, so that a small block that stands for megabytes costs no more
/// than the limit and a step.
fn inflate(state: &mut Decompress, mut input: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let mut block = Vec::new();
    let mut step = [0_u8; 1024];
    loop {
        let (read, written) = advance(state, input, &mut step)?;
        input = input.get(read..).unwrap_or_default();
        block.extend_from_slice(step.get(..written).unwrap_or_default());
        if block.len() > limit {
            return Err(DecodeError::TooLong {
                what: "header block",
                len: block.len(),
                limit,
            });
        }
        if input.is_empty() && written < step.len() {
            return Ok(block);
        }
        if read == 0 && written == 0 {
            return Err(DecodeError::Zlib("bytes are left over"));
        }
    }
}

/// Sees to it that no deflate block is open, by the end of the stream that could come now.
fn at_block_start(state: &mut Decompress) -> Result<(), DecodeError> {
    let mut none = [0; 1];
    match state.decompress(&END, &mut none, FlushDecompress::Sync) {
        Ok(Status::StreamEnd) => Ok(()),
        _ => Err(DecodeError::Zlib("a block is not whole")),
    }
}

fn advance(
    state: &mut Decompress,
    input: &[u8],
    out: &mut [u8],
) -> Result<(usize, usize), DecodeError> {
    let (read, written) = (state.total_in(), state.total_out());
    match state.decompress(input, out, FlushDecompress::Sync) {
        Ok(Status::StreamEnd) => Err(DecodeError::Zlib("it ends before the connection does")),
        Ok(_) => {
            let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            Ok((
                count(state.total_in() - read),
                count(state.total_out() - written),
            ))
        }
        Err(_) => Err(DecodeError::Zlib("it is corrupt")),
    }
}

/// Most bytes that are kept in a state's place. Enough for some forty connections of a port-forward;
/// beyond it, starting anew for each block would cost more than the state does.
const MAX_HISTORY: usize = 2 << 10;

/// FDICT, in a zlib head's flags.
const PRESET: u8 = 0x20;

/// How a sync flush ends: an empty stored block's length.
const SYNC: [u8; 4] = [0, 0, 0xff, 0xff];

/// An empty stored block that is the last.
const END: [u8; 5] = [1, 0, 0, 0xff, 0xff];
