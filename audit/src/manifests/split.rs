//! Documents of a stream, one after the other, so that a broken one does not take the next with it.

use std::io::{self, BufRead};

/// The longest document that is read: `kubectl get -o json` of 200,000 bindings.
pub(super) const MOST: usize = 256 << 20;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Cuts a stream at its document markers. By YAML 1.2 §9.1.2 a line that begins with `---` or `...` is
/// one wherever it stands, in block scalars and quoted ones too. JSON values need none between them.
#[derive(Debug)]
pub(super) struct Documents<R> {
    input: R,
    /// The number of the line in `next`.
    line: u32,
    next: Vec<u8>,
    /// Whether `next` belongs to the next document, and if so whether it is whole.
    held: Option<bool>,
    text: Vec<u8>,
    most: usize,
}

/// Bytes between two markers.
#[derive(Debug, PartialEq)]
pub(super) struct Document<'d> {
    /// Of the first byte, from 1.
    pub(super) line: u32,
    /// None where they are too many.
    pub(super) text: Option<&'d [u8]>,
}

impl<R: BufRead> Documents<R> {
    pub(super) fn new(input: R, most: usize) -> Self {
        Self {
            input,
            line: 0,
            next: Vec::new(),
            held: None,
            text: Vec::new(),
            most,
        }
    }

    /// The next document that is not empty.
    pub(super) fn next(&mut self) -> io::Result<Option<Document<'_>>> {
        self.text.clear();
        let mut state = State::default();
        let mut first = self.line + 1;
        let mut whole = true;
        loop {
            let fits = match std::mem::take(&mut self.held) {
                Some(fits) => fits,
                None => match self.read_line()? {
                    Some(fits) => fits,
                    None => break,
                },
            };
            if state.ends_before(&self.next) {
                self.held = Some(fits);
                if state.content {
                    break;
                }
                // Nothing but comments stood before it.
                self.text.clear();
                state = State::default();
                whole = true;
                continue;
            }
            if self.text.is_empty() {
                first = self.line;
            }
            state.see(&self.next);
            whole &= fits && self.text.len() + self.next.len() <= self.most;
            if whole {
                self.text.extend_from_slice(&self.next);
            }
            if is_marker(&self.next, b"...") {
                if state.content {
                    break;
                }
                self.text.clear();
                state = State::default();
                whole = true;
            }
        }
        Ok(state.content.then(|| Document {
            line: first,
            text: whole.then_some(self.text.as_slice()),
        }))
    }

    /// Reads a line into `next`; of one that does not fit, the first bytes. Whether it fits; none at
    /// the end.
    fn read_line(&mut self) -> io::Result<Option<bool>> {
        self.next.clear();
        let mut fits = true;
        let mut any = false;
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                break;
            }
            any = true;
            let end = available.iter().position(|&byte| byte == b'\n');
            let taken = end.map_or(available.len(), |end| end + 1);
            // The start of every line is needed: it may be a marker.
            let room = self.most.max(MARKER) - self.next.len();
            fits &= taken <= room;
            let piece = available.get(..taken.min(room)).unwrap_or_default();
            self.next.extend_from_slice(piece);
            self.input.consume(taken);
            if end.is_some() {
                break;
            }
        }
        if self.line == 0 && self.next.starts_with(BOM) {
            self.next.drain(..BOM.len());
        }
        self.line = self.line.saturating_add(u32::from(any));
        Ok(any.then_some(fits))
    }
}

/// Bytes that tell a marker.
const MARKER: usize = 4;

/// What a document holds so far.
#[derive(Debug, Default)]
struct State {
    /// More than comments, directives and a marker.
    content: bool,
    started: bool,
    json: bool,
    /// Whether the last line that was not blank ended a JSON object.
    closed: bool,
}

impl State {
    /// Whether a line belongs to the next document.
    fn ends_before(&self, line: &[u8]) -> bool {
        let object = self.json && self.closed && line.first() == Some(&b'{');
        object || (is_marker(line, b"---") && (self.content || self.started))
    }

    fn see(&mut self, line: &[u8]) {
        let mut rest = line;
        if is_marker(line, b"---") {
            self.started = true;
            rest = line.get(3..).unwrap_or_default();
        } else if is_marker(line, b"...") {
            return;
        }
        let rest = rest.trim_ascii();
        let directive = !self.started && !self.content && rest.first() == Some(&b'%');
        if rest.is_empty() || rest.first() == Some(&b'#') || directive {
            return;
        }
        if !self.content {
            self.json = rest.first() == Some(&b'{');
        }
        self.content = true;
        self.closed = rest.last() == Some(&b'}');
    }
}

/// Whether a line is a marker, with whatever may follow on its line.
fn is_marker(line: &[u8], marker: &[u8]) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documents with their lines; `-` for one that is too long.
    fn split(text: &str, most: usize) -> Vec<(u32, String)> {
        let mut documents = Documents::new(io::BufReader::with_capacity(5, text.as_bytes()), most);
        let mut found = Vec::new();
        while let Some(document) = documents.next().unwrap() {
            let text = document.text.unwrap_or(b"-");
            found.push((document.line, String::from_utf8(text.to_vec()).unwrap()));
        }
        found
    }

    #[test]
    fn documents() {
        let table: [(&str, &[(u32, &str)]); 14] = [
            ("", &[]),
            ("\n\n# nothing\n---\n---\n# nothing\n---\n", &[]),
            ("a: 1", &[(1, "a: 1")]),
            ("a: 1\n---\nb: 2\n", &[(1, "a: 1\n"), (2, "---\nb: 2\n")]),
            (
                "---\n# Source: x\na: 1\n---\nb: 2",
                &[(1, "---\n# Source: x\na: 1\n"), (4, "---\nb: 2")],
            ),
            ("%YAML 1.2\n---\na: 1\n", &[(1, "%YAML 1.2\n---\na: 1\n")]),
            (
                "--- {a: 1}\r\n--- {b: 2}\r\n",
                &[(1, "--- {a: 1}\r\n"), (2, "--- {b: 2}\r\n")],
            ),
            ("a: 1\n...\nb: 2\n", &[(1, "a: 1\n...\n"), (3, "b: 2\n")]),
            ("...\n...\na: 1\n", &[(3, "a: 1\n")]),
            ("a: |\n  ---\n  x\n", &[(1, "a: |\n  ---\n  x\n")]),
            ("a: ---x\n---x\n", &[(1, "a: ---x\n---x\n")]),
            (
                "{\"a\": 1}\n{\"b\": 2}\n",
                &[(1, "{\"a\": 1}\n"), (2, "{\"b\": 2}\n")],
            ),
            (
                "{\"a\": [\n{\"b\": 2},\n{\"c\": 3}\n]}\n",
                &[(1, "{\"a\": [\n{\"b\": 2},\n{\"c\": 3}\n]}\n")],
            ),
            ("\u{feff}a: 1\n", &[(1, "a: 1\n")]),
        ];
        for (text, expected) in table {
            let found = split(text, MOST);
            let found: Vec<_> = found.iter().map(|(line, text)| (*line, &**text)).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn a_document_that_is_too_long_is_left_out() {
        let long = format!("a: 1\n---\nb: {}\nc: 3\n---\nd: 4\n", "x".repeat(100));
        let expected = ["a: 1\n", "-", "---\nd: 4\n"];
        let found: Vec<_> = split(&long, 20).into_iter().map(|(_, text)| text).collect();
        assert_eq!(found, expected);
        assert_eq!(split(&"x".repeat(1000), 20), [(1, "-".to_owned())]);
    }
}
