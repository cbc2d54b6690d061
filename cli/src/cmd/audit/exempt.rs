//! `--fix exempt`: AccessExemptions, which the webhook heeds.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use jiff::civil::Date;
use serde_json::{Value, json};
use streamway_audit::{FixKind, Report, Subject, SubjectKind};
use streamway_crds::names;

use crate::args::{AuditArgs, Output};
use crate::exit::Outcome;
use crate::output;

/// Somebody, in these namespaces, or in all.
type Scope<'r> = (&'r Subject, Vec<&'r str>);

/// Prints them. They are for the webhook alone: the API server's own check knows no exemptions.
pub(super) fn run(report: &Report, args: &AuditArgs) -> Result<Outcome> {
    let (Some(reason), Some(until)) = (args.reason.as_deref(), args.until) else {
        bail!("an exemption has a reason and an end: give --reason and --until");
    };
    if reason.trim().is_empty() {
        bail!("--reason says nothing");
    }
    let objects = exemptions(report, reason, until)?;
    output::to(args.output_file.as_deref(), |out| {
        if args.output == Output::Json {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
            return output::json(&list, out);
        }
        writeln!(
            out,
            "# For the webhook (docs/access.md); to the policy and to API servers that ask for create by\n\
             # themselves these are nothing."
        )?;
        for object in &objects {
            writeln!(out, "---")?;
            output::yaml(object, out)?;
        }
        Ok(())
    })?;
    Ok(match report.complete {
        true => Outcome::Clean,
        false => Outcome::Incomplete,
    })
}

/// One for each subject and its namespaces. An exemption gives no right, so it may be wider than what
/// was found: names of pods are not in it.
fn exemptions(report: &Report, reason: &str, until: Date) -> Result<Vec<Value>> {
    let mut scopes: BTreeMap<Scope<'_>, (&str, Vec<String>)> = BTreeMap::new();
    for finding in report.open() {
        if finding.fixes.iter().all(|fix| fix.kind != FixKind::Exempt) {
            continue;
        }
        let reach = &finding.reach;
        let namespaces = reach
            .namespaces
            .iter()
            .filter(|(_, names)| !names.is_none());
        let namespaces = match reach.everywhere.is_none() {
            true => namespaces
                .map(|(namespace, _)| namespace.as_str())
                .collect(),
            false => Vec::new(),
        };
        let has = finding.rule.kind().has();
        let entry = scopes.entry((&finding.subject, namespaces));
        let (_, resources) = entry.or_insert_with(|| (&finding.fingerprint, Vec::new()));
        resources.push(format!("{}/{}", has.resource, has.subresource));
    }
    let end = until.tomorrow().context("--until is too late a day")?;
    let objects = scopes
        .into_iter()
        .map(|((subject, namespaces), (print, resources))| {
            let (kind, name) = (subject.kind.as_str(), &subject.name);
            let who = match subject.kind {
                SubjectKind::ServiceAccount => {
                    json!({"kind": kind, "namespace": subject.namespace, "name": name})
                }
                _ => json!({"kind": kind, "name": name}),
            };
            let mut spec = json!({
                "subjects": [who],
                "resources": resources,
                "reason": reason,
                "expires": format!("{end}T00:00:00Z"),
            });
            if let (Some(fields), false) = (spec.as_object_mut(), namespaces.is_empty()) {
                fields.insert("namespaces".to_owned(), json!(namespaces));
            }
            json!({
                "apiVersion": format!("{}/{}", names::GROUP, names::VERSION),
                "kind": "AccessExemption",
                "metadata": {"name": format!("audit-{print}")},
                "spec": spec,
            })
        });
    Ok(objects.collect())
}
