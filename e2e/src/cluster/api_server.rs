//! The API servers: one, or several side by side on one etcd.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Cluster;
use crate::{build, run, wait};

/// The first API server's port in slot 0.
const PORT: u16 = 16443;

impl Cluster {
    /// The first API server's URL.
    pub fn url(&self) -> String {
        self.url_of(0)
    }

    /// All API servers' URLs.
    pub fn urls(&self) -> Vec<String> {
        (0..self.plan.api_servers)
            .map(|index| self.url_of(index))
            .collect()
    }

    /// Kills an API server as a crash would; 0 is the first.
    pub fn kill_api_server(&self, index: u8) -> Result<()> {
        self.kill_named(&process(index))
    }

    /// Starts an API server that was killed as it was, and waits until it is ready.
    pub fn start_api_server_again(&self, index: u8) -> Result<()> {
        self.start_api_server(index, &[])
    }

    /// Kills an API server and starts it again.
    pub fn restart_api_server(&self, index: u8) -> Result<()> {
        self.kill_api_server(index)?;
        self.start_api_server_again(index)
    }

    /// Kills an API server and starts it with more flags than it had.
    pub fn restart_api_server_with(&self, index: u8, flags: &[&str]) -> Result<()> {
        self.kill_api_server(index)?;
        self.start_api_server(index, flags)
    }

    pub(super) fn start_api_servers(&self) -> Result<()> {
        let hosts = [
            "localhost",
            "kubernetes.default.svc",
            "127.0.0.1",
            "10.96.0.1",
            &self.host_address(),
        ];
        self.authority
            .server("apiserver", &hosts.map(str::to_owned))?;
        if self.plan.metrics_server {
            self.front_proxy
                .client("front-proxy-client", "front-proxy-client", &[])?;
        }
        // One after the other: the first writes what all begin with.
        for index in 0..self.plan.api_servers {
            self.start_api_server(index, &[])?;
        }
        let kubectl = self.kubectl()?;
        // Its own roles are there a moment after it is ready.
        wait::until(
            "the API server has its roles",
            Duration::from_secs(30),
            || {
                let role = [
                    "get",
                    "-n",
                    "kube-system",
                    "role",
                    "extension-apiserver-authentication-reader",
                ];
                kubectl.ok(&role).map(Some)
            },
        )?;
        Ok(())
    }

    fn start_api_server(&self, index: u8, more_flags: &[&str]) -> Result<()> {
        let mut server = self.api_server(index, more_flags)?;
        self.start(&process(index), &mut server)?;
        self.api_server_ready(index)
    }

    fn url_of(&self, index: u8) -> String {
        format!("https://{}:{}", self.host_address(), self.port(PORT, index))
    }

    fn api_server_ready(&self, index: u8) -> Result<()> {
        let kubectl = self.kubectl()?;
        let url = self.url_of(index);
        wait::until("the API server is ready", Duration::from_secs(60), || {
            kubectl
                .ok(&["--server", &url, "get", "--raw", "/readyz"])
                .map(Some)
        })
        .with_context(|| run::tail_of(&self.log(&process(index)), 5))?;
        Ok(())
    }

    fn api_server(&self, index: u8, more_flags: &[&str]) -> Result<Command> {
        let plan = &self.plan;
        let program = build::kubernetes(&plan.api_server, "kube-apiserver")?;
        let mut server = Command::new(program);
        let mut flag = |name: &str, value: &str| {
            server.arg(format!("--{name}={value}"));
        };
        let path = |name: &str| -> PathBuf { self.file(name) };
        for (name, file) in [
            ("service-account-key-file", "sa.pub"),
            ("service-account-signing-key-file", "sa.key"),
            ("token-auth-file", "tokens.csv"),
            ("tls-cert-file", "apiserver.crt"),
            ("tls-private-key-file", "apiserver.key"),
            ("client-ca-file", "ca.crt"),
            ("kubelet-certificate-authority", "ca.crt"),
            ("kubelet-client-certificate", "apiserver-kubelet.crt"),
            ("kubelet-client-key", "apiserver-kubelet.key"),
            ("requestheader-client-ca-file", "front-proxy-ca.crt"),
        ] {
            flag(name, &path(file).to_string_lossy());
        }
        for (name, value) in [
            (
                "etcd-servers",
                &*format!("http://127.0.0.1:{}", self.etcd_port()),
            ),
            ("service-account-issuer", "https://kubernetes.default.svc"),
            ("secure-port", &self.port(PORT, index).to_string()),
            ("bind-address", "0.0.0.0"),
            ("advertise-address", &self.host_address()),
            ("service-cluster-ip-range", "10.96.0.0/16"),
            ("kubelet-preferred-address-types", "InternalIP"),
            ("requestheader-username-headers", "X-Remote-User"),
            ("requestheader-group-headers", "X-Remote-Group"),
            ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
            ("allow-privileged", "true"),
        ] {
            flag(name, value);
        }
        let own = plan.api_server_flags.iter().map(String::as_str);
        let mut own = own.chain(more_flags.iter().copied());
        // A list, which another would add to, and which --authorization-config takes the place of.
        if !own.any(|flag| flag.starts_with("--authorization-")) {
            flag("authorization-mode", "Node,RBAC");
        }
        if index > 0 {
            // They share an address: each would put its own port in the Service `kubernetes`.
            flag("endpoint-reconciler-type", "none");
        }
        if !plan.controllers {
            // There is no controller manager that would make service accounts.
            flag("disable-admission-plugins", "ServiceAccount");
        }
        if plan.metrics_server || plan.services {
            // There is no kube-proxy here, so a Service's address leads nowhere from the host: aggregated
            // API servers and webhooks are reached by their endpoints.
            flag("enable-aggregator-routing", "true");
        }
        if plan.metrics_server {
            for (name, file) in [
                ("proxy-client-cert-file", "front-proxy-client.crt"),
                ("proxy-client-key-file", "front-proxy-client.key"),
            ] {
                flag(name, &path(file).to_string_lossy());
            }
        }
        if !plan.feature_gates.is_empty() {
            flag("feature-gates", &plan.feature_gates);
        }
        server.args(&plan.api_server_flags).args(more_flags);
        Ok(server)
    }
}

/// The name of an API server's process and log.
fn process(index: u8) -> String {
    if index == 0 {
        "kube-apiserver".to_owned()
    } else {
        format!("kube-apiserver-{index}")
    }
}
