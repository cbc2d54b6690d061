//! kube-controller-manager and kube-scheduler, on the host.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Cluster;
use crate::{build, run, wait};

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

    fn controller(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(build::kubernetes(&self.plan.api_server, program)?);
        command.arg("--kubeconfig").arg(self.kubeconfig());
        // Port 0: they serve nothing, so that clusters side by side need no ports for it.
        command.args(["--leader-elect=false", "--secure-port=0"]);
        Ok(command)
    }
}
