//! Reports from an index.

use std::fmt::Write;

use sha2::{Digest, Sha256};
use streamway_rbac as rbac;

use crate::exposure::judge;
use crate::finding::{Finding, ObjectRef, Path};
use crate::fix::fixes;
use crate::location::Locate;
use crate::report::{API_VERSION, Counts, KIND, Report, Source};
use crate::rules::RuleId;
use crate::server::Server;
use crate::severity::Severity;
use crate::subject::Subject;

impl Report {
    /// What an index holds, judged for a server. The source's name and warnings are the caller's to
    /// add.
    pub fn of(index: &rbac::Index, server: Server, places: &impl Locate) -> Self {
        let findings = index.findings();
        let findings = findings.iter();
        let findings = findings.map(|finding| of_finding(finding, &server, places));
        let mut report = Self {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            source: Source::default(),
            complete: true,
            counts: Counts::default(),
            warnings: Vec::new(),
            log: None,
            findings: findings.collect(),
            server,
        };
        report.count();
        report
    }
}

fn of_finding(finding: &rbac::Finding<'_>, server: &Server, places: &impl Locate) -> Finding {
    let rule = RuleId::of(finding.kind);
    let subject = Subject::from(&finding.subject);
    let (severity, exposure) = judge(finding.kind, subject.is_everybody(), server);
    let builtin = is_builtin(&subject, &finding.paths);
    Finding {
        rule,
        fingerprint: fingerprint(rule, &subject),
        severity: if builtin { Severity::Note } else { severity },
        title: format!("{subject} {}", rule.rule().says),
        reach: (&finding.reach).into(),
        exposure,
        paths: finding
            .paths
            .iter()
            .map(|path| of_path(path, places))
            .collect(),
        builtin,
        pods: None,
        evidence: None,
        verdict: None,
        fixes: if builtin {
            Vec::new()
        } else {
            fixes(finding.kind)
        },
        suppressed: None,
        subject,
    }
}

fn of_path(path: &rbac::Path<'_>, places: &impl Locate) -> Path {
    Path {
        binding: ObjectRef::from(&path.binding),
        binding_location: places.subject(path),
        role: ObjectRef::from(&path.role),
        written_in: ObjectRef::from(&path.written_in),
        rule: path.rule,
        rule_location: places.rule(path),
    }
}

/// Whether a finding is of what Kubernetes installs, for its own controllers: they can read and delete
/// whatever there is. Names with `system:` are reserved, and whoever may bind one may bind any.
fn is_builtin(subject: &Subject, paths: &[rbac::Path<'_>]) -> bool {
    let own = |object: &rbac::Object<'_>| object.name.starts_with("system:");
    subject.is_kubernetes_own()
        && paths
            .iter()
            .all(|path| own(&path.binding) && own(&path.role))
}

fn fingerprint(rule: RuleId, subject: &Subject) -> String {
    let parts = [
        rule.as_str(),
        subject.kind.as_str(),
        &subject.namespace,
        &subject.name,
    ];
    let digest = Sha256::digest(parts.join("\n"));
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
