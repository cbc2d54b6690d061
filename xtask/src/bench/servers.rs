//! The servers that are measured, all on loopback, before one kubelet.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use streamway_e2e::pki::Authority;
use streamway_e2e::run::{self, command};
use streamway_e2e::wait;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// `streamproxy node`.
    Ours,
    /// kube-apiserver's translator and tunnel.
    Translator,
    /// haproxy in TCP mode with TLS on both sides: it relays SPDY and translates nothing.
    Haproxy,
}

impl Target {
    pub(super) const ALL: [Self; 3] = [Self::Ours, Self::Translator, Self::Haproxy];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Translator => "translator",
            Self::Haproxy => "haproxy",
        }
    }
}

/// The kubelet, and how to start the others.
#[derive(Debug)]
pub(super) struct Servers {
    ours: PathBuf,
    peer: PathBuf,
    folder: tempfile::TempDir,
    kubelet: String,
    _kubelet: Running,
}

/// A server that is killed when it is dropped.
#[derive(Debug)]
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Servers {
    pub(super) fn start(ours: PathBuf, peer: PathBuf) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let kubelet = free_address()?;
        let mut command = Command::new(&peer);
        command.args(["kubelet", "--listen", &kubelet]);
        let running = start(&command, &kubelet, &folder.path().join("kubelet.log"))?;
        let authority = Authority::new(folder.path(), "ca")?;
        let pair =
            authority.server("haproxy", &["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let pem = [fs::read(&pair.certificate)?, fs::read(&pair.key)?].concat();
        fs::write(folder.path().join("haproxy.pem"), pem)?;
        Ok(Self {
            ours,
            peer,
            folder,
            kubelet,
            _kubelet: running,
        })
    }

    /// Starts a target, warms it up, loads it, and tells what the load measured.
    pub(super) fn load(
        &self,
        target: Target,
        mode: &str,
        mib: u32,
        sessions: u32,
        rounds: u32,
    ) -> Result<Value> {
        let address = free_address()?;
        let server = self.command(target, &address)?;
        let log = self.folder.path().join(format!("{}.log", target.name()));
        let running = start(&server, &address, &log)?;
        let pid = running.0.id().to_string();
        let url = format!("https://{address}");
        let load = |mode: &str, mib: &str, sessions: &str, rounds: &str| {
            let mut load = command(
                &self.peer,
                ["load", "-url", &url, "-pid", &pid, "-mode", mode],
            );
            load.args(["-mib", mib, "-sessions", sessions, "-rounds", rounds]);
            if target == Target::Haproxy {
                load.arg("-spdy");
            }
            run::output(&mut load)
                .with_context(|| format!("{}: {}", target.name(), run::tail_of(&log, 5)))
        };
        load("rate", "0", "2", "16")?;
        let text = load(
            mode,
            &mib.to_string(),
            &sessions.to_string(),
            &rounds.to_string(),
        )?;
        serde_json::from_str(&text).with_context(|| format!("the load printed {text:?}"))
    }

    fn command(&self, target: Target, address: &str) -> Result<Command> {
        let kubelet = format!("https://{}", self.kubelet);
        let server = match target {
            Target::Ours => {
                let metrics = free_address()?;
                let mut server = command(
                    &self.ours,
                    ["node", "--listen", address, "--kubelet", &kubelet],
                );
                server.args(["--kubelet-insecure-skip-tls-verify", "--anonymous-auth"]);
                server.args([
                    "--authorization-mode",
                    "AlwaysAllow",
                    "--metrics-listen",
                    &metrics,
                ]);
                server
            }
            Target::Translator => command(
                &self.peer,
                ["proxy", "--listen", address, "--upstream", &kubelet],
            ),
            Target::Haproxy => {
                let config = self.haproxy_config(address)?;
                let mut server = command("haproxy", ["-db", "-f"]);
                server.arg(config);
                server
            }
        };
        Ok(server)
    }

    /// `prefer-client-ciphers`, because haproxy's own order begins with AES-256, and the load's, which the
    /// other targets follow, with AES-128.
    fn haproxy_config(&self, address: &str) -> Result<PathBuf> {
        let path = self.folder.path().join("haproxy.cfg");
        let pem = self.folder.path().join("haproxy.pem");
        let text = format!(
            "global\n  nbthread 2\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 10s\n  \
             timeout client 1h\n  timeout server 1h\nfrontend front\n  \
             bind {address} ssl crt {} alpn http/1.1 prefer-client-ciphers\n  \
             default_backend back\nbackend back\n  \
             server kubelet {} ssl verify none\n",
            pem.display(),
            self.kubelet
        );
        fs::write(&path, text)?;
        Ok(path)
    }
}

/// An address that nobody listens on now.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// Starts a server that the kernel kills when this process is gone, however it went: it has a process
/// group of its own, so a Ctrl-C does not reach it. `setpriv` becomes the server, with the same pid.
fn start(server: &Command, address: &str, log: &Path) -> Result<Running> {
    let mut bound = command("setpriv", ["--pdeathsig", "KILL", "--"]);
    bound.arg(server.get_program()).args(server.get_args());
    let running = Running(run::start(&mut bound, log)?);
    wait::until("the server listens", Duration::from_secs(20), || {
        Ok(TcpStream::connect(address).map(Some)?)
    })
    .with_context(|| run::tail_of(log, 5))?;
    Ok(running)
}
