//! A port-forward client by hand: SPDY inside `SPDY/3.1+portforward.k8s.io`, as client-go's
//! `NewSPDYOverWebsocketDialer` speaks it, but telling what arrives stream by stream.
#![allow(clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use streamway_e2e::https::{self, Connection};
use streamway_e2e::wsclient::WsClient;
use streamway_kstream::ws::{self, Decoder, Event, Opcode, Role};
use streamway_spdy::{Limits, Session, SessionEvent, Side, StreamId};

/// Something that came from the server.
#[derive(Debug)]
pub(crate) enum Happened {
    /// A stream of ours was accepted.
    Replied(StreamId),
    /// A run of a stream's bytes.
    Data {
        /// The stream.
        stream: StreamId,
        /// Its bytes.
        bytes: Vec<u8>,
        /// Its end.
        fin: bool,
    },
    /// A stream was reset.
    Reset(StreamId),
    /// The WebSocket was closed, with this code.
    Closed(u16),
    /// The connection ended, or the peer said that it will.
    End,
}

/// The two streams of a forwarded connection.
#[derive(Debug)]
pub(crate) struct Forwarded {
    /// Upstream's words where it fails.
    pub(crate) error: StreamId,
    /// Its bytes.
    pub(crate) data: StreamId,
}

/// A port-forward's one connection.
pub(crate) struct Tunnel {
    connection: Connection,
    ws: Decoder,
    /// WebSocket bytes that wait to be decoded.
    undecoded: Vec<u8>,
    /// SPDY bytes that wait for the rest of their frame.
    inner: Vec<u8>,
    session: Session,
    happened: VecDeque<Happened>,
    requests: u32,
}

impl Tunnel {
    /// Opens a tunnel that must be answered 101.
    pub(crate) fn open_to(address: &str) -> Result<Self> {
        let mut connection = https::connect(address, None)?;
        connection.write_all(
            b"GET /portForward/default/pod HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\n\
              Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
              Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n\r\n",
        )?;
        connection.flush()?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            connection
                .read_exact(&mut byte)
                .context("reading the answer")?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        ensure!(head.starts_with("HTTP/1.1 101 "), "answered {head}");
        Ok(Self {
            connection,
            ws: Decoder::new(Role::Client, ws::Limits::default()),
            undecoded: Vec::new(),
            inner: Vec::new(),
            session: Session::new(Side::Client, Limits::default()),
            happened: VecDeque::new(),
            requests: 0,
        })
    }

    /// Opens a connection to a port in the pod: the error stream, then the data stream, each once
    /// the one before was accepted.
    pub(crate) fn open(&mut self, port: u16) -> Result<Forwarded> {
        let request = self.requests.to_string();
        self.requests += 1;
        let port = port.to_string();
        let mut ids = Vec::new();
        for kind in ["error", "data"] {
            let mut frames = Vec::new();
            let headers = [
                ("streamtype", kind),
                ("port", port.as_str()),
                ("requestid", request.as_str()),
            ];
            let id = self.session.open(&headers, &mut frames)?;
            self.message(&frames)?;
            self.replied(id)?;
            ids.push(id);
            if kind == "error" {
                // client-go half-closes it at once: it only reads it.
                self.finish(id)?;
            }
        }
        Ok(Forwarded {
            error: ids[0],
            data: ids[1],
        })
    }

    /// Sends bytes on a stream.
    pub(crate) fn send(&mut self, stream: StreamId, bytes: &[u8]) -> Result<()> {
        for chunk in bytes.chunks(32 << 10) {
            let head = self
                .session
                .data_head(stream, u32::try_from(chunk.len())?, false)?;
            self.message(&[&head[..], chunk].concat())?;
        }
        Ok(())
    }

    /// Half-closes a stream.
    pub(crate) fn finish(&mut self, stream: StreamId) -> Result<()> {
        let mut frames = Vec::new();
        self.session.finish(stream, &mut frames)?;
        self.message(&frames)
    }

    /// Sends one binary message.
    pub(crate) fn message(&mut self, bytes: &[u8]) -> Result<()> {
        self.connection
            .write_all(&WsClient::frame(Opcode::Binary, true, bytes))?;
        Ok(self.connection.flush()?)
    }

    /// Looks at what arrives until `enough` says so; for `time` at most.
    pub(crate) fn until(
        &mut self,
        what: &str,
        time: Duration,
        mut enough: impl FnMut(&Happened) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + time;
        loop {
            while let Some(happened) = self.happened.pop_front() {
                if enough(&happened) {
                    return Ok(());
                }
                if matches!(happened, Happened::End) {
                    bail!("the connection ended before {what}");
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "waited {time:?} in vain for {what}");
            self.read(left)?;
        }
    }

    /// Waits for a stream's reply; what else arrives meanwhile is kept.
    fn replied(&mut self, id: StreamId) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let at = self
                .happened
                .iter()
                .position(|happened| matches!(happened, Happened::Replied(got) if *got == id));
            if let Some(at) = at {
                self.happened.remove(at);
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = matches!(self.happened.back(), Some(Happened::End));
            ensure!(!left.is_zero() && !ended, "stream {id:?} was not accepted");
            self.read(left)?;
        }
    }

    fn read(&mut self, time: Duration) -> Result<()> {
        self.connection.sock.set_read_timeout(Some(time))?;
        let mut chunk = [0; 16 << 10];
        match self.connection.read(&mut chunk) {
            Ok(count) if count > 0 => self.undecoded.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => self.happened.push_back(Happened::End),
        }
        while !self.undecoded.is_empty() {
            let decoded = self.ws.decode(&mut self.undecoded)?;
            match decoded.event {
                Some(Event::Payload { range, .. }) => {
                    self.inner.extend_from_slice(&self.undecoded[range]);
                }
                Some(Event::Close(code, _)) => {
                    let code = code.map_or(1005, |code| code.get());
                    self.happened.push_back(Happened::Closed(code));
                }
                None if decoded.consumed == 0 => break,
                _ => {}
            }
            self.undecoded.drain(..decoded.consumed);
        }
        self.spdy()
    }

    fn spdy(&mut self) -> Result<()> {
        let mut answers = Vec::new();
        while !self.inner.is_empty() {
            let handled = self.session.handle(&self.inner, &mut answers)?;
            let happened = match handled.event {
                Some(SessionEvent::Replied { id, .. }) => Some(Happened::Replied(id)),
                Some(SessionEvent::Data { id, range, fin, .. }) => Some(Happened::Data {
                    stream: id,
                    bytes: self.inner[range].to_vec(),
                    fin,
                }),
                Some(SessionEvent::Reset { id, .. }) => Some(Happened::Reset(id)),
                Some(SessionEvent::GoAway { .. }) => Some(Happened::End),
                None if handled.consumed == 0 => break,
                _ => None,
            };
            self.happened.extend(happened);
            self.inner.drain(..handled.consumed);
        }
        if !answers.is_empty() {
            self.message(&answers)?;
        }
        Ok(())
    }
}
