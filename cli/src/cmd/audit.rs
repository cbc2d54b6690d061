//! `kubectl streamway audit`.

mod baseline;
mod exempt;
mod fix;
mod input;
mod log;
mod pods;
mod verify;

use std::time::Instant;

use anyhow::Result;
use jiff::Timestamp;
use streamway_audit::manifests::Places;
use streamway_audit::{Filter, FixKind, Nowhere, Report};
use streamway_rbac::Index;

use crate::args::AuditArgs;
use crate::exit::Outcome;
use crate::output;
use input::Input;

pub(crate) async fn run(args: AuditArgs) -> Result<Outcome> {
    let accepted = baseline::read(args.baseline.as_deref())?;
    let log = log::read(&args.audit_log)?;
    let mut times = Times::new(args.verbose);
    let Input {
        mut policy,
        places,
        server,
        source,
        warnings,
        exemptions,
        cluster,
    } = input::read(&args).await?;
    times.tell("read");
    if let Some(log) = &log {
        log.add_groups(&mut policy);
    }
    // What every cluster has is known of manifests too, and not in them.
    let written = places.as_ref().map(Places::roles);
    let roles = written.unwrap_or_else(|| policy.roles());
    let bindings = policy.bindings();
    let before = args.fix.map(|fix| (fix, policy.clone()));
    let index = Index::new(policy);
    let mut report = match &places {
        Some(places) => Report::of(&index, server, places),
        None => Report::of(&index, server, &Nowhere),
    };
    if let Some(log) = &log {
        log.join(&mut report, &index);
    }
    drop(index);
    times.tell("analysed");
    report.source.name = source;
    (report.source.roles, report.source.bindings) = (roles, bindings);
    warnings
        .into_iter()
        .for_each(|warning| report.warn(warning));

    let scope = Filter {
        namespaces: args.namespace.clone(),
        subjects: args.subject.clone(),
        rules: args.kind.clone(),
        severity: None,
    };
    report.keep(|finding| scope.matches(finding));
    // A fix is asked for what there is; an exemption that is renewed is in force.
    if args.fix.is_none() {
        report.exempt(&exemptions, Timestamp::now());
    }
    if let Some(accepted) = &accepted {
        report.accept(accepted, baseline::today());
    }
    let worst = report.worst();
    if args.fix == Some(FixKind::Exempt) {
        return exempt::run(&report, &args);
    }
    if let Some((fix, policy)) = before {
        let tried_on = cluster.as_ref().filter(|_| args.dry_run.is_some());
        return fix::run(fix, &report, &policy, tried_on, &args).await;
    }
    report.keep(|finding| finding.severity >= args.severity);
    if let Some(path) = &args.write_baseline {
        let reason = args.reason.as_deref().unwrap_or_default();
        baseline::write(path, &report, reason, args.until)?;
    }
    if let Some(cluster) = &cluster {
        if args.pods {
            pods::join(cluster, &mut report).await;
        }
        if args.verify {
            verify::join(cluster, &mut report, args.verify_qps).await;
        }
    }
    output::write(&report, args.output, args.output_file.as_deref())?;
    times.tell("written");
    for warning in &report.warnings {
        output::warning(warning);
    }
    Ok(match () {
        () if !report.complete => Outcome::Incomplete,
        () if args.fail_on.fails(worst) => Outcome::Findings,
        () => Outcome::Clean,
    })
}

/// How long parts take, told where somebody asked.
struct Times {
    told: bool,
    since: Instant,
}

impl Times {
    fn new(told: bool) -> Self {
        let since = Instant::now();
        Self { told, since }
    }

    fn tell(&mut self, part: &str) {
        if self.told {
            anstream::eprintln!("time: {part} {:.3} s", self.since.elapsed().as_secs_f64());
        }
        self.since = Instant::now();
    }
}
