//! What a cluster is to be, and how it comes up.

use std::sync::Mutex;

use anyhow::{Result, bail, ensure};

use super::ledger::Ledger;
use super::standing::{claim, down, maker};
use super::{Cluster, Node, Proxy};
use crate::install::{self, Kubectl as Which};
use crate::pki::Authority;
use crate::{CURRENT, build, image, run};

/// API servers that a slot has ports for.
const API_SERVERS: u8 = 10;

/// What a cluster is to be.
#[derive(Debug, Clone)]
pub struct Builder {
    pub(super) name: String,
    pub(super) api_server: String,
    pub(super) api_servers: u8,
    pub(super) api_server_flags: Vec<String>,
    pub(super) feature_gates: String,
    pub(super) controllers: bool,
    pub(super) metrics_server: bool,
    pub(super) services: bool,
    pub(super) server_tls_bootstrap: bool,
    pub(super) nodes: Vec<Node>,
    pub(super) keep: bool,
}

impl Builder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            api_server: CURRENT.into(),
            api_servers: 1,
            api_server_flags: Vec::new(),
            feature_gates: String::new(),
            controllers: false,
            metrics_server: false,
            services: false,
            server_tls_bootstrap: false,
            nodes: Vec::new(),
            keep: false,
        }
    }

    /// Gates of the API server: `Name=true,…`.
    pub fn feature_gates(mut self, gates: &str) -> Self {
        gates.clone_into(&mut self.feature_gates);
        self
    }

    /// The API server's version.
    pub fn api_server(mut self, version: &str) -> Self {
        version.clone_into(&mut self.api_server);
        self
    }

    /// API servers side by side on one etcd, 1 to 10; 1 is the default. The kubeconfig, the nodes and
    /// the controllers know the first only.
    pub fn api_servers(mut self, count: u8) -> Self {
        self.api_servers = count;
        self
    }

    /// More flags for the API servers: `--name=value`. They come last, so they win.
    pub fn api_server_flags(mut self, flags: &[&str]) -> Self {
        self.api_server_flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        self
    }

    /// Adds kube-controller-manager and kube-scheduler of the API server's version: Deployments get
    /// pods, pods a service account's token, certificate signing requests the cluster's signature.
    pub fn controllers(mut self, wanted: bool) -> Self {
        self.controllers = wanted;
        self
    }

    /// Adds a metrics server, behind the API server's aggregation: `kubectl top`.
    pub fn metrics_server(mut self, wanted: bool) -> Self {
        self.metrics_server = wanted;
        self
    }

    /// Adds a kube-proxy of the API server's version on each node: pods reach Services by their
    /// addresses, the API server's own among them. API servers reach webhooks by their Services
    /// without one. Who a Service's pods are the controllers know.
    pub fn services(mut self, wanted: bool) -> Self {
        self.services = wanted;
        self.controllers |= wanted;
        self
    }

    /// Kubelets ask the cluster for their serving certificates: `serverTLSBootstrap`.
    pub fn server_tls_bootstrap(mut self, wanted: bool) -> Self {
        self.server_tls_bootstrap = wanted;
        self.controllers |= wanted;
        self
    }

    /// Adds a node with a kubelet of this version, and a stream proxy before it or none.
    pub fn node(mut self, name: &str, kubelet: &str, proxy: Option<Proxy>) -> Self {
        self.add(name, kubelet, proxy);
        self
    }

    pub(super) fn add(&mut self, name: &str, kubelet: &str, proxy: Option<Proxy>) {
        // More than eight clusters of 200 nodes do not fit the machine anyway.
        let index = u8::try_from(self.nodes.len() + 1).unwrap_or(u8::MAX);
        self.nodes.push(Node {
            name: name.into(),
            kubelet: kubelet.into(),
            proxy,
            index,
        });
    }

    /// The cluster outlives its maker, until `cargo xtask cluster down`.
    pub fn keep(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// Brings it up: API servers ready, nodes Ready, a pod `box-NODE` running on each. A cluster of
    /// the same name, of a maker that crashed, goes first.
    pub fn up(self) -> Result<Cluster> {
        self.build()?;
        if let Some(pid) = maker(&self.name) {
            bail!(
                "process {pid} uses a cluster named {0}: wait for it, or end it and run \
                 cargo xtask cluster down --name {0}",
                self.name
            );
        }
        down(&self.name)?;
        let (slot, folder) = claim(&self.name)?;
        let cluster = Cluster {
            ledger: Ledger::of(&folder),
            authority: Authority::new(&folder, "ca")?,
            front_proxy: Authority::new(&folder, "front-proxy-ca")?,
            gateways: Mutex::default(),
            folder,
            slot,
            plan: self,
        };
        let plan = &cluster.plan;
        let text = format!("bringing up API server {}", plan.api_server);
        run::step(&text, || {
            image::write(&cluster.folder.join("box.tar"))?;
            cluster.start_control()
        })?;
        if plan.controllers {
            run::step("bringing up controllers and scheduler", || {
                cluster.start_controllers()
            })?;
        }
        for node in &plan.nodes {
            let behind = if node.proxy.is_some() {
                " behind streamproxy node"
            } else {
                ""
            };
            run::step(
                &format!(
                    "bringing up {}, kubelet {}{behind}",
                    node.name, node.kubelet
                ),
                || cluster.bring_up(node),
            )?;
        }
        if plan.metrics_server {
            run::step("bringing up the metrics server", || {
                cluster.start_metrics_server()
            })?;
        }
        Ok(cluster)
    }

    /// Everything that it is made of, before anything is made on the machine.
    fn build(&self) -> Result<()> {
        install::require_root("a cluster")?;
        install::packages()?;
        ensure!(
            (1..=API_SERVERS).contains(&self.api_servers),
            "{} API servers: a cluster has 1 to {API_SERVERS}",
            self.api_servers
        );
        build::kubernetes(&self.api_server, "kube-apiserver")?;
        if self.controllers {
            build::kubernetes(&self.api_server, "kube-controller-manager")?;
            build::kubernetes(&self.api_server, "kube-scheduler")?;
        }
        if self.services {
            build::kubernetes(&self.api_server, "kube-proxy")?;
        }
        for node in &self.nodes {
            build::kubernetes(&node.kubelet, "kubelet")?;
        }
        if self.metrics_server {
            build::metrics_server()?;
        }
        install::kubectl(Which::Current)?;
        Ok(())
    }
}
