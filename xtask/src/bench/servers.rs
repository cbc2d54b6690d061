//! The servers that are measured, all on loopback, before one kubelet or one API server.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use streamway_e2e::pki::{Authority, Pair};
use streamway_e2e::run::{self, command};
use streamway_e2e::wait;

use super::rows::{Before, Load};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// `streamproxy node` or `streamproxy gateway`.
    Ours,
    /// kube-apiserver's translator and tunnel.
    Translator,
    /// haproxy with TLS on both sides: it relays SPDY and translates nothing. In TCP mode before a kubelet,
    /// in HTTP mode before an API server.
    Haproxy,
}

impl Target {
    pub(super) fn all(before: Before) -> &'static [Self] {
        match before {
            Before::Kubelet => &[Self::Ours, Self::Translator, Self::Haproxy],
            Before::ApiServer => &[Self::Ours, Self::Haproxy],
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Translator => "translator",
            Self::Haproxy => "haproxy",
        }
    }
}

/// The kubelet and the API server, and how to start the others.
#[derive(Debug)]
pub(super) struct Servers {
    ours: PathBuf,
    peer: PathBuf,
    folder: tempfile::TempDir,
    kubelet: String,
    api_server: String,
    /// What the API server shows, and the servers before it.
    pair: Pair,
    _running: [Running; 2],
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
        let authority = Authority::new(folder.path(), "ca")?;
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let pair = authority.server("server", &hosts)?;
        let pem = [fs::read(&pair.certificate)?, fs::read(&pair.key)?].concat();
        fs::write(folder.path().join("haproxy.pem"), pem)?;
        let (kubelet, api_server) = (free_address()?, free_address()?);
        let serve = |verb: &str, address: &str, more: &mut dyn FnMut(&mut Command)| {
            let mut server = command(&peer, [verb, "--listen", address]);
            more(&mut server);
            start(&server, address, &folder.path().join(format!("{verb}.log")))
        };
        let running = [
            serve("kubelet", &kubelet, &mut |_| ())?,
            serve("apiserver", &api_server, &mut |server| {
                server
                    .args(["--kubelet", &format!("https://{kubelet}")])
                    .arg("--tls-cert-file")
                    .arg(&pair.certificate)
                    .arg("--tls-private-key-file")
                    .arg(&pair.key);
            })?,
        ];
        Ok(Self {
            ours,
            peer,
            folder,
            kubelet,
            api_server,
            pair,
            _running: running,
        })
    }

    /// Starts a target, warms it up, loads it, and tells what the load measured.
    pub(super) fn load(&self, target: Target, load: &Load) -> Result<Value> {
        let address = free_address()?;
        let server = self.command(target, load.before, &address)?;
        let log = self.folder.path().join(format!("{}.log", target.name()));
        let running = start(&server, &address, &log)?;
        let ask = |load: &Load| {
            let mut peer = command(&self.peer, ["load", "-mode", load.mode]);
            peer.args(["-url", &format!("https://{address}")])
                .args(["-pid", &running.0.id().to_string()])
                .args(["-mib", &load.mib.to_string()])
                .args(["-sessions", &load.sessions.to_string()])
                .args(["-rounds", &load.rounds.to_string()]);
            if load.before == Before::ApiServer {
                peer.args(["-api", "-direct", &format!("https://{}", self.api_server)]);
            }
            if load.http2 {
                peer.arg("-http2");
            }
            if target == Target::Haproxy {
                peer.arg("-spdy");
            }
            run::output(&mut peer)
                .with_context(|| format!("{}: {}", target.name(), run::tail_of(&log, 5)))
        };
        ask(&Load {
            mode: "rate",
            sessions: 2,
            rounds: 16,
            ..*load
        })?;
        let text = ask(load)?;
        serde_json::from_str(&text).with_context(|| format!("the load printed {text:?}"))
    }

    fn command(&self, target: Target, before: Before, address: &str) -> Result<Command> {
        let kubelet = format!("https://{}", self.kubelet);
        let mut server = match (target, before) {
            (Target::Ours, Before::Kubelet) => {
                let mut server = command(&self.ours, ["node", "--kubelet", &kubelet]);
                server
                    .args(["--kubelet-insecure-skip-tls-verify", "--anonymous-auth"])
                    .args(["--authorization-mode", "AlwaysAllow"]);
                server
            }
            (Target::Ours, Before::ApiServer) => {
                let mut server = command(&self.ours, ["gateway", "--apiserver"]);
                server
                    .arg(format!("https://{}", self.api_server))
                    .arg("--certificate-authority")
                    .arg(self.folder.path().join("ca.crt"))
                    .arg("--tls-cert-file")
                    .arg(&self.pair.certificate)
                    .arg("--tls-private-key-file")
                    .arg(&self.pair.key);
                server
            }
            (Target::Translator, _) => command(&self.peer, ["proxy", "--upstream", &kubelet]),
            (Target::Haproxy, _) => {
                let mut server = command("haproxy", ["-db", "-f"]);
                server.arg(self.haproxy_config(before, address)?);
                return Ok(server);
            }
        };
        server.args(["--listen", address]);
        if target == Target::Ours {
            server.args(["--metrics-listen", &free_address()?]);
        }
        Ok(server)
    }

    /// `prefer-client-ciphers`, because haproxy's own order begins with AES-256, and the load's, which the
    /// other targets follow, with AES-128.
    fn haproxy_config(&self, before: Before, address: &str) -> Result<PathBuf> {
        let path = self.folder.path().join("haproxy.cfg");
        let pem = self.folder.path().join("haproxy.pem");
        let (mode, alpn, server, more) = match before {
            Before::Kubelet => ("tcp", "http/1.1", &self.kubelet, ""),
            Before::ApiServer => (
                "http",
                "h2,http/1.1",
                &self.api_server,
                "  timeout tunnel 1h\n  http-reuse always\n",
            ),
        };
        let text = format!(
            "global\n  nbthread 2\n  maxconn 4000\ndefaults\n  mode {mode}\n  timeout connect 10s\n  \
             timeout client 1h\n  timeout server 1h\n{more}frontend front\n  \
             bind {address} ssl crt {} alpn {alpn} prefer-client-ciphers\n  \
             default_backend back\nbackend back\n  \
             server upstream {server} ssl verify none\n",
            pem.display(),
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
