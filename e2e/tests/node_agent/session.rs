//! Exec sessions by WebSocket through the API server, frame by frame.

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::wsclient::{Seen, WsClient, channel};
use streamway_kstream::ws::Opcode;

use super::world::LONG;

/// Runs `echo hello` by a client that has nothing to fall back to.
pub(crate) fn hello(server: &str, pod: &str) -> Result<()> {
    let session = Session::ask(server, pod, "command=echo&command=hello&stdout=true")?;
    let seen = session.succeeds()?;
    ensure!(channel(&seen, 1) == b"hello\n", "{seen:?}");
    Ok(())
}

/// A session that echoes.
pub(crate) struct Session {
    client: WsClient,
    seen: Vec<Seen>,
}

impl Session {
    /// Opens one of `cat`; another answer than 101 is an error.
    pub(crate) fn open(server: &str, pod: &str) -> Result<Self> {
        Self::ask(server, pod, "command=cat&stdin=true&stdout=true")
    }

    fn ask(server: &str, pod: &str, query: &str) -> Result<Self> {
        let path = format!("/api/v1/namespaces/default/pods/{pod}/exec?{query}");
        let token = format!("Authorization: Bearer {}\r\n", Cluster::token("admin"));
        match WsClient::request(server, &path, "v5.channel.k8s.io", &token, b"")? {
            Ok(client) => Ok(Self {
                client,
                seen: Vec::new(),
            }),
            Err(answer) => bail!("answered {answer:?}"),
        }
    }

    /// Has it echo a word.
    pub(crate) fn echoes(&mut self, word: &str) -> Result<()> {
        let wanted = [channel(&self.seen, 1), word.into()].concat();
        let message = format!("\0{word}");
        self.client.send(Opcode::Binary, true, message.as_bytes())?;
        while channel(&self.seen, 1) != wanted {
            match self.client.next(LONG)? {
                None | Some(Seen::Close(_) | Seen::End) => bail!("cut: {:?}", self.seen),
                Some(other) => self.seen.push(other),
            }
        }
        Ok(())
    }

    /// Ends its input, so that the command ends well.
    pub(crate) fn ends_well(mut self) -> Result<()> {
        self.client.send(Opcode::Binary, true, b"\xff\0")?;
        self.succeeds().map(drop)
    }

    /// Waits for its end, whatever that is.
    pub(crate) fn ends(&mut self) -> Result<()> {
        let deadline = Instant::now() + LONG;
        while !matches!(self.seen.last(), Some(Seen::Close(_) | Seen::End)) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.client.next(left)? {
                None => bail!("no end: {:?}", self.seen),
                Some(other) => self.seen.push(other),
            }
        }
        Ok(())
    }

    /// Waits for its end, which has to be a success. Everything that came.
    fn succeeds(mut self) -> Result<Vec<Seen>> {
        self.ends()?;
        let status = String::from_utf8_lossy(&channel(&self.seen, 3)).into_owned();
        ensure!(status.contains("\"Success\""), "{status:?} {:?}", self.seen);
        Ok(self.seen)
    }
}
