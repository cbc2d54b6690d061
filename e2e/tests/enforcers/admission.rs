//! `/admit/connect`.

use anyhow::{Context, Result, ensure};
use streamway_crds::names::{ACCESS_CONFIGURATION, CREATE_CHECK_LABEL};
use streamway_e2e::product::repository;
use streamway_e2e::sessions::{RIGHTS, ask, opens, refused};
use streamway_e2e::wait;
use streamway_e2e::webhook::Replica;

use super::{POD, SOON, World, now};

impl World<'_> {
    /// Audit, Warn, Deny, as the namespace says.
    pub(crate) fn ladder(&self) -> Result<()> {
        let component = repository().join("config/components/access-webhook");
        for file in ["roles.yaml", "validatingwebhookconfiguration.yaml"] {
            let path = component.join(file);
            self.kubectl.ok(&["apply", "-f", &path.to_string_lossy()])?;
        }
        self.replica.join(&self.kubectl)?;
        for (value, path, decision) in [
            ("Audit", "audit", "audit"),
            ("Warn", "warn", "warn"),
            ("Deny", "deny", "deny"),
        ] {
            self.label(value)?;
            let path = format!("path=\"/admit/connect/{path}\"");
            wait::until("it is asked about", SOON, || {
                ask(self.cluster, "reader", POD)?;
                let counted = self.decided(&[
                    &path,
                    "subresource=\"portforward\"",
                    &format!("decision=\"{decision}\""),
                    "reason=\"lacks_create\"",
                ])?;
                Ok((counted > 0.0).then_some(()))
            })
            .context(value)?;
            if value != "Deny" {
                opens(self.cluster, "reader", POD).context(value)?;
            }
        }
        self.label("Off")?;
        self.until_opens()?;
        self.label("Deny")?;
        self.until_refused()
    }

    /// It counts until it expires, and no longer than it takes to ask.
    pub(crate) fn exemption(&self) -> Result<()> {
        let ends = self.exempt(8)?;
        self.until_opens()?;
        self.until_refused()?;
        let late = now()?;
        ensure!(
            (ends..=ends + 3).contains(&late),
            "ends {ends}, refused {late}"
        );
        let by = self.decided(&[
            "path=\"/admit/connect/deny\"",
            "subresource=\"exec\"",
            "decision=\"pass\"",
            "reason=\"exempt\"",
        ])?;
        ensure!(by > 0.0, "it is not counted");
        let log = std::fs::read_to_string(self.cluster.log(&self.replica.name))?;
        ensure!(
            log.contains("until the test is over"),
            "the log has no reason"
        );
        self.kubectl
            .ok(&["delete", "accessexemption", "reader"])
            .map(drop)
    }

    /// failurePolicy Fail: nobody opens sessions but those of system:masters, and nothing else is hurt.
    pub(crate) fn admission_away(&self) -> Result<()> {
        self.cluster.kill_named(&self.replica.name)?;
        for user in ["reader", "dev"] {
            for (subresource, refusal) in ask(self.cluster, user, POD)? {
                let refusal = refusal.with_context(|| format!("{user} opens {subresource}"))?;
                ensure!(refusal.status == 500, "{refusal:?}");
                ensure!(
                    refusal.body.contains("connect-deny.streamway.dev"),
                    "{refusal:?}"
                );
            }
        }
        opens(self.cluster, "admin", POD)?;
        let dev = self.cluster.kubectl_as("dev")?;
        dev.ok(&["get", "pods"])?;
        // Where it only audits, nobody waits for it.
        self.label("Audit")?;
        wait::until("the label is known", SOON, || {
            opens(self.cluster, "dev", POD).map(Some)
        })?;
        self.label("Deny")?;
        self.replica.start_again()?;
        self.replica.join(&self.kubectl)?;
        self.until_refused()?;
        opens(self.cluster, "dev", POD)
    }

    /// With `--rbac-answers-first` a yes comes from memory, a no from the API server; what RBAC gives and
    /// takes meanwhile counts.
    pub(crate) fn index(&self) -> Result<()> {
        let rights = repository().join("config/components/rbac-answers-first/roles.yaml");
        self.kubectl
            .ok(&["apply", "-f", &rights.to_string_lossy()])?;
        let flags = ["--access-check", "--rbac-answers-first"];
        let replica = Replica::start(self.cluster, 1, &flags)?;
        // An API server keeps to the one that it knows while it can.
        self.replica.leave(&self.kubectl)?;
        self.cluster.kill_named(&self.replica.name)?;
        replica.join(&self.kubectl)?;
        let answers = |by: &str| {
            let by = format!("by=\"{by}\"");
            replica.counted("streamway_webhook_access_answers_total", &by)
        };
        wait::until("the index answers", SOON, || {
            opens(self.cluster, "dev", POD)?;
            Ok((answers("index")? > 0.0).then_some(()))
        })?;
        self.until_refused()?;
        ensure!(answers("review")? > 0.0, "the API server is not asked");
        let wrong = replica.counted("streamway_webhook_access_disagreements_total", "")?;
        ensure!(wrong == 0.0, "they disagree");
        self.kubectl.ok(&["delete", "rolebinding", "create"])?;
        wait::until("dev lacks create", SOON, || {
            refused(self.cluster, "dev", POD).map(Some)
        })?;
        self.kubectl.apply(RIGHTS)?;
        wait::until("dev has create", SOON, || {
            opens(self.cluster, "dev", POD).map(Some)
        })?;
        replica.leave(&self.kubectl)?;
        self.cluster.kill_named(&replica.name)?;
        self.replica.start_again()?;
        self.replica.join(&self.kubectl)
    }

    /// Without the configuration nobody is asked.
    pub(crate) fn no_admission(&self) -> Result<()> {
        let target = [
            "delete",
            "validatingwebhookconfiguration",
            ACCESS_CONFIGURATION,
        ];
        self.kubectl.ok(&target)?;
        self.until_opens()
    }

    fn label(&self, value: &str) -> Result<()> {
        let label = format!("{CREATE_CHECK_LABEL}={value}");
        let target = ["label", "namespace", "default", &label, "--overwrite"];
        self.kubectl.ok(&target).map(drop)
    }
}
