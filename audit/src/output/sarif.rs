//! SARIF 2.1.0 (OASIS), for code hosts and editors.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};

use crate::finding::{Finding, ObjectRef, Path, Suppression};
use crate::location::Location;
use crate::report::{Report, Warning};
use crate::rules::{Rule, RuleId};
use crate::severity::Severity;

/// What RFC 3986 does not allow in a path as it is.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    // In the first segment of a relative reference.
    .add(b':');

/// A report as a SARIF log with one run.
///
/// A result is where its rule is written, in a manifest; of a cluster's objects it has logical locations
/// only. What somebody accepted is suppressed. Fingerprints are the findings'.
pub fn sarif(report: &Report) -> Value {
    let rules: Vec<Rule> = Rule::all().collect();
    let places = rules.iter().enumerate();
    let places: BTreeMap<RuleId, usize> = places.map(|(place, rule)| (rule.id, place)).collect();
    let results = report.findings.iter();
    let results: Vec<Value> = results.map(|own| result(own, &places)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "streamway",
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": rules.iter().map(|own| descriptor(own, report)).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "invocations": [{
                "executionSuccessful": report.complete,
                "toolExecutionNotifications":
                    report.warnings.iter().map(notification).collect::<Vec<_>>(),
            }],
            "results": results,
            "properties": {"source": report.source, "server": report.server},
        }],
    })
}

fn descriptor(rule: &Rule, report: &Report) -> Value {
    let found = report.findings.iter();
    let found = found.filter(|finding| finding.rule == rule.id);
    let worst = found.map(|finding| finding.severity).max();
    let worst = worst.unwrap_or(Severity::Note);
    let fixes = crate::fix::fixes(rule.id.kind());
    let fixes: Vec<String> = fixes.iter().map(|fix| format!("- {}", fix.text)).collect();
    let help = [rule.why.to_owned(), fixes.join("\n")].join("\n\n");
    json!({
        "id": rule.id.as_str(),
        "name": rule.name,
        "shortDescription": {"text": format!("Somebody {}.", rule.says)},
        "fullDescription": {"text": rule.why},
        "help": {"text": help.trim_end(), "markdown": help.trim_end()},
        "defaultConfiguration": {"level": level(worst)},
        // As code hosts sort by it: over 9.0 critical, over 7.0 high, over 4.0 medium.
        "properties": {"tags": ["security"], "security-severity": score(worst)},
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical | Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Note => "note",
    }
}

fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "3.0",
        Severity::Note => "1.0",
    }
}

fn result(finding: &Finding, places: &BTreeMap<RuleId, usize>) -> Value {
    let text = format!(
        "{} {}: {}. {}",
        finding.title,
        finding.reach,
        finding.exposure.text,
        finding
            .paths
            .first()
            .map(Path::to_string)
            .unwrap_or_default(),
    );
    let related = finding.paths.iter().flat_map(related);
    let properties = json!({
        "severity": finding.severity,
        "subject": finding.subject,
        "exposure": finding.exposure.state,
        "builtin": finding.builtin,
    });
    let properties = with(properties, "evidence", json!(finding.evidence));
    let properties = with(properties, "verdict", json!(finding.verdict));
    json!({
        "ruleId": finding.rule.as_str(),
        "ruleIndex": places.get(&finding.rule),
        "level": level(finding.severity),
        "message": {"text": literal(&text)},
        "locations": finding.paths.first().map(location).into_iter().collect::<Vec<_>>(),
        "relatedLocations": related.enumerate().map(numbered).collect::<Vec<_>>(),
        "partialFingerprints": {"ruleAndSubject/v1": finding.fingerprint},
        "suppressions": finding.suppressed.iter().map(suppression).collect::<Vec<_>>(),
        "properties": properties,
    })
}

/// Where a path is to be changed.
fn location(path: &Path) -> Value {
    let logical = [logical(&path.written_in), logical(&path.binding)];
    let location = json!({"logicalLocations": logical});
    let place = path.location().map(physical);
    with(location, "physicalLocation", json!(place))
}

/// Subject and rule of a path, as far as they are in files.
fn related(path: &Path) -> Vec<Value> {
    let related = |place: &Option<Location>, text: String| {
        let place = place.as_ref()?;
        Some(json!({"physicalLocation": physical(place), "message": {"text": literal(&text)}}))
    };
    let subject = related(&path.binding_location, format!("named in {}", path.binding));
    let rule = format!("rule {} of {}", path.rule + 1, path.written_in);
    let rule = related(&path.rule_location, rule);
    subject.into_iter().chain(rule).collect()
}

fn numbered((id, location): (usize, Value)) -> Value {
    with(location, "id", json!(id))
}

fn logical(object: &ObjectRef) -> Value {
    let namespace = match object.namespace.as_str() {
        "" => String::new(),
        namespace => format!("{namespace}/"),
    };
    json!({
        "name": object.name,
        "fullyQualifiedName": format!("{}/{namespace}{}", object.kind, object.name),
        "kind": "resource",
    })
}

fn physical(place: &Location) -> Value {
    json!({
        "artifactLocation": {"uri": uri(&place.file)},
        "region": {"startLine": place.line.max(1)},
    })
}

fn uri(file: &str) -> String {
    let path = file.replace('\\', "/");
    let encoded = utf8_percent_encode(&path, PATH);
    match path.as_str() {
        "-" => "stdin".to_owned(),
        path if path.starts_with('/') => format!("file://{encoded}"),
        _ => encoded.to_string(),
    }
}

fn suppression(own: &Suppression) -> Value {
    let until = own.until.map(|day| format!(" (until {day})"));
    let reason = format!("{}{}", own.reason, until.unwrap_or_default());
    json!({"kind": "external", "status": "accepted", "justification": reason})
}

fn notification(warning: &Warning) -> Value {
    let level = if warning.incomplete {
        "error"
    } else {
        "warning"
    };
    let told = json!({"level": level, "message": {"text": literal(&warning.text)}});
    let place = warning.location.as_ref().map(physical);
    let places = place.map(|place| json!([{"physicalLocation": place}]));
    with(told, "locations", json!(places))
}

/// An object with one more field, unless that is null.
fn with(mut object: Value, key: &str, value: Value) -> Value {
    if let (Value::Object(fields), false) = (&mut object, value.is_null()) {
        fields.insert(key.to_owned(), value);
    }
    object
}

/// A text in which nothing is a link (SARIF 2.1.0 §3.11.6): names are others' choice.
fn literal(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('[', "\\[")
        .replace(']', "\\]")
}
