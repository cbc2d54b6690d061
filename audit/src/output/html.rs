//! A report as one HTML file that loads nothing: for mails, artifacts of CI, and people.

mod escape;
mod finding;

use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::report::Report;
use crate::severity::Severity;
use escape::Escaped;

const STYLE: &str = include_str!("html/style.css");
const FILTER: &str = include_str!("html/filter.js");

/// A report as a page. All of it is there without scripts; with them it can be filtered. Names are
/// escaped, and no other script than the page's own would run.
pub fn html(report: &Report) -> String {
    let mut page = String::with_capacity(2048 * (report.findings.len() + 8));
    // Writing to a String does not fail.
    let _ = write(&mut page, report);
    page
}

fn write(page: &mut String, report: &Report) -> fmt::Result {
    let name = Escaped(&report.source.name);
    let (style, filter) = (hash(STYLE), hash(FILTER));
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src '{style}'; script-src '{filter}'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>RBAC audit of {name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <h1>RBAC audit of <bdi>{name}</bdi></h1>\n"
    )?;
    summary(page, report)?;
    warnings(page, report)?;
    form(page, report)?;
    page.push_str("<main>\n");
    for finding in &report.findings {
        finding::write(page, finding)?;
    }
    if report.findings.is_empty() {
        page.push_str("<p>Nothing was found.</p>\n");
    }
    writeln!(page, "</main>\n<script>{FILTER}</script>\n</body>\n</html>")
}

/// A source of a Content-Security-Policy.
fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

fn summary(page: &mut String, report: &Report) -> fmt::Result {
    let source = &report.source;
    let version = match &report.server.version {
        Some(version) => format!("API server {}", version.as_str()),
        None => "an API server of unknown version".to_owned(),
    };
    write!(
        page,
        "<p class=\"soft\">{} roles, {} bindings; for {}",
        source.roles,
        source.bindings,
        Escaped(version)
    )?;
    for gate in &report.server.gates {
        let state = if gate.enabled { "on" } else { "off" };
        write!(page, ", <code>{}</code> {state}", Escaped(&gate.name))?;
    }
    page.push_str("</p>\n<p>");
    for severity in Severity::ALL {
        let count = report
            .counts
            .by_severity
            .get(&severity)
            .copied()
            .unwrap_or_default();
        write!(
            page,
            "<span class=\"{severity}\"><b>{count}</b> {severity}</span>, "
        )?;
    }
    write!(page, "{} suppressed", report.counts.suppressed)?;
    if report.counts.hidden > 0 {
        write!(page, ", {} left out by filters", report.counts.hidden)?;
    }
    page.push_str("</p>\n");
    let Some(log) = &report.log else {
        return Ok(());
    };
    write!(
        page,
        "<p class=\"soft\">Evidence: {} events of audit logs",
        log.events
    )?;
    if let (Some(from), Some(to)) = (log.from, log.to) {
        write!(page, ", {from:.0} to {to:.0}")?;
    }
    page.push_str("</p>\n");
    Ok(())
}

fn warnings(page: &mut String, report: &Report) -> fmt::Result {
    if report.warnings.is_empty() {
        return Ok(());
    }
    let open = if report.complete {
        ""
    } else {
        "<p><b>Not all could be read.</b></p>"
    };
    writeln!(page, "<div class=\"warnings\">{open}<ul>")?;
    for warning in &report.warnings {
        page.push_str("<li>");
        if let Some(place) = &warning.location {
            write!(page, "<code>{}</code>: ", Escaped(place))?;
        }
        writeln!(page, "{}</li>", Escaped(&warning.text))?;
    }
    page.push_str("</ul></div>\n");
    Ok(())
}

/// Hidden until the script shows it.
fn form(page: &mut String, report: &Report) -> fmt::Result {
    page.push_str(
        "<form hidden>\n<input type=\"search\" name=\"text\" aria-label=\"Filter\" \
         placeholder=\"Filter: subject, namespace, role, rule, file\">\n",
    );
    for severity in Severity::ALL {
        let there = report
            .findings
            .iter()
            .any(|finding| finding.severity == severity);
        if there {
            writeln!(
                page,
                "<label class=\"{severity}\"><input type=\"checkbox\" name=\"severity\" \
                 value=\"{severity}\" checked> {severity}</label>"
            )?;
        }
    }
    page.push_str(
        "<label><input type=\"checkbox\" name=\"suppressed\"> suppressed</label>\n\
         <output id=\"shown\" class=\"soft\"></output>\n</form>\n",
    );
    Ok(())
}

#[cfg(test)]
mod tests;
