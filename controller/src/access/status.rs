//! What a report comes to in an AccessReport's status. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use streamway_audit::{Finding, Report, Severity};
use streamway_crds::conditions::{self, READY};
use streamway_crds::{AccessFinding, AccessReportStatus, LISTED_FINDINGS, SeverityCounts};

/// A text in a finding is cut to so many characters: a reach may name thousands of namespaces, and an
/// object in etcd has an end.
const LONGEST: usize = 1024;

/// The status after an audit. One that failed leaves what the one before it found.
pub(super) fn next(
    before: AccessReportStatus,
    report: Option<&Report>,
    failed: Option<String>,
    generation: Option<i64>,
    now: Time,
) -> AccessReportStatus {
    let mut status = before;
    status.observed_generation = generation;
    if let Some(report) = report {
        let conditions = std::mem::take(&mut status.conditions);
        status = AccessReportStatus {
            conditions,
            observed_generation: generation,
            ..of(report, &now)
        };
    }
    let (ready, reason, message) = match failed {
        None => (
            true,
            "Audited",
            "all Roles and bindings were read".to_owned(),
        ),
        Some(why) => (false, "AuditFailed", why),
    };
    status.complete = ready;
    let all = &mut status.conditions;
    let generation = generation.unwrap_or(0);
    conditions::set(all, READY, ready, reason, &message, generation, &now);
    status
}

/// Whether two tell the same, at whatever time.
pub(super) fn say_the_same(a: &AccessReportStatus, b: &AccessReportStatus) -> bool {
    let timeless = |status: &AccessReportStatus| {
        let mut status = status.clone();
        status.audited_at = None;
        status
    };
    timeless(a) == timeless(b)
}

fn of(report: &Report, now: &Time) -> AccessReportStatus {
    let count = |severity| {
        number(
            report
                .counts
                .by_severity
                .get(&severity)
                .copied()
                .unwrap_or(0),
        )
    };
    AccessReportStatus {
        audited_at: Some(now.clone()),
        server: report
            .server
            .version
            .as_ref()
            .map(|own| own.as_str().to_owned()),
        checks_create: report.server.checks_create(),
        roles: number(report.source.roles),
        bindings: number(report.source.bindings),
        counts: SeverityCounts {
            critical: count(Severity::Critical),
            high: count(Severity::High),
            medium: count(Severity::Medium),
            low: count(Severity::Low),
            note: count(Severity::Note),
        },
        accepted: number(report.counts.suppressed),
        findings: report.open().take(LISTED_FINDINGS).map(finding).collect(),
        more: number(report.open().count().saturating_sub(LISTED_FINDINGS)),
        ..AccessReportStatus::default()
    }
}

fn finding(finding: &Finding) -> AccessFinding {
    AccessFinding {
        rule: finding.rule.to_string(),
        fingerprint: finding.fingerprint.clone(),
        severity: finding.severity.as_str().to_owned(),
        title: cut(&finding.title),
        reach: cut(&finding.reach.to_string()),
        exposure: cut(&finding.exposure.text),
        path: cut(&finding
            .paths
            .first()
            .map(ToString::to_string)
            .unwrap_or_default()),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(LONGEST - 1).collect();
    cut.push('…');
    cut
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};
    use streamway_audit::{Nowhere, Server, Version};
    use streamway_rbac::{Index, Policy};

    use super::*;

    fn time(text: &str) -> Time {
        Time(text.parse().unwrap())
    }

    /// A report on users who may `get pods/exec` in the namespaces, each by a binding of its own.
    fn report(users: usize, namespaces: &[&str]) -> Report {
        let mut policy = Policy::of_cluster();
        let role: Value = json!({
            "metadata": {"name": "reader"},
            "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods/exec"]}],
        });
        policy.add_cluster_role(&from_value(role).unwrap());
        for user in 0..users {
            for namespace in namespaces {
                let binding = json!({
                    "metadata": {"name": format!("b{user}"), "namespace": namespace},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
                    "subjects": [{"kind": "User", "name": format!("u{user}"), "apiGroup": "rbac.authorization.k8s.io"}],
                });
                policy.add_role_binding(&from_value(binding).unwrap());
            }
        }
        let server = Server::of(Version::parse("v1.34.4").ok());
        Report::of(&Index::new(policy), server, &Nowhere)
    }

    #[test]
    fn the_worst_are_listed_and_the_rest_counted() {
        let now = time("2026-01-01T00:00:00Z");
        let none = AccessReportStatus::default();
        let status = next(none, Some(&report(250, &["a"])), None, Some(1), now);
        assert_eq!((status.findings.len(), status.more), (200, 50));
        assert_eq!(status.counts.high, 250);
        assert_eq!(status.server.as_deref(), Some("v1.34.4"));
        assert_eq!(status.checks_create, Some(false));
        assert!(status.complete);
        let first = &status.findings[0];
        assert_eq!(
            (first.rule.as_str(), first.severity.as_str()),
            ("SW001", "high")
        );
        assert_eq!(first.reach, "in a");
        assert!(first.path.contains("ClusterRole reader"), "{}", first.path);
    }

    #[test]
    fn what_is_accepted_is_counted_and_not_listed() {
        let mut report = report(3, &["a"]);
        let exemptions = json!({"items": [{"metadata": {"name": "u0"}, "spec": {
            "subjects": [{"kind": "User", "name": "u0"}], "resources": ["pods/exec"],
            "reason": "for now", "expires": "2026-02-01T00:00:00Z",
        }}]});
        let now = time("2026-01-01T00:00:00Z");
        report.exempt(&from_value(exemptions).unwrap(), now.0);
        let status = next(
            AccessReportStatus::default(),
            Some(&report),
            None,
            None,
            now,
        );
        let titles: Vec<_> = status.findings.iter().map(|own| &*own.title).collect();
        let expected = ["User u1", "User u2"];
        let expected = expected.map(|who| format!("{who} has get but not create on pods/exec"));
        assert_eq!(titles, expected);
        assert_eq!((status.accepted, status.counts.high), (1, 2));
    }

    #[test]
    fn a_long_reach_fits() {
        let namespaces: Vec<_> = (0..2000)
            .map(|index| format!("namespace-{index}"))
            .collect();
        let namespaces: Vec<_> = namespaces.iter().map(String::as_str).collect();
        let report = report(1, &namespaces);
        let status = next(
            AccessReportStatus::default(),
            Some(&report),
            None,
            None,
            time("2026-01-01T00:00:00Z"),
        );
        assert_eq!(status.findings[0].reach.chars().count(), LONGEST);
    }

    #[test]
    fn an_audit_that_fails_keeps_what_was_found() {
        let first = time("2026-01-01T00:00:00Z");
        let later = time("2026-01-01T00:10:00Z");
        let report = report(1, &["a"]);
        let found = next(
            AccessReportStatus::default(),
            Some(&report),
            None,
            Some(1),
            first.clone(),
        );
        let why = Some("Roles cannot be listed: forbidden".to_owned());
        let failed = next(found.clone(), None, why, Some(1), later.clone());
        assert_eq!(failed.findings, found.findings);
        assert_eq!(failed.audited_at, Some(first));
        assert!(!failed.complete);
        assert_eq!(failed.conditions[0].reason, "AuditFailed");
        assert!(!say_the_same(&found, &failed));
        let again = next(failed, Some(&report), None, Some(1), later.clone());
        assert!(again.complete);
        let same = next(
            again.clone(),
            Some(&report),
            None,
            Some(1),
            time("2026-01-01T01:00:00Z"),
        );
        assert!(say_the_same(&again, &same));
        assert_ne!(again.audited_at, same.audited_at);
    }
}
