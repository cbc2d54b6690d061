//! `--fix`: what would mend the findings.

mod text;

use anyhow::{Result, bail};
use streamway_audit::{Change, DryRun, FixKind, ObjectRef, Proposal, Report};
use streamway_rbac::Policy;

use crate::args::{AuditArgs, Output};
use crate::cluster::Cluster;
use crate::exit::Outcome;
use crate::output;
use crate::progress::Progress;

/// Prints it; on a cluster, after having tried it there. 2 where that is refused.
pub(super) async fn run(
    fix: FixKind,
    report: &Report,
    policy: &Policy,
    tried_on: Option<&Cluster>,
    args: &AuditArgs,
) -> Result<Outcome> {
    let mut proposal = Proposal::of(fix, &report.findings, policy);
    if let Some(cluster) = tried_on {
        let progress = Progress::new("changes tried");
        progress.left(proposal.changes.len());
        for change in &mut proposal.changes {
            change.dry_run = Some(tried(cluster, change).await);
            progress.add(1);
        }
    }
    let mut changes = proposal.changes.iter();
    let refused = changes.any(|change| matches!(change.dry_run, Some(DryRun::Refused { .. })));
    output::to(args.output_file.as_deref(), |out| {
        match args.output {
            Output::Table | Output::Wide => text::write(&proposal, out)?,
            Output::Json => output::json(&proposal, out)?,
            Output::Yaml => output::yaml(&proposal, out)?,
            Output::Sarif | Output::Html => bail!("a fix is told as table, wide, json or yaml"),
        }
        Ok(())
    })?;
    Ok(match refused || !report.complete {
        true => Outcome::Incomplete,
        false => Outcome::Clean,
    })
}

async fn tried(cluster: &Cluster, change: &Change) -> DryRun {
    match cluster.try_patch(&path(&change.role), &change.patch).await {
        Ok(()) => DryRun::Accepted,
        Err(failure) => DryRun::Refused {
            text: failure.to_string(),
        },
    }
}

fn path(role: &ObjectRef) -> String {
    const BASE: &str = "/apis/rbac.authorization.k8s.io/v1";
    let name = crate::cluster::segment(&role.name);
    match role.namespace.as_str() {
        "" => format!("{BASE}/clusterroles/{name}"),
        namespace => format!("{BASE}/namespaces/{namespace}/roles/{name}"),
    }
}
