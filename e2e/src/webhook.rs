//! The webhook as processes on the host, beside a cluster, and the Service that leads API servers to them.
//!
//! What it is to serve, and its rights, are those of the shipped manifests.

mod authorization;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use streamway_crds::names;

use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::product::repository;
use crate::{OLD_API_SERVER, https, run, wait};

pub use authorization::{Authorization, server_certificate};

/// How long things may take that are done at once.
pub const SOON: Duration = Duration::from_secs(20);

/// A replica of the webhook, as a process on the host.
#[derive(Debug)]
pub struct Replica<'a> {
    cluster: &'a Cluster,
    program: PathBuf,
    /// Its process's name.
    pub name: String,
    port: u16,
    metrics_address: String,
    flags: Vec<String>,
}

/// Everything that the webhook needs in a cluster: what it reads of our API, its rights as they are shipped,
/// and a Service whose endpoints are said by [`Replica::join`].
pub fn install(kubectl: &Kubectl) -> Result<()> {
    for kind in ["accessexemptions", "nodestreamings"] {
        let path = repository().join(format!("crds/yaml/{kind}.yaml"));
        kubectl.ok(&["apply", "--server-side", "-f", &path.to_string_lossy()])?;
    }
    kubectl.ok(&["create", "namespace", names::SYSTEM_NAMESPACE])?;
    for file in [
        "webhook/roles.yaml",
        "webhook/secret.yaml",
        "controller/cluster-role.yaml",
    ] {
        apply(kubectl, file)?;
    }
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": names::WEBHOOK, "namespace": names::SYSTEM_NAMESPACE},
        "spec": {"ports": [{"name": "https", "port": 443}]},
    });
    kubectl.apply(&service.to_string())
}

/// The configuration of `/mutate/node-status`, as it is shipped.
pub const CONFIGURATION: &str = "webhook/mutatingwebhookconfiguration.yaml";

/// Where a file of the shipped manifests is.
pub fn base(file: &str) -> PathBuf {
    repository().join("config/base").join(file)
}

/// Applies a file of the shipped manifests; what kubectl said.
pub fn apply(kubectl: &Kubectl, file: &str) -> Result<String> {
    kubectl.ok(&["apply", "-f", &base(file).to_string_lossy()])
}

impl<'a> Replica<'a> {
    /// Starts one with more flags, as the ServiceAccount that the manifests give rights to.
    pub fn start(cluster: &'a Cluster, index: usize, flags: &[&str]) -> Result<Self> {
        Self::start_build(cluster, index, &program()?, flags)
    }

    /// The same of another build.
    pub fn start_build(
        cluster: &'a Cluster,
        index: usize,
        program: &Path,
        flags: &[&str],
    ) -> Result<Self> {
        let host = cluster.host_address();
        let (port, metrics) = (free_port(&host)?, free_port(&host)?);
        let this = Self {
            cluster,
            program: program.to_owned(),
            name: format!("webhook-{index}"),
            port,
            metrics_address: format!("{host}:{metrics}"),
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
        };
        this.start_again()?;
        Ok(this)
    }

    /// Starts it where it was.
    pub fn start_again(&self) -> Result<()> {
        let listen = self.address();
        let mut command = Command::new(&self.program);
        command.args([
            "--listen",
            &listen,
            "--metrics-listen",
            &self.metrics_address,
        ]);
        command
            .args(["--shutdown-delay-duration", "3s"])
            .args(&self.flags);
        command.arg("--kubeconfig").arg(kubeconfig(self.cluster)?);
        self.cluster.start(&self.name, &mut command).map(drop)
    }

    /// Where it serves API servers, with a certificate for its Service.
    pub fn address(&self) -> String {
        format!("{}:{}", self.cluster.host_address(), self.port)
    }

    /// Waits until it says that it is ready.
    pub fn ready(&self) -> Result<()> {
        let log = || run::tail_of(&self.cluster.log(&self.name), 10);
        wait::until("the webhook is ready", SOON, || {
            let ready = https::get_plain(&self.metrics_address, "/readyz")?;
            ensure!(ready.status == 200, "{}", ready.body);
            Ok(Some(()))
        })
        .with_context(log)
    }

    /// Makes it an endpoint of the Service, as the controller does with a pod that is ready. API servers
    /// 1.28 look at Endpoints, of which a Service has one; others at the slices.
    pub fn join(&self, kubectl: &Kubectl) -> Result<()> {
        self.ready()?;
        let address = self.cluster.host_address();
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": self.name, "namespace": names::SYSTEM_NAMESPACE,
                "labels": {"kubernetes.io/service-name": names::WEBHOOK},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": self.port}],
        });
        if self.cluster.version() != OLD_API_SERVER {
            return kubectl.apply(&slice.to_string());
        }
        let endpoints = json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"name": names::WEBHOOK, "namespace": names::SYSTEM_NAMESPACE},
            "subsets": [{
                "addresses": [{"ip": address}],
                "ports": [{"name": "https", "port": self.port}],
            }],
        });
        kubectl.apply(&endpoints.to_string())
    }

    /// Takes it out of the Service, as the controller does with a pod that goes.
    pub fn leave(&self, kubectl: &Kubectl) -> Result<()> {
        let target = [
            "delete",
            "endpointslice",
            &self.name,
            "-n",
            names::SYSTEM_NAMESPACE,
        ];
        kubectl.ok(&target).map(drop)
    }

    /// Ends it as a kubelet does: a SIGTERM, out of the Service once it says that it is not ready, and
    /// then its own end.
    pub fn drain(&self, kubectl: &Kubectl) -> Result<()> {
        let pid = self.cluster.terminate_named(&self.name)?;
        wait::until("it says that it drains", SOON, || {
            let ready = https::get_plain(&self.metrics_address, "/readyz")?;
            Ok((ready.status == 500 && ready.body.contains("draining")).then_some(()))
        })?;
        self.leave(kubectl)?;
        wait::until("it ended", SOON, || {
            Ok((!PathBuf::from(format!("/proc/{pid}")).exists()).then_some(()))
        })
    }

    /// The sum of its counters of this name whose labels hold `label`.
    pub fn counted(&self, name: &str, label: &str) -> Result<f64> {
        let metrics = https::get_plain(&self.metrics_address, "/metrics")?;
        ensure!(metrics.status == 200, "/metrics: {}", metrics.status);
        let lines = metrics.body.lines().filter(|line| {
            let named = line.strip_prefix(name);
            named.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
        });
        Ok(lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    /// How often it was asked.
    pub fn asked(&self) -> Result<f64> {
        self.counted("streamway_webhook_requests_total", "")
    }
}

/// `$WEBHOOK`, or the program that cargo built beside the tests.
fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("WEBHOOK") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let path = test.ancestors().nth(2).unwrap_or(&test).join("webhook");
    ensure!(
        path.exists(),
        "there is no {}: cargo build -p streamway-webhook, or cargo xtask test",
        path.display()
    );
    Ok(path)
}

/// A kubeconfig of the ServiceAccount: its name in a certificate has its rights.
fn kubeconfig(cluster: &Cluster) -> Result<PathBuf> {
    let user = format!(
        "system:serviceaccount:{}:{}",
        names::SYSTEM_NAMESPACE,
        names::WEBHOOK
    );
    let pair = cluster
        .authority()
        .client("webhook", &user, &["system:serviceaccounts"])?;
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {
            "server": cluster.url(), "certificate-authority": cluster.file("ca.crt"),
        }}],
        "users": [{"name": "u", "user": {
            "client-certificate": pair.certificate, "client-key": pair.key,
        }}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    let path = cluster.file("webhook.kubeconfig");
    fs::write(&path, config.to_string())?;
    Ok(path)
}

fn free_port(host: &str) -> Result<u16> {
    Ok(TcpListener::bind((host, 0))?.local_addr()?.port())
}
