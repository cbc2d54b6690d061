//! `/authorize`.

use anyhow::{Context, Result, ensure};
use streamway_e2e::sessions::{ask, opens};
use streamway_e2e::webhook::{Authorization, server_certificate};
use streamway_e2e::{OLD_API_SERVER, https, wait};

use super::{POD, SOON, World};

impl World<'_> {
    /// `/authorize/audit` lets everybody through and counts who would not be.
    pub(crate) fn authorization_audits(&self) -> Result<()> {
        self.restart("/authorize/audit")?;
        opens(self.cluster, "reader", POD)?;
        let counted = self.decided(&[
            "path=\"/authorize/audit\"",
            "subresource=\"attach\"",
            "decision=\"audit\"",
            "reason=\"lacks_create\"",
        ])?;
        ensure!(counted > 0.0, "it is not asked");
        Ok(())
    }

    /// From now on `/authorize` is asked.
    pub(crate) fn authorizes(&self) -> Result<()> {
        self.restart("/authorize")?;
        self.until_refused()
    }

    /// The API server remembers for as long as its configuration says.
    pub(crate) fn exempt_before_rbac(&self) -> Result<()> {
        self.exempt(3600)?;
        self.until_opens()?;
        self.kubectl.ok(&["delete", "accessexemption", "reader"])?;
        self.until_refused()
    }

    /// Who shows no certificate, or another's, learns nothing.
    pub(crate) fn answers_nobody_else(&self) -> Result<()> {
        let address = self.replica.address();
        let body = "{}";
        let request = format!(
            "POST /authorize HTTP/1.1\r\nHost: webhook\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let own = self.cluster.authority().client(
            "front-proxy-client-of-another",
            "front-proxy-client",
            &[],
        )?;
        let jane = self
            .cluster
            .front_proxy_authority()
            .client("jane", "jane", &[])?;
        let server = server_certificate(self.cluster)?;
        for (certificate, status) in [
            (None, 403),
            (Some(&own), 403),
            (Some(&jane), 403),
            // The body is none.
            (Some(&server), 400),
        ] {
            let paths = certificate.map(|pair| (&*pair.certificate, &*pair.key));
            let answer = https::exchange(&address, paths, &request)?;
            ensure!(answer.status == status, "{certificate:?}: {answer:?}");
        }
        Ok(())
    }

    /// With an AuthorizationConfiguration, failurePolicy Deny: a get is refused, and who has create goes on
    /// by SPDY. The flags of older API servers know no failure policy: RBAC alone decides.
    pub(crate) fn authorization_away(&self) -> Result<()> {
        self.cluster.kill_named(&self.replica.name)?;
        if self.cluster.version() != OLD_API_SERVER {
            wait::until("what was answered is forgotten", SOON, || {
                for user in ["reader", "dev"] {
                    for (subresource, refusal) in ask(self.cluster, user, POD)? {
                        let refusal =
                            refusal.with_context(|| format!("{user} opens {subresource}"))?;
                        ensure!(refusal.status == 500, "{refusal:?}");
                    }
                }
                Ok(Some(()))
            })?;
        } else {
            self.until_opens()?;
        }
        opens(self.cluster, "admin", POD)?;
        let dev = self.cluster.kubectl_as("dev")?;
        dev.ok(&["exec", POD, "--", "true"])?;
        dev.ok(&["get", "pods"]).map(drop)
    }

    fn restart(&self, path: &str) -> Result<()> {
        Authorization::sample(&self.replica, path)?.restart(self.cluster)
    }
}
