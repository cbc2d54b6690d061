//! A proposal as a script for a shell, to be read before it is run.

use std::io::Write;

use anyhow::Result;
use streamway_audit::{Change, DryRun, Effect, Proposal, Reach};

use crate::output::Clean;

pub(super) fn write(proposal: &Proposal, out: &mut dyn Write) -> Result<()> {
    if proposal.changes.is_empty() && proposal.left.is_empty() {
        writeln!(out, "# nothing to mend with {}", proposal.fix)?;
        return Ok(());
    }
    for change in &proposal.changes {
        write_change(change, out)?;
    }
    let (wanted, others): (Vec<_>, Vec<_>) = proposal.effects.iter().partition(|own| own.wanted);
    effects("What that changes for those who were found:", &wanted, out)?;
    effects("And for others, who share a role with them:", &others, out)?;
    if !proposal.left.is_empty() {
        writeln!(out, "# What stays as it is:")?;
    }
    for left in &proposal.left {
        writeln!(out, "#   {}: {}", Clean(&left.title), Clean(&left.path))?;
        writeln!(out, "#     {}", Clean(&left.why))?;
    }
    Ok(())
}

fn write_change(change: &Change, out: &mut dyn Write) -> Result<()> {
    let role = &change.role;
    write!(out, "# {}", Clean(&role.to_string()))?;
    if let Some(location) = &change.location {
        write!(out, ", {}", Clean(&location.to_string()))?;
    }
    match &change.dry_run {
        None => writeln!(out)?,
        Some(DryRun::Accepted) => writeln!(out, ": the API server accepts it")?,
        Some(DryRun::Refused { text }) => writeln!(out, ": REFUSED: {}", Clean(text))?,
    }
    write!(out, "kubectl patch {}", role.kind.to_lowercase())?;
    if !role.namespace.is_empty() {
        write!(out, " --namespace {}", quoted(&role.namespace))?;
    }
    let patch = serde_json::to_string(&change.patch)?;
    writeln!(
        out,
        " {} --type json --patch {}\n",
        quoted(&role.name),
        quoted(&patch)
    )?;
    Ok(())
}

fn effects(title: &str, effects: &[&Effect], out: &mut dyn Write) -> Result<()> {
    if effects.is_empty() {
        return Ok(());
    }
    writeln!(out, "# {title}")?;
    for effect in effects {
        let place = |reach: &Option<Reach>| {
            let reach = reach.as_ref().map(ToString::to_string);
            reach.unwrap_or_else(|| "nowhere".to_owned())
        };
        let subject = effect.subject.to_string();
        let change = format!("{} → {}", place(&effect.before), place(&effect.after));
        let (subject, change) = (Clean(&subject), Clean(&change));
        writeln!(out, "#   {subject}: {}: {change}", effect.right)?;
    }
    writeln!(out)?;
    Ok(())
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/:".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell() {
        let table = [
            ("system:node-proxier", "system:node-proxier"),
            ("", "''"),
            ("-rf", "'-rf'"),
            ("a b", "'a b'"),
            ("$(x)'", r"'$(x)'\'''"),
        ];
        for (text, expected) in table {
            assert_eq!(quoted(text), expected);
        }
    }
}
