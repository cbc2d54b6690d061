//! The two translators that promises are held against, and upstream's kubelet side; see
//! `bench/peer`.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run::{self, command};
use crate::{cache, streamproxy, wait};

/// Whose translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `streamproxy node`.
    Ours,
    /// kube-apiserver's.
    Upstream,
}

/// A server that is killed when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: String,
    log: tempfile::NamedTempFile,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(address: String, command: &mut Command) -> Result<Self> {
        let log = tempfile::NamedTempFile::new()?;
        let child = run::start(command, log.path())?;
        let server = Self {
            child,
            address,
            log,
        };
        wait::until("the server listens", Duration::from_secs(20), || {
            Ok(TcpStream::connect(&server.address).map(Some)?)
        })
        .with_context(|| server.said())?;
        Ok(server)
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log's last lines.
    pub fn said(&self) -> String {
        run::tail_of(self.log.path(), 20)
    }

    /// Its resident memory in KiB.
    pub fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
    }

    /// Its open descriptors.
    pub fn descriptors(&self) -> Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid()))?.count())
    }
}

/// Upstream's CRI streaming server on a kubelet's paths.
pub fn kubelet() -> Result<Server> {
    kubelet_at(&free_address()?)
}

/// The same on a chosen address.
pub fn kubelet_at(address: &str) -> Result<Server> {
    Server::start(
        address.to_owned(),
        command(peer()?, ["kubelet", "--listen", address]).env("GOTRACEBACK", "single"),
    )
}

/// A translator before the kubelet at `kubelet`.
pub fn translator(target: Target, kubelet: &str) -> Result<Server> {
    match target {
        Target::Ours => ours(kubelet, &[]),
        Target::Upstream => {
            let (address, kubelet) = (free_address()?, format!("https://{kubelet}"));
            let args = ["proxy", "--listen", &address, "--upstream", &kubelet];
            Server::start(address.clone(), &mut command(peer()?, args))
        }
    }
}

/// `streamproxy node` before the kubelet at `kubelet`, open to everyone, with flags of its own.
pub fn ours(kubelet: &str, flags: &[&str]) -> Result<Server> {
    ours_with_metrics(kubelet, &free_address()?, flags)
}

/// The same, with `/metrics` and `/readyz` on a chosen address.
pub fn ours_with_metrics(kubelet: &str, metrics: &str, flags: &[&str]) -> Result<Server> {
    let (address, kubelet) = (free_address()?, format!("https://{kubelet}"));
    let mut ours = command(
        streamproxy()?,
        ["node", "--listen", &address, "--kubelet", &kubelet],
    );
    ours.args(["--kubelet-insecure-skip-tls-verify", "--anonymous-auth"])
        .args(["--authorization-mode", "AlwaysAllow"])
        .args(["--metrics-listen", metrics])
        .args(flags);
    Server::start(address, &mut ours)
}

/// Runs client-go's load on a server: `mode` and flags. What it printed.
pub fn load(address: &str, args: &[&str]) -> Result<String> {
    let url = format!("https://{address}");
    run::output(command(peer()?, ["load", "-url", &url]).args(args))
}

/// `bench/peer`, built once.
pub fn peer() -> Result<&'static Path> {
    static PEER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = PEER.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/peer");
        let path = cache::root().join("peer").join("peer");
        let build = || -> Result<PathBuf> {
            let _lock = cache::lock("peer/build")?;
            let mut go = command("go", ["build", "-o"]);
            go.arg(&path)
                .arg(".")
                .current_dir(source)
                .env("CGO_ENABLED", "0");
            run::output(&mut go).context("building bench/peer; is Go 1.26 or later there?")?;
            Ok(path.clone())
        };
        build().map_err(|error| format!("{error:#}"))
    });
    built.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}

/// An address that nobody listens on now.
pub fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// What `peer` told of one kind of event, as lines of JSON between others in its log.
pub fn told(log: &Path, event: &str) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let wanted = |line: &Value| line.get("event").and_then(Value::as_str) == Some(event);
    lines.filter(wanted).collect()
}
