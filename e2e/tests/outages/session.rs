//! An exec session of `cat`, frame by frame.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::https::Answer;
use streamway_e2e::wsclient::{Seen, WsClient, channel};
use streamway_kstream::ws::Opcode;

/// The longest that anything is waited for.
const LONG: Duration = Duration::from_secs(60);

/// A session that echoes.
pub(crate) struct Session {
    client: WsClient,
    seen: Vec<Seen>,
}

/// Asks for one: the session, or what was answered instead.
pub(crate) fn ask(address: &str) -> Result<Result<WsClient, Answer>> {
    let path = "/api/v1/namespaces/default/pods/box-node/exec?command=cat&stdin=true&stdout=true";
    let token = format!("Authorization: Bearer {}\r\n", Cluster::token("admin"));
    WsClient::request(address, path, "v5.channel.k8s.io", &token, b"")
}

impl Session {
    /// Opens one.
    pub(crate) fn open(address: &str) -> Result<Self> {
        match ask(address)? {
            Ok(client) => Ok(Self {
                client,
                seen: Vec::new(),
            }),
            Err(answer) => bail!("answered {answer:?}"),
        }
    }

    /// Several.
    pub(crate) fn several(address: &str, count: usize) -> Result<Vec<Self>> {
        (0..count).map(|_| Self::open(address)).collect()
    }

    /// Has it echo a word. False where it has ended.
    pub(crate) fn echoes(&mut self, word: &str) -> Result<bool> {
        let wanted = [channel(&self.seen, 1), word.into()].concat();
        let message = format!("\0{word}");
        if self
            .client
            .send(Opcode::Binary, true, message.as_bytes())
            .is_err()
        {
            return Ok(false);
        }
        while channel(&self.seen, 1) != wanted {
            if matches!(self.seen.last(), Some(Seen::Close(_) | Seen::End)) {
                return Ok(false);
            }
            match self.client.next(LONG)? {
                None => bail!("no echo of {word}: {:?}", self.seen),
                Some(other) => self.seen.push(other),
            }
        }
        Ok(true)
    }

    /// Ends its input, so that the command ends well.
    pub(crate) fn ends_well(mut self) -> Result<()> {
        self.client.send(Opcode::Binary, true, b"\xff\0")?;
        let status = self.status()?;
        ensure!(status.contains("\"Success\""), "{status}");
        Ok(())
    }

    /// Waits for its end, which has to be a failure. The status.
    pub(crate) fn fails(mut self) -> Result<String> {
        let status = self.status()?;
        ensure!(status.contains("\"Failure\""), "{status}");
        Ok(status)
    }

    fn status(&mut self) -> Result<String> {
        while !matches!(self.seen.last(), Some(Seen::Close(_) | Seen::End)) {
            match self.client.next(LONG)? {
                None => bail!("no end: {:?}", self.seen),
                Some(other) => self.seen.push(other),
            }
        }
        let status = String::from_utf8_lossy(&channel(&self.seen, 3)).into_owned();
        ensure!(!status.is_empty(), "no status: {:?}", self.seen);
        Ok(status)
    }
}
