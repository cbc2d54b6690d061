//! `streamproxy gateway` before the API servers, as a process on the host.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Cluster;
use crate::access::AccessLog;
use crate::install::Kubectl as Which;
use crate::kubectl::Kubectl;
use crate::{https, run, wait};

/// The first gateway's port in slot 0, and that of its metrics.
const PORT: u16 = 16543;
const METRICS_PORT: u16 = 16643;

/// Gateways that a slot has ports for.
const GATEWAYS: u8 = 10;

/// What a gateway is to be.
#[derive(Debug, Clone)]
pub struct GatewayBuilder<'a> {
    cluster: &'a Cluster,
    name: String,
    program: Option<PathBuf>,
    telling: Telling,
    api_servers: Vec<String>,
    feature_gates: String,
    args: Vec<String>,
    ready: bool,
}

/// How users of client certificates are told to the API server.
#[derive(Debug, Clone, Copy)]
enum Telling {
    FrontProxy,
    Impersonation,
    Nobody,
}

/// A gateway that runs. It ends with its cluster.
#[derive(Debug, Clone)]
pub struct Gateway {
    /// Its process's name, `NAME-gateway`: for [`Cluster::kill_named`].
    pub name: String,
    /// Where it serves the API.
    pub url: String,
    /// The cluster's kubeconfig, all users and contexts, with this server.
    pub kubeconfig: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Its process.
    pub pid: u32,
    /// Where it serves `/metrics`, `/livez`, `/readyz`.
    pub metrics_address: String,
}

impl Cluster {
    /// A gateway with this name. One that is started again under its name has the same address.
    pub fn gateway(&self, name: &str) -> GatewayBuilder<'_> {
        GatewayBuilder {
            cluster: self,
            name: format!("{name}-gateway"),
            program: None,
            telling: Telling::FrontProxy,
            api_servers: self.urls(),
            feature_gates: String::new(),
            args: Vec::new(),
            ready: true,
        }
    }

    fn gateway_index(&self, name: &str) -> Result<u8> {
        let mut names = self.gateways.lock().unwrap_or_else(PoisonError::into_inner);
        let place = names.iter().position(|own| own == name);
        let place = place.unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        let index = u8::try_from(place).unwrap_or(u8::MAX);
        ensure!(
            index < GATEWAYS,
            "a cluster has {GATEWAYS} gateways at most"
        );
        Ok(index)
    }
}

impl GatewayBuilder<'_> {
    /// The `streamproxy` binary; [`crate::streamproxy`] is the default.
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = Some(program);
        self
    }

    /// Whether it has a front-proxy certificate, `CN=streamway-gateway`; it has by default. Without
    /// one it asks clients for no certificates.
    pub fn front_proxy(mut self, wanted: bool) -> Self {
        self.telling = if wanted {
            Telling::FrontProxy
        } else {
            Telling::Nobody
        };
        self
    }

    /// It has a credential instead, of user `streamway-gateway`, and impersonates. What that user may
    /// do is for the caller to say.
    pub fn impersonation(mut self) -> Self {
        self.telling = Telling::Impersonation;
        self
    }

    /// The API servers behind it; all of the cluster's are the default.
    pub fn apiservers(mut self, urls: &[String]) -> Self {
        self.api_servers = urls.to_vec();
        self
    }

    /// Its gates: `Name=false,…`.
    pub fn feature_gates(mut self, gates: &str) -> Self {
        gates.clone_into(&mut self.feature_gates);
        self
    }

    /// More flags.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|&arg| arg.to_owned()).collect();
        self
    }

    /// Whether it will get ready. Where not, it is waited for until it says why.
    pub fn ready(mut self, ready: bool) -> Self {
        self.ready = ready;
        self
    }

    /// Starts it, and waits until it is ready.
    pub fn up(&self) -> Result<Gateway> {
        let (cluster, name) = (self.cluster, &self.name);
        let index = cluster.gateway_index(name)?;
        let host = cluster.host_address();
        let address = format!("{host}:{}", cluster.port(PORT, index));
        let metrics_address = format!("{host}:{}", cluster.port(METRICS_PORT, index));
        let url = format!("https://{address}");
        let kubeconfig = cluster.file(&format!("{name}.users.kubeconfig"));
        fs::write(&kubeconfig, cluster.users_kubeconfig(&url))?;
        let mut command = self.command(host)?;
        command.args(["--listen", &address, "--metrics-listen", &metrics_address]);
        command.args(&self.args);
        let gateway = Gateway {
            name: name.clone(),
            url,
            kubeconfig,
            log: cluster.log(name),
            pid: cluster.start(name, &mut command)?,
            metrics_address,
        };
        wait::until("the gateway is ready", Duration::from_secs(20), || {
            let said = gateway.readiness()?;
            let ready = !said.contains("[-]");
            let explained = said.contains("[+]apiserver") && !said.contains("not yet");
            ensure!(ready || !self.ready && explained, "{said}");
            Ok(Some(()))
        })
        .with_context(|| run::tail_of(&gateway.log, 5))?;
        Ok(gateway)
    }

    fn command(&self, host: String) -> Result<Command> {
        let (cluster, name) = (self.cluster, &self.name);
        let program = match &self.program {
            Some(program) => program.clone(),
            None => crate::streamproxy()?,
        };
        let mut command = Command::new(program);
        command.args(["gateway", "--logging-format", "json"]);
        command.args(["--apiserver", &self.api_servers.join(",")]);
        let mut file = |flag: &str, path: PathBuf| {
            command.arg(flag).arg(path);
        };
        file("--certificate-authority", cluster.file("ca.crt"));
        let serving = cluster
            .authority
            .server(name, &[host, "localhost".into(), "127.0.0.1".into()])?;
        file("--tls-cert-file", serving.certificate);
        file("--tls-private-key-file", serving.key);
        let own = format!("{name}-client");
        match self.telling {
            Telling::FrontProxy => {
                let pair = cluster.front_proxy.client(&own, USER, &[])?;
                file("--client-ca-file", cluster.file("ca.crt"));
                file("--proxy-client-cert-file", pair.certificate);
                file("--proxy-client-key-file", pair.key);
            }
            Telling::Impersonation => {
                let pair = cluster.authority.client(&own, USER, &[])?;
                file("--client-ca-file", cluster.file("ca.crt"));
                file("--kubeconfig", cluster.write_kubeconfig(name, &pair)?);
            }
            Telling::Nobody => {}
        }
        if !self.feature_gates.is_empty() {
            command.args(["--feature-gates", &self.feature_gates]);
        }
        Ok(command)
    }
}

/// The gateway's own name to the API server.
const USER: &str = "streamway-gateway";

impl Gateway {
    /// kubectl 1.37 through it, as a user of the cluster.
    pub fn kubectl(&self, user: &str) -> Result<Kubectl> {
        self.kubectl_of(Which::Current, user)
    }

    /// kubectl 1.28 through it, which speaks SPDY only, as the administrator.
    pub fn kubectl_spdy(&self) -> Result<Kubectl> {
        self.kubectl_of(Which::SpdyOnly, "admin")
    }

    fn kubectl_of(&self, which: Which, user: &str) -> Result<Kubectl> {
        let kubectl = Kubectl::new(which, self.kubeconfig.clone(), user)?;
        Ok(kubectl.through(self.account()))
    }

    /// Its access log's lines.
    pub fn access_log(&self) -> Vec<Value> {
        self.account().lines()
    }

    /// Waits until its access log has `count` ended sessions of a subresource, and tells them.
    pub fn sessions(&self, subresource: &str, count: usize) -> Result<Vec<Value>> {
        self.account().sessions(subresource, count)
    }

    fn account(&self) -> AccessLog {
        AccessLog::of(self.log.clone())
    }

    /// Its `/readyz?verbose`.
    pub fn readiness(&self) -> Result<String> {
        let answer = https::get_plain(&self.metrics_address, "/readyz?verbose")?;
        Ok(answer.body)
    }

    /// Its metrics, as Prometheus reads them.
    pub fn metrics(&self) -> Result<String> {
        let answer = https::get_plain(&self.metrics_address, "/metrics")?;
        ensure!(answer.status == 200, "/metrics: {}", answer.status);
        Ok(answer.body)
    }
}
