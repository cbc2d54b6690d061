//! Lines of bounded length.

use std::io::{self, BufRead, Read};

/// The longest line that is read; events with bodies of requests and answers are some MiB.
const MOST: u64 = 64 << 20;

/// A line with its number, from 1.
pub(super) struct Line<'l> {
    pub(super) number: u64,
    /// None where it is too long.
    pub(super) text: Option<&'l [u8]>,
}

#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
            number: 0,
        }
    }

    /// The next line that is not blank, if there is one.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            self.line.clear();
            let read = self
                .input
                .by_ref()
                .take(MOST)
                .read_until(b'\n', &mut self.line)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            let whole = self.line.last() == Some(&b'\n') || (read as u64) < MOST;
            if !whole {
                self.line = Vec::new();
                self.input.skip_until(b'\n')?;
                return Ok(Some(Line {
                    number: self.number,
                    text: None,
                }));
            }
            if !self.line.trim_ascii().is_empty() {
                break;
            }
        }
        Ok(Some(Line {
            number: self.number,
            text: Some(self.line.trim_ascii()),
        }))
    }
}
