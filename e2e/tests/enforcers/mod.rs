//! The cluster that the checks are made on, and what they share.

mod admission;
mod authorization;
mod kubelet;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::sessions::{creates_by_spdy, opens, refused};
use streamway_e2e::wait;
use streamway_e2e::webhook::Replica;

/// The pod that sessions are in.
pub(crate) const POD: &str = "box-one";

/// How long until a change is everywhere.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// The cluster, and the webhook beside it.
pub(crate) struct World<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) kubectl: Kubectl,
    pub(crate) replica: Replica<'a>,
}

/// By which of the webhook's paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enforced {
    AtAdmission,
    BeforeRbac,
}

impl World<'_> {
    /// Who may only get is refused, and nobody else.
    pub(crate) fn enforced(&self) -> Result<()> {
        let cluster = self.cluster;
        refused(cluster, "reader", POD)?;
        opens(cluster, "dev", POD)?;
        opens(cluster, "admin", POD)?;
        creates_by_spdy(cluster, "nobody", POD)
    }

    /// What the API server counts, and the webhook, does not move when people do something else.
    pub(crate) fn costs_nothing(&self, by: Enforced) -> Result<()> {
        let counted = || -> Result<(f64, f64)> {
            let server = match by {
                Enforced::AtAdmission => {
                    self.counted("apiserver_admission_webhook_request_total", "connect-")?
                }
                Enforced::BeforeRbac => self.counted(
                    "apiserver_authorization_webhook_evaluations_total",
                    "streamway",
                )?,
            };
            Ok((server, self.replica.asked()?))
        };
        // It moves when sessions are opened.
        let before = counted()?;
        opens(self.cluster, "dev", POD)?;
        let moved = counted()?;
        ensure!(
            moved.0 > before.0 || by == Enforced::BeforeRbac,
            "{before:?} {moved:?}"
        );
        let dev = self.cluster.kubectl_as("dev")?;
        for command in [
            &["get", "pods"][..],
            &["get", "pod", POD, "-o", "name"],
            &["auth", "can-i", "list", "pods"],
            &["auth", "can-i", "create", "pods", "--subresource=exec"],
            &["get", "--raw", "/version"],
        ] {
            dev.ok(command)?;
        }
        // kubectl ends with 1 for a no.
        let refused = dev.run(&["auth", "can-i", "delete", "nodes"], b"")?;
        ensure!(refused.stdout == b"no\n", "{refused:?}");
        self.kubectl.ok(&["get", "pods", "-A"])?;
        let after = counted()?;
        ensure!(after == moved, "{moved:?} became {after:?}");
        Ok(())
    }

    /// The sum of the API server's counters of this name whose labels hold `label`.
    pub(crate) fn counted(&self, name: &str, label: &str) -> Result<f64> {
        let metrics = self.kubectl.ok(&["get", "--raw", "/metrics"])?;
        let lines = metrics
            .lines()
            .filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// Waits until `reader` is refused, who may only get.
    pub(crate) fn until_refused(&self) -> Result<()> {
        wait::until("it is enforced", SOON, || {
            refused(self.cluster, "reader", POD).map(Some)
        })
    }

    /// Waits until `reader` opens sessions.
    pub(crate) fn until_opens(&self) -> Result<()> {
        wait::until("it is not enforced", SOON, || {
            opens(self.cluster, "reader", POD).map(Some)
        })
    }

    /// Applies an exemption for `reader` that ends in `seconds`; when that is, in seconds since 1970.
    pub(crate) fn exempt(&self, seconds: u64) -> Result<u64> {
        let ends = now()? + seconds;
        let date = streamway_e2e::run::output(&mut streamway_e2e::run::command(
            "date",
            ["-u", "-d", &format!("@{ends}"), "+%Y-%m-%dT%H:%M:%SZ"],
        ))?;
        let exemption = json!({
            "apiVersion": "streamway.dev/v1alpha1", "kind": "AccessExemption",
            "metadata": {"name": "reader"},
            "spec": {
                "subjects": [{"kind": "User", "name": "reader"}], "namespaces": ["default"],
                "reason": "until the test is over", "expires": date.trim(),
            },
        });
        self.kubectl.apply(&exemption.to_string())?;
        Ok(ends)
    }

    /// How often the webhook came to a decision.
    pub(crate) fn decided(&self, labels: &[&str]) -> Result<f64> {
        let name = "streamway_webhook_access_decisions_total";
        // All labels of a line stand in one order.
        self.replica.counted(name, &labels.join(","))
    }

    /// The API server refuses by itself, and everybody else goes on.
    pub(crate) fn own_check(&self) -> Result<()> {
        for (subresource, refusal) in streamway_e2e::sessions::ask(self.cluster, "reader", POD)? {
            let refusal = refusal.with_context(|| format!("reader opens {subresource}"))?;
            ensure!(refusal.status == 403, "{refusal:?}");
        }
        opens(self.cluster, "dev", POD)?;
        creates_by_spdy(self.cluster, "nobody", POD)
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> Result<u64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(now.as_secs())
}
