//! Replicas of the webhook on the host, and the Service that leads API servers to them.

mod faults;
pub(crate) mod kubelets;
pub(crate) mod load;
mod switches;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use streamway_crds::names;
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::product::repository;
use streamway_e2e::{https, run, wait};

/// How long things may take that are done at once.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Shortest certificates, so that rotations can be watched.
const FLAGS: [&str; 4] = ["--certificate-duration", "1m", "--ca-duration", "4m"];

/// A replica of the webhook, as a process on the host.
#[derive(Debug)]
pub(crate) struct Replica<'a> {
    cluster: &'a Cluster,
    /// Its process's name.
    pub(crate) name: String,
    port: u16,
    metrics_address: String,
}

/// Everything that the webhook needs in a cluster: our API, its rights as they are shipped, its
/// configuration, and a Service whose endpoints are said by [`Replica::join`].
pub(crate) fn install(kubectl: &Kubectl) -> Result<()> {
    let crds = repository().join("crds");
    kubectl.ok(&["apply", "--server-side", "-k", &crds.to_string_lossy()])?;
    kubectl.ok(&["create", "namespace", names::SYSTEM_NAMESPACE])?;
    for file in [
        "webhook/roles.yaml",
        "webhook/secret.yaml",
        "controller/cluster-role.yaml",
        CONFIGURATION,
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

/// The webhook's configuration, as it is shipped.
pub(crate) const CONFIGURATION: &str = "webhook/mutatingwebhookconfiguration.yaml";

/// Where a file of the shipped manifests is.
pub(crate) fn base(file: &str) -> PathBuf {
    repository().join("config/base").join(file)
}

/// Applies a file of the shipped manifests; what kubectl said.
pub(crate) fn apply(kubectl: &Kubectl, file: &str) -> Result<String> {
    kubectl.ok(&["apply", "-f", &base(file).to_string_lossy()])
}

impl<'a> Replica<'a> {
    /// Starts one, as the ServiceAccount that the manifests give rights to.
    pub(crate) fn start(cluster: &'a Cluster, index: usize) -> Result<Self> {
        let host = cluster.host_address();
        let (port, metrics) = (free_port(&host)?, free_port(&host)?);
        let this = Self {
            cluster,
            name: format!("webhook-{index}"),
            port,
            metrics_address: format!("{host}:{metrics}"),
        };
        this.start_again()?;
        Ok(this)
    }

    /// Starts it where it was.
    pub(crate) fn start_again(&self) -> Result<()> {
        let listen = format!("{}:{}", self.cluster.host_address(), self.port);
        let mut command = Command::new(program()?);
        command.args([
            "--listen",
            &listen,
            "--metrics-listen",
            &self.metrics_address,
        ]);
        command
            .args(["--shutdown-delay-duration", "3s"])
            .args(FLAGS);
        command.arg("--kubeconfig").arg(kubeconfig(self.cluster)?);
        self.cluster.start(&self.name, &mut command).map(drop)
    }

    /// Waits until it says that it is ready.
    pub(crate) fn ready(&self) -> Result<()> {
        let log = || run::tail_of(&self.cluster.log(&self.name), 10);
        wait::until("the webhook is ready", SOON, || {
            let ready = https::get_plain(&self.metrics_address, "/readyz")?;
            ensure!(ready.status == 200, "{}", ready.body);
            Ok(Some(()))
        })
        .with_context(log)
    }

    /// Makes it an endpoint of the Service, as the controller does with a pod that is ready.
    pub(crate) fn join(&self, kubectl: &Kubectl) -> Result<()> {
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
        kubectl.apply(&slice.to_string())
    }

    /// Takes it out of the Service, as the controller does with a pod that goes.
    pub(crate) fn leave(&self, kubectl: &Kubectl) -> Result<()> {
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
    pub(crate) fn drain(&self, kubectl: &Kubectl) -> Result<()> {
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
    pub(crate) fn counted(&self, name: &str, label: &str) -> Result<f64> {
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
    pub(crate) fn asked(&self) -> Result<f64> {
        self.counted("streamway_webhook_requests_total", "")
    }
}

/// Whether the caBundle holds every CA of the Secret, and nothing else.
pub(crate) fn announced(kubectl: &Kubectl) -> Result<bool> {
    let path = "jsonpath={.webhooks[0].clientConfig.caBundle}";
    let configuration = [
        "get",
        "mutatingwebhookconfiguration",
        names::WEBHOOK_CONFIGURATION,
    ];
    let bundle = kubectl.ok(&[&configuration[..], &["-o", path]].concat())?;
    let secret = secret(kubectl)?;
    let authorities = ["ca.crt", "next-ca.crt", "old-ca.crt"].map(|key| secret.get(key));
    let mut wanted = Vec::new();
    for authority in authorities.into_iter().flatten().filter_map(Value::as_str) {
        wanted.extend(STANDARD.decode(authority)?);
    }
    Ok(!wanted.is_empty() && STANDARD.decode(bundle)? == wanted)
}

/// The Secret's data, in base64.
pub(crate) fn secret(kubectl: &Kubectl) -> Result<Value> {
    let target = [
        "get",
        "secret",
        names::WEBHOOK_SECRET,
        "-n",
        names::SYSTEM_NAMESPACE,
    ];
    let secret = kubectl.ok(&[&target[..], &["-o", "jsonpath={.data}"]].concat())?;
    Ok(serde_json::from_str(&secret)?)
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
