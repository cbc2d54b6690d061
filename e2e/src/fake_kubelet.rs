//! A fake kubelet, for what a real one cannot be made to do: refuse with a chosen status, die in the
//! middle of a frame, answer nothing, talk nonsense.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::crypto::ring::default_provider;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;
use streamway_spdy::{Limits, RstStatus, Session, SessionEvent, Side, StreamId};

mod bomb;

/// What it does with an upgrade.
#[derive(Debug, Clone)]
pub enum Script {
    /// Answers with these bytes, and closes.
    Answer(String),
    /// Opens every stream, then sends what the function makes of the streams, then closes.
    Then(fn(&mut Streams) -> Vec<u8>),
    /// The same, but goes on reading, and answers pings.
    Hold(fn(&mut Streams) -> Vec<u8>),
    /// Reads requests and answers none.
    Stalled,
    /// Switches protocols, then opens no stream.
    Mute,
    /// Opens every stream, then reads and says nothing for ever.
    Silent,
    /// Opens every stream, then answers pings and nothing else.
    Idle,
}

/// The SPDY side of a session.
#[derive(Debug)]
pub struct Streams {
    session: Session,
    opened: Vec<(String, StreamId)>,
}

impl Streams {
    /// A DATA frame.
    pub fn data(&mut self, stream: &str, payload: &[u8], fin: bool) -> Vec<u8> {
        let id = self
            .opened
            .iter()
            .find(|(name, _)| name == stream)
            .map(|(_, id)| *id);
        let len = u32::try_from(payload.len()).unwrap_or_default();
        let head = id
            .and_then(|id| self.session.data_head(id, len, fin).ok())
            .unwrap_or_default();
        [&head[..], payload].concat()
    }

    /// An RST_STREAM frame.
    pub fn reset(&mut self, stream: &str) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some((_, id)) = self.opened.iter().find(|(name, _)| name == stream) {
            self.session.reset(*id, RstStatus::CANCEL, &mut out);
        }
        out
    }

    /// A HEADERS frame of 40 KiB that inflates to 6 MiB (CVE-2026-35469).
    pub fn bomb(&mut self, stream: &str) -> Vec<u8> {
        let id = self
            .opened
            .iter()
            .find(|(name, _)| name == stream)
            .map_or(1, |(_, id)| id.get());
        bomb::headers(id)
    }

    /// A GOAWAY frame.
    pub fn go_away(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        self.session.go_away(&mut out);
        out
    }

    /// The head of a DATA frame on a stream that announces the most that it can.
    pub fn huge_head(&mut self, stream: &str) -> Vec<u8> {
        let id = self
            .opened
            .iter()
            .find(|(name, _)| name == stream)
            .map_or(1, |(_, id)| id.get());
        [&id.to_be_bytes()[..], &[0, 0xff, 0xff, 0xff]].concat()
    }
}

/// A running fake.
#[derive(Debug)]
pub struct FakeKubelet {
    /// Where it listens.
    pub address: String,
    /// PING frames that it got.
    pub pings: Arc<AtomicUsize>,
    /// Connections that are open.
    pub open: Arc<AtomicUsize>,
}

impl FakeKubelet {
    /// Serves until the process ends. Only upgrades are scripted; other requests get 404.
    pub fn start(script: Script) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let pings = Arc::new(AtomicUsize::new(0));
        let open = Arc::new(AtomicUsize::new(0));
        let gauge = Arc::clone(&open);
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der())
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)?;
        let (config, counter) = (Arc::new(config), Arc::clone(&pings));
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (config, script, pings) =
                    (Arc::clone(&config), script.clone(), Arc::clone(&counter));
                let gauge = Arc::clone(&gauge);
                std::thread::spawn(move || {
                    gauge.fetch_add(1, Ordering::Relaxed);
                    let served = serve(connection, config, &script, &pings);
                    gauge.fetch_sub(1, Ordering::Relaxed);
                    served
                });
            }
        });
        Ok(Self {
            address,
            pings,
            open,
        })
    }
}

type Connection = StreamOwned<ServerConnection, TcpStream>;

fn serve(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    script: &Script,
    pings: &AtomicUsize,
) -> Result<()> {
    tcp.set_nodelay(true)?;
    let mut connection = StreamOwned::new(ServerConnection::new(config)?, tcp);
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    if !head.contains("upgrade: spdy/3.1") {
        let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        connection.write_all(answer.as_bytes())?;
        return Ok(connection.flush()?);
    }
    if let Script::Answer(answer) = script {
        connection.write_all(answer.as_bytes())?;
        connection.flush()?;
        connection.conn.send_close_notify();
        return Ok(connection.flush()?);
    }
    if matches!(script, Script::Stalled) {
        return Ok(drain(&mut connection)?);
    }
    let forwards = head.contains(" /portforward/");
    let protocol = if forwards {
        "portforward.k8s.io"
    } else {
        "v4.channel.k8s.io"
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\
         X-Stream-Protocol-Version: {protocol}\r\n\r\n"
    );
    connection.write_all(answer.as_bytes())?;
    connection.flush()?;
    if matches!(script, Script::Mute) {
        return Ok(drain(&mut connection)?);
    }
    // The error stream, and a forwarded connection's data stream or a command's as asked for.
    let asked = ["input=1", "output=1", "error=1"]
        .iter()
        .filter(|flag| head.contains(**flag))
        .count();
    let wanted = 1 + if forwards { 1 } else { asked };
    let mut streams = Streams {
        session: Session::new(Side::Server, Limits::default()),
        opened: Vec::new(),
    };
    while streams.opened.len() < wanted {
        read(&mut connection, &mut streams, pings, true)?;
    }
    match script {
        Script::Then(make) => {
            let bytes = make(&mut streams);
            connection.write_all(&bytes)?;
            connection.flush()?;
            // What is still unread would turn the close into a reset: both are ends that happen.
            Ok(())
        }
        Script::Silent => Ok(drain(&mut connection)?),
        Script::Hold(make) => {
            let bytes = make(&mut streams);
            connection.write_all(&bytes)?;
            connection.flush()?;
            loop {
                read(&mut connection, &mut streams, pings, true)?;
            }
        }
        _ => loop {
            read(&mut connection, &mut streams, pings, true)?;
        },
    }
}

/// Reads to the end, and answers nothing.
fn drain(connection: &mut Connection) -> std::io::Result<()> {
    let mut chunk = [0; 4096];
    while connection.read(&mut chunk)? > 0 {}
    Ok(())
}

fn read(
    connection: &mut Connection,
    streams: &mut Streams,
    pings: &AtomicUsize,
    answers: bool,
) -> Result<()> {
    connection
        .sock
        .set_read_timeout(Some(Duration::from_secs(300)))?;
    let mut chunk = [0; 4096];
    let count = connection.read(&mut chunk)?;
    let mut rest = chunk
        .get(..count)
        .filter(|rest| !rest.is_empty())
        .context("end")?;
    let mut out = Vec::new();
    while !rest.is_empty() {
        if rest.starts_with(&[0x80, 3, 0, 6]) {
            pings.fetch_add(1, Ordering::Relaxed);
        }
        let handled = streams.session.handle(rest, &mut out)?;
        if let Some(SessionEvent::Opened { id, headers, .. }) = handled.event {
            let name = headers.get("streamtype").unwrap_or_default().to_owned();
            streams.opened.push((name, id));
            streams.session.accept(id, &mut out)?;
        }
        rest = rest.get(handled.consumed..).unwrap_or_default();
    }
    if answers && !out.is_empty() {
        connection.write_all(&out)?;
        connection.flush()?;
    }
    Ok(())
}
