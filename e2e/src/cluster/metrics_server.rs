//! The metrics server, on the host, and the way to it through the API server's aggregation.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Cluster;
use crate::{build, run, wait};

/// Its port in slot 0.
const PORT: u16 = 16743;
/// Its Service's and its process's name.
const NAME: &str = "metrics-server";

impl Cluster {
    /// Starts it, and waits until `kubectl top` has numbers of every node: it needs two looks at each,
    /// ten seconds apart.
    pub(super) fn start_metrics_server(&self) -> Result<()> {
        let hosts = [self.host_address(), format!("{NAME}.kube-system.svc")];
        let serving = self.authority.server(NAME, &hosts)?;
        let kubeconfig = self.kubeconfig();
        let mut server = Command::new(build::metrics_server()?);
        for (name, file) in [
            ("kubeconfig", &kubeconfig),
            ("authentication-kubeconfig", &kubeconfig),
            ("authorization-kubeconfig", &kubeconfig),
            ("tls-cert-file", &serving.certificate),
            ("tls-private-key-file", &serving.key),
            ("kubelet-certificate-authority", &self.file("ca.crt")),
        ] {
            server.arg(format!("--{name}={}", file.display()));
        }
        server.arg(format!("--bind-address={}", self.host_address()));
        server.arg(format!("--secure-port={}", self.port(PORT, 0)));
        server.args([
            "--kubelet-preferred-address-types=InternalIP",
            // The shortest that it takes, and longer than a look at a kubelet may last.
            "--metric-resolution=10s",
            "--kubelet-request-timeout=5s",
        ]);
        self.start(NAME, &mut server)?;
        let kubectl = self.kubectl()?;
        kubectl.apply(&self.aggregation()?.to_string())?;
        let nodes: Vec<&str> = self.plan.nodes.iter().map(|node| &*node.name).collect();
        wait::until("kubectl top works", Duration::from_secs(90), || {
            let told = kubectl.ok(&["top", "nodes", "--no-headers"])?;
            let has = |node: &&str| told.lines().any(|line| line.starts_with(*node));
            Ok(nodes.iter().all(has).then_some(()))
        })
        .with_context(|| run::tail_of(&self.log(NAME), 5))
    }

    /// An API that leads to a Service without a selector, whose one endpoint is the process. API
    /// servers before 1.34 look at Endpoints, later ones at EndpointSlices.
    fn aggregation(&self) -> Result<Value> {
        let metadata = json!({ "name": NAME, "namespace": "kube-system" });
        let (address, port) = (self.host_address(), self.port(PORT, 0));
        Ok(json!({ "apiVersion": "v1", "kind": "List", "items": [
            {
                "apiVersion": "v1", "kind": "Service", "metadata": metadata,
                "spec": { "ports": [{ "name": "https", "port": 443, "targetPort": port }] },
            },
            {
                "apiVersion": "v1", "kind": "Endpoints",
                "metadata": {
                    "name": NAME, "namespace": "kube-system",
                    // The controllers would make a second slice of it.
                    "labels": { "endpointslice.kubernetes.io/skip-mirror": "true" },
                },
                "subsets": [{
                    "addresses": [{ "ip": address }],
                    "ports": [{ "name": "https", "port": port }],
                }],
            },
            {
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "name": NAME, "namespace": "kube-system",
                    "labels": { "kubernetes.io/service-name": NAME },
                },
                "addressType": "IPv4",
                "endpoints": [{ "addresses": [address], "conditions": { "ready": true } }],
                "ports": [{ "name": "https", "port": port }],
            },
            {
                "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
                "metadata": { "name": "v1beta1.metrics.k8s.io" },
                "spec": {
                    "group": "metrics.k8s.io", "version": "v1beta1",
                    "groupPriorityMinimum": 100, "versionPriority": 100,
                    "caBundle": STANDARD.encode(fs::read(self.file("ca.crt"))?),
                    "service": { "name": NAME, "namespace": "kube-system", "port": 443 },
                },
            },
        ]}))
    }
}
