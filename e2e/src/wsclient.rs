//! A WebSocket client by hand: tests send frames that no library would, and read as slowly as they
//! like.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use streamway_kstream::ws::{self, Decoder, Event, Opcode, Role};

use crate::https::{self, Answer, Connection};

/// What came from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A binary message.
    Message(Vec<u8>),
    /// A text message, which no Kubernetes server sends.
    Text(Vec<u8>),
    /// An answer to a ping, or one unasked.
    Pong,
    /// The server's end, with its code.
    Close(u16),
    /// The connection ended.
    End,
}

/// An open session.
#[derive(Debug)]
pub struct WsClient {
    /// The connection below.
    pub connection: Connection,
    decoder: Decoder,
    /// Bytes that were read and not decoded yet.
    pending: Vec<u8>,
    message: Vec<u8>,
}

/// The query for a command with these streams, as a kubelet takes it.
pub fn exec_path(command: &[&str], stdin: bool) -> String {
    let words: Vec<String> = command
        .iter()
        .map(|word| format!("command={word}"))
        .collect();
    let input = if stdin { "&input=1" } else { "" };
    format!(
        "/exec/default/pod/container?{}&output=1&error=1{input}",
        words.join("&")
    )
}

impl WsClient {
    /// Asks for `v5.channel.k8s.io`; `early` is sent in the same write as the request. The session,
    /// or what was answered instead of 101.
    pub fn open(address: &str, path: &str, early: &[u8]) -> Result<Result<Self, Answer>> {
        Self::request(address, path, "v5.channel.k8s.io", "", early)
    }

    /// The same for another subprotocol, and with headers (each with its line's end).
    pub fn request(
        address: &str,
        path: &str,
        subprotocol: &str,
        headers: &str,
        early: &[u8],
    ) -> Result<Result<Self, Answer>> {
        let mut connection = https::connect(address, None)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {subprotocol}\r\n{headers}\r\n"
        );
        connection.write_all(&[request.as_bytes(), early].concat())?;
        connection.flush()?;
        let mut head = Vec::new();
        let end = loop {
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let mut chunk = [0; 4096];
            let count = connection.read(&mut chunk).context("reading the answer")?;
            ensure!(count > 0, "no answer");
            head.extend_from_slice(chunk.get(..count).unwrap_or_default());
        };
        let rest = head.split_off(end);
        let text = String::from_utf8_lossy(&head).into_owned();
        let status = text
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or(0);
        if status != 101 {
            let length = text.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse::<usize>().ok())?
            });
            let mut body = rest;
            while length.is_none_or(|length| body.len() < length) {
                let mut chunk = [0; 4096];
                match connection.read(&mut chunk) {
                    Ok(count) if count > 0 => {
                        body.extend_from_slice(chunk.get(..count).unwrap_or_default())
                    }
                    _ => break,
                }
            }
            let body = format!("{text}{}", String::from_utf8_lossy(&body));
            return Ok(Err(Answer { status, body }));
        }
        let decoder = Decoder::new(Role::Client, ws::Limits::default());
        Ok(Ok(Self {
            connection,
            decoder,
            pending: rest,
            message: Vec::new(),
        }))
    }

    /// Opens a session that must be answered 101.
    pub fn exec(address: &str, command: &[&str], stdin: bool) -> Result<Self> {
        match Self::open(address, &exec_path(command, stdin), b"")? {
            Ok(session) => Ok(session),
            Err(answer) => bail!("answered {answer:?}"),
        }
    }

    /// One frame, masked.
    pub fn frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
        let mask = [7, 77, 177, 200];
        let head = ws::encode_head(opcode, fin, payload.len() as u64, Some(mask));
        let masked = payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask);
        head.as_slice().iter().copied().chain(masked).collect()
    }

    /// Sends one frame.
    pub fn send(&mut self, opcode: Opcode, fin: bool, payload: &[u8]) -> Result<()> {
        self.raw(&Self::frame(opcode, fin, payload))
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.connection.write_all(bytes)?;
        Ok(self.connection.flush()?)
    }

    /// The next thing that comes within `time`; `None` if nothing does.
    pub fn next(&mut self, time: Duration) -> Result<Option<Seen>> {
        let deadline = Instant::now() + time;
        loop {
            while !self.pending.is_empty() {
                let decoded = self.decoder.decode(&mut self.pending)?;
                let seen = match decoded.event {
                    Some(Event::Payload {
                        kind, range, end, ..
                    }) => {
                        self.message
                            .extend_from_slice(self.pending.get(range).unwrap_or_default());
                        end.then(|| {
                            let message = std::mem::take(&mut self.message);
                            match kind {
                                ws::MessageKind::Binary => Seen::Message(message),
                                ws::MessageKind::Text => Seen::Text(message),
                            }
                        })
                    }
                    Some(Event::Pong(_)) => Some(Seen::Pong),
                    Some(Event::Close(code, _)) => {
                        Some(Seen::Close(code.map_or(1005, |code| code.get())))
                    }
                    _ => None,
                };
                self.pending.drain(..decoded.consumed);
                if seen.is_some() {
                    return Ok(seen);
                }
                if decoded.consumed == 0 {
                    break;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.connection.sock.set_read_timeout(Some(left))?;
            let mut chunk = [0; 16 << 10];
            match self.connection.read(&mut chunk) {
                Ok(0) => return Ok(Some(Seen::End)),
                Ok(count) => self
                    .pending
                    .extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return Ok(Some(Seen::End)),
            }
        }
    }

    /// Everything until the server closes or nothing came for `time`.
    pub fn rest(&mut self, time: Duration) -> Result<Vec<Seen>> {
        let mut all = Vec::new();
        while let Some(seen) = self.next(time)? {
            let last = matches!(seen, Seen::End);
            all.push(seen);
            if last {
                break;
            }
        }
        Ok(all)
    }
}

/// The bytes of a channel, over all messages.
pub fn channel(seen: &[Seen], channel: u8) -> Vec<u8> {
    let messages = seen.iter().filter_map(|seen| match seen {
        Seen::Message(message) => message
            .split_first()
            .filter(|(first, _)| **first == channel),
        _ => None,
    });
    messages
        .flat_map(|(_, rest)| rest.iter().copied())
        .collect()
}
