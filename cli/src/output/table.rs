//! The table: a line for each finding, then how many there are.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use streamway_audit::{Finding, Report, Severity, Verdict};

use super::Clean;

/// What a column is wide at most, unless all is asked for.
const WIDEST: usize = 48;

struct Column {
    title: &'static str,
    wide: bool,
    text: fn(&Finding, bool) -> String,
}

const COLUMNS: [Column; 11] = [
    column("SEVERITY", |own, _| own.severity.to_string()),
    column("RULE", |own, _| own.rule.to_string()),
    column("SUBJECT", |own, _| own.subject.to_string()),
    column("FOUND", |own, _| own.rule.rule().says.to_owned()),
    column("WHERE", |own, _| own.reach.to_string()),
    column("EXPOSURE", |own, _| own.exposure.state.to_string()),
    column("BY", paths),
    wide("USED", |own, _| used(own)),
    wide("VERDICT", |own, _| verdict(own).to_owned()),
    wide("PODS", |own, _| {
        let pods = own.pods.as_ref();
        pods.map_or_else(String::new, |pods| pods.count.to_string())
    }),
    wide("FINGERPRINT", |own, _| own.fingerprint.clone()),
];

/// Writes it. Columns that say nothing are left out.
pub(super) fn write(report: &Report, wide: bool, out: &mut dyn Write) -> io::Result<()> {
    let shown: Vec<&Finding> = report.open().collect();
    let columns = COLUMNS
        .iter()
        .filter(|column| wide || !column.wide || known(column, &shown));
    let columns = columns.map(|column| {
        let cells = shown
            .iter()
            .map(|own| cell(&(column.text)(own, wide), wide));
        let cells: Vec<String> = cells.collect();
        let longest = cells.iter().map(|cell| cell.chars().count()).max();
        let width = longest.unwrap_or_default().max(column.title.len());
        (column.title, width, cells)
    });
    let columns: Vec<_> = columns.collect();
    if !shown.is_empty() {
        let titles = columns.iter().map(|(title, width, _)| (*title, *width));
        line(titles, out)?;
    }
    for (row, finding) in shown.iter().enumerate() {
        let style = style(finding.severity);
        write!(out, "{style}")?;
        let cells = columns.iter();
        let cells = cells.filter_map(|(_, width, cells)| Some((cells.get(row)?.as_str(), *width)));
        let mut cells = cells.peekable();
        if let Some((severity, width)) = cells.next() {
            write!(out, "{severity:width$}{style:#}   ")?;
        }
        line(cells, out)?;
    }
    if !shown.is_empty() {
        writeln!(out)?;
    }
    summary(report, out)
}

fn line<'a>(cells: impl Iterator<Item = (&'a str, usize)>, out: &mut dyn Write) -> io::Result<()> {
    let mut text = String::new();
    for (cell, width) in cells {
        text.push_str(&format!("{cell:width$}   "));
    }
    writeln!(out, "{}", text.trim_end())
}

fn cell(text: &str, wide: bool) -> String {
    let text = Clean(text).to_string();
    if wide || text.chars().count() <= WIDEST {
        return text;
    }
    let start: String = text.chars().take(WIDEST - 1).collect();
    format!("{start}…")
}

fn summary(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let source = &report.source;
    let name = Clean(&source.name);
    writeln!(
        out,
        "{name}: {} roles, {} bindings",
        source.roles, source.bindings
    )?;
    let server = &report.server;
    let version = server.version.as_ref();
    let version = version.map_or_else(|| "of no known version".to_owned(), ToString::to_string);
    let check = match server.checks_create() {
        Some(true) => "asks for create by itself",
        Some(false) => "does not ask for create",
        None => "may ask for create or not",
    };
    writeln!(out, "API server {version}: {check}")?;
    let counts = &report.counts;
    let some = Severity::ALL.into_iter().filter_map(|severity| {
        let count = counts
            .by_severity
            .get(&severity)
            .copied()
            .unwrap_or_default();
        (count > 0).then(|| format!("{count} {severity}"))
    });
    let mut parts: Vec<String> = some.collect();
    if parts.is_empty() {
        parts.push("no findings".to_owned());
    }
    if counts.suppressed > 0 {
        parts.push(format!("{} accepted", counts.suppressed));
    }
    if counts.hidden > 0 {
        parts.push(format!(
            "{} left out by --severity and other filters",
            counts.hidden
        ));
    }
    write!(out, "{}", parts.join(", "))?;
    match report.complete {
        true => writeln!(out),
        false => writeln!(out, "; NOT ALL COULD BE READ"),
    }
}

fn known(column: &Column, shown: &[&Finding]) -> bool {
    column.title != "FINGERPRINT"
        && shown
            .iter()
            .any(|own| !(column.text)(own, false).is_empty())
}

fn paths(finding: &Finding, wide: bool) -> String {
    let one = |path: &streamway_audit::Path| match path.location() {
        Some(location) => format!("{location}: {path}"),
        None => path.to_string(),
    };
    if wide {
        let all: Vec<String> = finding.paths.iter().map(one).collect();
        return all.join("; ");
    }
    let Some(first) = finding.paths.first() else {
        return String::new();
    };
    let place = first
        .location()
        .map(|own| format!("{own}: "))
        .unwrap_or_default();
    let more = match finding.paths.len() - 1 {
        0 => String::new(),
        more => format!(" +{more}"),
    };
    format!("{place}{} {}{more}", first.binding.kind, first.binding.name)
}

fn used(finding: &Finding) -> String {
    let Some(evidence) = &finding.evidence else {
        return String::new();
    };
    match evidence.last {
        None => "never".to_owned(),
        Some(last) => format!("{}, last {}", evidence.uses, last.strftime("%F")),
    }
}

fn verdict(finding: &Finding) -> &'static str {
    match &finding.verdict {
        None => "",
        Some(Verdict::Confirmed) => "confirmed",
        Some(Verdict::Refuted { .. }) => "refuted",
        Some(Verdict::Unknown { .. }) => "unknown",
    }
}

fn style(severity: Severity) -> Style {
    match severity {
        Severity::Critical => AnsiColor::Red.on_default().bold(),
        Severity::High => AnsiColor::Red.on_default(),
        Severity::Medium => AnsiColor::Yellow.on_default(),
        Severity::Low | Severity::Note => Style::new(),
    }
}

const fn column(title: &'static str, text: fn(&Finding, bool) -> String) -> Column {
    Column {
        title,
        wide: false,
        text,
    }
}

const fn wide(title: &'static str, text: fn(&Finding, bool) -> String) -> Column {
    Column {
        title,
        wide: true,
        text,
    }
}
