//! API servers that ask `/authorize`: by the samples of `config/`, with this cluster's addresses and files.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use streamway_crds::names::{SYSTEM_NAMESPACE, WEBHOOK_SECRET};

use super::Replica;
use crate::OLD_API_SERVER;
use crate::cluster::Cluster;
use crate::pki::Pair;
use crate::product::repository;

/// The sample's conditions are for pods; these are for nodes as well, as it says.
const PODS_ONLY: &str = "request.resourceAttributes.resource == 'pods' &&";
const NODES_TOO: &str = "request.resourceAttributes.resource == 'nodes' && \
     request.resourceAttributes.subresource == 'proxy' || \
     request.resourceAttributes.resource == 'pods' &&";

/// What an API server is told about a webhook before RBAC.
#[derive(Debug)]
pub struct Authorization {
    flags: Vec<String>,
}

impl Authorization {
    /// The samples, for `replica` at `path`. What it answers is remembered for a second, not ten.
    pub fn sample(replica: &Replica<'_>, path: &str) -> Result<Self> {
        Self::at(replica.cluster, &replica.address(), path)
    }

    /// The same for the webhook at an address.
    pub fn at(cluster: &Cluster, address: &str, path: &str) -> Result<Self> {
        let kubeconfig = kubeconfig(cluster, address, path)?;
        let kubeconfig = kubeconfig.to_string_lossy();
        if cluster.version() == OLD_API_SERVER {
            let flags = [
                "--authorization-mode=Webhook,Node,RBAC",
                "--authorization-webhook-version=v1",
                "--authorization-webhook-cache-authorized-ttl=1s",
                "--authorization-webhook-cache-unauthorized-ttl=1s",
            ];
            let mut flags = flags.map(str::to_owned).to_vec();
            flags.push(format!("--authorization-webhook-config-file={kubeconfig}"));
            return Ok(Self { flags });
        }
        let sample = sample("authorization-configuration.yaml")?;
        let known = sample.contains(PODS_ONLY) && sample.contains("TTL: 10s");
        ensure!(known, "{sample}");
        let configuration = sample
            .replace(
                "/etc/kubernetes/streamway/authorize.kubeconfig",
                &kubeconfig,
            )
            .replace("TTL: 10s", "TTL: 1s")
            .replace(PODS_ONLY, NODES_TOO);
        let file = cluster.file("authorization.yaml");
        fs::write(&file, configuration)?;
        let flags = vec![format!("--authorization-config={}", file.display())];
        Ok(Self { flags })
    }

    /// Starts the first API server again, with it.
    pub fn restart(&self, cluster: &Cluster) -> Result<()> {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        cluster.restart_api_server_with(0, &flags)
    }
}

/// The certificate that API servers show to aggregated ones.
pub fn server_certificate(cluster: &Cluster) -> Result<Pair> {
    let name = "front-proxy-client";
    cluster.front_proxy_authority().client(name, name, &[])
}

fn kubeconfig(cluster: &Cluster, address: &str, path: &str) -> Result<PathBuf> {
    let secret = ["get", "secret", WEBHOOK_SECRET, "-n", SYSTEM_NAMESPACE];
    let data = [
        "-o",
        "go-template={{index .data \"ca.crt\" | base64decode}}",
    ];
    let authority = cluster.file("webhook-ca.crt");
    let pem = cluster.kubectl()?.ok(&[&secret[..], &data].concat())?;
    fs::write(&authority, pem)?;
    let pair = server_certificate(cluster)?;
    let text = sample("authorize.kubeconfig")?
        .replace("10.96.0.99:443/authorize", &format!("{address}{path}"))
        .replace(
            "/etc/kubernetes/streamway/ca.crt",
            &authority.to_string_lossy(),
        )
        .replace(
            "/etc/kubernetes/pki/front-proxy-client.crt",
            &pair.certificate.to_string_lossy(),
        )
        .replace(
            "/etc/kubernetes/pki/front-proxy-client.key",
            &pair.key.to_string_lossy(),
        );
    let file = cluster.file("authorize.kubeconfig");
    fs::write(&file, text)?;
    Ok(file)
}

fn sample(name: &str) -> Result<String> {
    let path = repository().join("config/samples/access").join(name);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}
