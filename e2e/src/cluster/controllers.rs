//! kube-controller-manager and kube-scheduler, on the host; kube-proxies, on their nodes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Cluster, Node};
use crate::{build, run, wait};

/// The address of the Service `kubernetes`: the first of --service-cluster-ip-range.
const API_SERVER: &str = "10.96.0.1";

impl Cluster {
    /// Starts both, and waits until namespaces get what pods need: a service account, and the
    /// authority that its token's user is to trust.
    pub(super) fn start_controllers(&self) -> Result<()> {
        let mut manager = self.controller("kube-controller-manager")?;
        for (name, file) in [
            ("service-account-private-key-file", "sa.key"),
            ("root-ca-file", "ca.crt"),
            ("cluster-signing-cert-file", "ca.crt"),
            ("cluster-signing-key-file", "ca.key"),
        ] {
            manager.arg(format!("--{name}={}", self.file(file).display()));
        }
        self.start("kube-controller-manager", &mut manager)?;
        self.start("kube-scheduler", &mut self.controller("kube-scheduler")?)?;
        let kubectl = self.kubectl()?;
        wait::until("the controllers work", Duration::from_secs(60), || {
            let made = [
                "get",
                "serviceaccount/default",
                "configmap/kube-root-ca.crt",
            ];
            kubectl.ok(&made).map(Some)
        })
        .with_context(|| run::tail_of(&self.log("kube-controller-manager"), 5))?;
        Ok(())
    }

    /// Starts a node's kube-proxy, and waits until the API server's Service leads somewhere from there.
    pub(super) fn start_kube_proxy(&self, node: &Node) -> Result<()> {
        let program = build::kubernetes(&self.plan.api_server, "kube-proxy")?;
        let mut proxy = self.in_node(node, &program);
        proxy.arg("--kubeconfig").arg(self.kubeconfig());
        proxy.args(["--hostname-override", &node.name]);
        proxy.args(["--proxy-mode=iptables", "--nodeport-addresses=127.0.0.0/8"]);
        // Conntrack's sizes and times are the machine's, not a network namespace's.
        proxy.args([
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0s",
        ]);
        proxy.arg("--conntrack-tcp-timeout-close-wait=0s");
        let name = format!("{}-kube-proxy", node.name);
        self.start(&name, &mut proxy)?;
        let what = "the API server answers by its Service";
        wait::until(what, Duration::from_secs(60), || {
            let mut nc = self.in_node(node, Path::new("busybox"));
            run::output(nc.args(["nc", "-w", "2", API_SERVER, "443"])).map(Some)
        })
        .with_context(|| run::tail_of(&self.log(&name), 5))?;
        Ok(())
    }

    fn controller(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(build::kubernetes(&self.plan.api_server, program)?);
        command.arg("--kubeconfig").arg(self.kubeconfig());
        // Port 0: they serve nothing, so that clusters side by side need no ports for it.
        command.args(["--leader-elect=false", "--secure-port=0"]);
        Ok(command)
    }
}
