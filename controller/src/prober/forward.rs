//! port-forward by `SPDY/3.1+portforward.k8s.io`: SPDY inside WebSocket messages, as kubectl's
//! `NewSPDYOverWebsocketDialer` speaks it.

use kube::Client;
use streamway_kstream::subprotocol::Subprotocol;
use streamway_spdy::{Limits, Session, SessionEvent, Side, StreamId};

use super::Target;
use super::exec::{payload, same};
use super::socket::{ProbeError, Socket};

/// A connection to `port` in the pod that sends back what it gets.
pub(super) async fn forward(client: &Client, target: &Target, port: u16) -> Result<(), ProbeError> {
    let subprotocol = Subprotocol::PortForwardTunnel;
    let query = format!("ports={port}");
    let socket = Socket::open(client, target, "portforward", &query, subprotocol).await?;
    let mut tunnel = Tunnel {
        socket,
        session: Session::new(Side::Client, Limits::default()),
        inner: Vec::new(),
    };
    let port = port.to_string();
    // In this order, each once the one before was accepted; the error stream is only read.
    let error = tunnel.open("error", &port).await?;
    tunnel.finish(error).await?;
    let data = tunnel.open("data", &port).await?;
    let sent = payload();
    for chunk in sent.chunks(16 << 10) {
        tunnel.send(data, chunk).await?;
    }
    let mut came = Vec::new();
    while came.len() < sent.len() {
        match tunnel.next().await? {
            Happened::Data(stream, bytes) if stream == data => came.extend(bytes),
            Happened::Data(stream, bytes) if stream == error && !bytes.is_empty() => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                return Err(ProbeError::Wrong(text));
            }
            Happened::Reset(stream) if stream == data => {
                return Err(ProbeError::Wrong("the connection was reset".to_owned()));
            }
            _ => {}
        }
    }
    same("the connection", &came, &sent)?;
    tunnel.finish(data).await?;
    tunnel.socket.close().await;
    Ok(())
}

/// A port-forward's one connection.
struct Tunnel {
    socket: Socket,
    session: Session,
    /// SPDY bytes that wait for the rest of their frame.
    inner: Vec<u8>,
}

/// Something that the server did.
enum Happened {
    Replied(StreamId),
    Data(StreamId, Vec<u8>),
    Reset(StreamId),
}

impl Tunnel {
    async fn open(&mut self, kind: &str, port: &str) -> Result<StreamId, ProbeError> {
        let mut frames = Vec::new();
        let headers = [("streamtype", kind), ("port", port), ("requestid", "0")];
        let opened = self.session.open(&headers, &mut frames);
        let id = opened.map_err(|error| ProbeError::Wrong(error.to_string()))?;
        self.socket.send(frames).await?;
        loop {
            match self.next().await? {
                Happened::Replied(stream) if stream == id => return Ok(id),
                Happened::Reset(stream) if stream == id => {
                    return Err(ProbeError::Wrong(format!("the {kind} stream was refused")));
                }
                Happened::Data(_, bytes) if !bytes.is_empty() => {
                    let text = String::from_utf8_lossy(&bytes).into_owned();
                    return Err(ProbeError::Wrong(text));
                }
                _ => {}
            }
        }
    }

    async fn send(&mut self, stream: StreamId, bytes: &[u8]) -> Result<(), ProbeError> {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let head = self.session.data_head(stream, length, false);
        let head = head.map_err(|error| ProbeError::Wrong(error.to_string()))?;
        self.socket.send([&head, bytes].concat()).await
    }

    async fn finish(&mut self, stream: StreamId) -> Result<(), ProbeError> {
        let mut frames = Vec::new();
        let finished = self.session.finish(stream, &mut frames);
        finished.map_err(|error| ProbeError::Wrong(error.to_string()))?;
        self.socket.send(frames).await
    }

    async fn next(&mut self) -> Result<Happened, ProbeError> {
        loop {
            let mut answers = Vec::new();
            let handled = self.session.handle(&self.inner, &mut answers);
            let handled = handled.map_err(|error| ProbeError::Wrong(error.to_string()))?;
            let more = handled.event.is_none();
            let happened = match handled.event {
                Some(SessionEvent::Replied { id, .. }) => Some(Happened::Replied(id)),
                Some(SessionEvent::Data { id, range, .. }) => {
                    let bytes = self.inner.get(range).unwrap_or_default().to_vec();
                    Some(Happened::Data(id, bytes))
                }
                Some(SessionEvent::Reset { id, .. }) => Some(Happened::Reset(id)),
                Some(SessionEvent::GoAway { .. }) => {
                    return Err(ProbeError::Wrong("the server goes away".to_owned()));
                }
                _ => None,
            };
            self.inner.drain(..handled.consumed);
            if !answers.is_empty() {
                self.socket.send(answers).await?;
            }
            if let Some(happened) = happened {
                return Ok(happened);
            }
            if more {
                let closed = || ProbeError::Wrong("closed before its time".to_owned());
                let message = self.socket.next().await?.ok_or_else(closed)?;
                self.inner.extend(message);
            }
        }
    }
}
