//! A finding: a line that opens.

use std::fmt::{self, Display, Write};

use super::escape::Escaped;
use crate::evidence::Evidence;
use crate::finding::{Finding, Path, Verdict};
use crate::location::Location;

pub(super) fn write(page: &mut String, finding: &Finding) -> fmt::Result {
    let class = if finding.suppressed.is_some() {
        " class=\"suppressed\""
    } else {
        ""
    };
    let severity = finding.severity;
    write!(
        page,
        "<details{class} data-severity=\"{severity}\"><summary><span class=\"severity {severity}\">\
         {severity}</span> <b><bdi>{}</bdi></b> <span>{}</span> <span><bdi>{}</bdi></span> \
         <span class=\"soft\">{}</span></summary><div class=\"body\"><dl>",
        Escaped(&finding.subject),
        Escaped(finding.rule.rule().says),
        Escaped(&finding.reach),
        finding.exposure.state,
    )?;
    entry(
        page,
        finding.rule.as_str(),
        Escaped(finding.rule.rule().why),
    )?;
    entry(page, "Here", Escaped(&finding.exposure.text))?;
    if let Some(own) = &finding.suppressed {
        let until = own
            .until
            .map(|day| format!(", until {day}"))
            .unwrap_or_default();
        entry(page, "Accepted", Escaped(format!("{}{until}", own.reason)))?;
    }
    page.push_str("<dt>By</dt><dd><ul>");
    for path in &finding.paths {
        self::path(page, path)?;
    }
    page.push_str("</ul></dd>");
    if let Some(pods) = &finding.pods {
        let more = pods.count.saturating_sub(pods.names.len());
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        entry(
            page,
            "Pods",
            Escaped(format!("{}{more}", pods.names.join(", "))),
        )?;
    }
    if let Some(told) = &finding.evidence {
        evidence(page, told)?;
    }
    if let Some(verdict) = &finding.verdict {
        let text = match verdict {
            Verdict::Confirmed => "says the same",
            Verdict::Refuted { text } | Verdict::Unknown { text } => text,
        };
        entry(page, "The API server", Escaped(text))?;
    }
    if !finding.fixes.is_empty() {
        page.push_str("<dt>What can be done</dt><dd><ul>");
        for fix in &finding.fixes {
            write!(
                page,
                "<li><code>{}</code>: {}</li>",
                fix.kind,
                Escaped(&fix.text)
            )?;
        }
        page.push_str("</ul></dd>");
    }
    let fingerprint = Escaped(&finding.fingerprint);
    writeln!(
        page,
        "<dt>Fingerprint</dt><dd><code>{fingerprint}</code></dd></dl></div></details>"
    )
}

fn entry(page: &mut String, title: &str, text: impl Display) -> fmt::Result {
    write!(page, "<dt>{title}</dt><dd>{text}</dd>")
}

fn path(page: &mut String, path: &Path) -> fmt::Result {
    write!(page, "<li><bdi>{}</bdi>", Escaped(path))?;
    let mut places: Vec<&Location> = Vec::new();
    places.extend(&path.binding_location);
    places.extend(&path.rule_location);
    for place in places {
        write!(page, " <code>{}</code>", Escaped(place))?;
    }
    page.push_str("</li>");
    Ok(())
}

fn evidence(page: &mut String, told: &Evidence) -> fmt::Result {
    let Some((first, last)) = told.first.zip(told.last) else {
        return entry(page, "Used", "never, by the audit log");
    };
    write!(
        page,
        "<dt>Used</dt><dd>{} times, {first:.0} to {last:.0}<ul>",
        told.uses
    )?;
    for own in &told.users {
        let refused = if own.will_be_refused {
            "; will be refused once create is asked for"
        } else {
            ""
        };
        let (user, last) = (Escaped(&own.user), own.last);
        write!(
            page,
            "<li><bdi>{user}</bdi>: {}, last {last:.0}{refused}</li>",
            own.uses
        )?;
    }
    if told.more_users > 0 {
        write!(page, "<li>and {} more</li>", told.more_users)?;
    }
    page.push_str("</ul></dd>");
    Ok(())
}
