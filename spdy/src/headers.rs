//! Name/value blocks, inflated: a count, then each name and value behind its length, all of 32 bits.

use crate::error::DecodeError;
use crate::limits::Limits;

/// The headers of a block, in order. Names are in lower case, as SPDY demands; a value with several
/// parts has NUL between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The value of `name`, in whatever case it is written.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The parts of the value of `name`.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.get(name)
            .into_iter()
            .flat_map(|value| value.split('\0'))
    }

    /// Every name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads an inflated block, which must be that and nothing more.
    pub(crate) fn parse(mut block: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let count = number(&mut block)?;
        if count > limits.max_headers {
            return Err(DecodeError::TooManyHeaders(count));
        }
        let mut headers: Vec<(String, String)> = Vec::new();
        for _ in 0..count {
            let name = text(&mut block)?;
            let value = text(&mut block)?;
            if name.is_empty() {
                return Err(DecodeError::HeaderBlock("a name is empty"));
            }
            if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
                // spdystream ends the connection too.
                return Err(DecodeError::HeaderBlock("a name is not in lower case"));
            }
            if FORBIDDEN.contains(&name.as_str()) {
                return Err(DecodeError::HeaderBlock("a name belongs to a connection"));
            }
            if headers.iter().any(|(own, _)| *own == name) {
                return Err(DecodeError::HeaderBlock("a name comes twice"));
            }
            headers.push((name, value));
        }
        if !block.is_empty() {
            return Err(DecodeError::HeaderBlock("bytes follow the last header"));
        }
        Ok(Self(headers))
    }

    /// Writes a block, not deflated.
    pub(crate) fn write(headers: &[(&str, &str)], out: &mut Vec<u8>) {
        // Kubernetes sends four headers of a few bytes; more than 32 bits can count is not possible
        // in memory that 32 bits of headers would take.
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
        out.extend_from_slice(&number(headers.len()));
        for (name, value) in headers {
            out.extend_from_slice(&number(name.len()));
            out.extend(name.bytes().map(|byte| byte.to_ascii_lowercase()));
            out.extend_from_slice(&number(value.len()));
            out.extend_from_slice(value.as_bytes());
        }
    }
}

/// Names that SPDY forbids in its blocks, as they are about the connection (draft 3, sections 3.2.1
/// and 3.2.2). spdystream ends the connection on them, but takes `host` in replies.
const FORBIDDEN: [&str; 5] = [
    "connection",
    "host",
    "keep-alive",
    "proxy-connection",
    "transfer-encoding",
];

fn number(block: &mut &[u8]) -> Result<u32, DecodeError> {
    let (number, rest) = block
        .split_first_chunk()
        .ok_or(DecodeError::HeaderBlock("it ends within a number"))?;
    *block = rest;
    Ok(u32::from_be_bytes(*number))
}

fn text(block: &mut &[u8]) -> Result<String, DecodeError> {
    let len = number(block)?;
    let at = usize::try_from(len).unwrap_or(usize::MAX);
    let (text, rest) = block
        .split_at_checked(at)
        .ok_or(DecodeError::HeaderBlock("a length goes beyond its end"))?;
    *block = rest;
    match std::str::from_utf8(text) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(DecodeError::HeaderBlock("it is not UTF-8")),
    }
}
