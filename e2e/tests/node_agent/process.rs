//! An agent's process, in its node's network.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use streamway_e2e::access::AccessLog;
use streamway_e2e::https;
use streamway_e2e::{run, wait};

use super::world::{LONG, World};

/// How long sessions of one that is told to end may run on.
const GRACE: &str = "120s";

/// An agent. It ends with the cluster, or by a signal.
pub(crate) struct Agent<'a> {
    world: &'a World<'a>,
    /// Its own, and its pod's.
    name: String,
}

impl<'a> Agent<'a> {
    /// One that was started before.
    pub(crate) fn of(world: &'a World<'a>, name: &str) -> Self {
        let name = name.to_owned();
        Self { world, name }
    }

    /// Starts one, and waits for nothing.
    pub(crate) fn start(world: &'a World<'a>, node: &str, name: &str) -> Result<Self> {
        Self::start_by(world, node, name, &[])
    }

    /// The same, by another command in front.
    pub(crate) fn start_by(
        world: &'a World<'a>,
        node: &str,
        name: &str,
        front: &[&str],
    ) -> Result<Self> {
        let cluster = world.cluster;
        let this = Self::of(world, name);
        let program = streamway_e2e::streamproxy()?;
        let words: Vec<&Path> = front.iter().map(Path::new).chain([&*program]).collect();
        let (first, rest) = words.split_first().context("a command")?;
        let mut command = cluster.in_node(cluster.node(node)?, first);
        command.args(rest).args(["node", "--rotate-certificates"]);
        command.args([
            "--traffic",
            "NodeStreaming",
            "--kubelet-insecure-skip-tls-verify",
        ]);
        command.args([
            "--metrics-listen",
            "0.0.0.0:10351",
            "--hostname-override",
            node,
        ]);
        command.args(["--pod-name", name, "--logging-format", "json", "-v", "4"]);
        command.args([
            "--shutdown-delay-duration",
            "3s",
            "--shutdown-grace-period",
            GRACE,
        ]);
        command
            .arg("--bootstrap-kubeconfig")
            .arg(world.bootstrap(node)?);
        command.arg("--cert-dir").arg(this.certificates());
        command.arg("--admin-socket").arg(this.socket());
        let serving = |extension: &str| cluster.file(&format!("{node}-kubelet.{extension}"));
        command.arg("--tls-cert-file").arg(serving("crt"));
        command.arg("--tls-private-key-file").arg(serving("key"));
        cluster.start(name, &mut command)?;
        Ok(this)
    }

    /// Its `--cert-dir`.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.world.cluster.file(&format!("{}-pki", self.name))
    }

    /// The file that holds its certificate and key.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.certificates().join("streamway-client-current.pem")
    }

    fn socket(&self) -> PathBuf {
        self.world.cluster.file(&format!("{}.sock", self.name))
    }

    /// What it answers on its own socket: nothing where it is well.
    pub(crate) fn check(&self, endpoint: &str) -> Result<()> {
        let mut check = Command::new(streamway_e2e::streamproxy()?);
        check.args(["check", "--endpoint", endpoint, "--admin-socket"]);
        run::output(check.arg(self.socket())).map(drop)
    }

    /// Waits until it is ready by its own socket.
    pub(crate) fn ready(&self) -> Result<()> {
        wait::until("the agent is ready", LONG, || {
            self.check("/readyz").map(Some)
        })
        .with_context(|| run::tail_of(&self.world.cluster.log(&self.name), 8))
    }

    /// Its metrics, by its own socket.
    pub(crate) fn metrics(&self) -> Result<String> {
        let mut stream = std::os::unix::net::UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(https::PATIENCE))?;
        write!(stream, "GET /metrics HTTP/1.0\r\n\r\n")?;
        Ok(std::io::read_to_string(stream)?)
    }

    /// Waits until its log says something, and tells the line.
    pub(crate) fn says(&self, words: &str) -> Result<String> {
        let log = self.world.cluster.log(&self.name);
        wait::until(&format!("the log says {words:?}"), LONG, || {
            let text = fs::read_to_string(&log)?;
            Ok(text
                .lines()
                .find(|line| line.contains(words))
                .map(str::to_owned))
        })
        .with_context(|| run::tail_of(&log, 8))
    }

    /// Sessions that ended at it.
    pub(crate) fn sessions(&self) -> Vec<Value> {
        let mut lines = AccessLog::of(self.world.cluster.log(&self.name)).lines();
        lines.retain(|line| line["message"] == "session");
        lines
    }

    /// Its process's number.
    pub(crate) fn pid(&self) -> Result<String> {
        let file = self.world.cluster.file(&format!("{}.pid", self.name));
        Ok(fs::read_to_string(file)?.trim().to_owned())
    }

    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.pid()?;
        run::output(&mut run::command("kill", [signal, &*pid])).map(drop)
    }

    /// SIGKILL, until it is gone.
    pub(crate) fn kill(&self) -> Result<()> {
        self.world.cluster.kill_named(&self.name)
    }

    /// Waits until its process is gone.
    pub(crate) fn gone(&self) -> Result<()> {
        let pid = self.pid()?;
        wait::until("the agent ends", LONG, || {
            Ok((!Path::new(&format!("/proc/{pid}")).exists()).then_some(()))
        })
    }
}

/// The address at which the API server reaches a node.
pub(crate) fn address(world: &World<'_>, node: &str, port: u16) -> Result<String> {
    let node = world.cluster.node(node)?;
    Ok(format!("{}:{port}", world.cluster.address(node)))
}

/// Whether something answers TLS there within a second.
pub(crate) fn answers(address: &str) -> bool {
    let asked = https::connect(address, None).and_then(|mut connection| {
        let patience = Some(Duration::from_secs(1));
        connection.sock.set_read_timeout(patience)?;
        while connection.conn.is_handshaking() {
            connection.conn.complete_io(&mut connection.sock)?;
        }
        Ok(())
    });
    asked.is_ok()
}
