//! Pages of reports whose names are hostile, and of large ones.

use streamway_rbac::Index;

use super::*;
use crate::manifests::Manifests;
use crate::{Baseline, Nowhere, Server};

const HOSTILE: [&str; 5] = [
    "</bdi><script>alert(1)</script>",
    "\\\"><img src=x onerror=alert(2)>",
    "'onmouseover='alert(3)",
    "&lt;b&gt;",
    "\\u202Eetanitimda",
];

/// A report of as many users with `get pods/exec` as there are names.
fn report<'a>(names: impl Iterator<Item = &'a str>) -> Report {
    let mut text = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: \"<i>reader</i>\"}
rules: [{verbs: [get], apiGroups: ['*'], resources: [pods/exec]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: \"<i>readers</i>\"}
roleRef: {kind: ClusterRole, name: \"<i>reader</i>\"}
subjects:
"
    .to_owned();
    names.for_each(|name| text.push_str(&format!("- {{kind: User, name: \"{name}\"}}\n")));
    let mut manifests = Manifests::default();
    manifests.read("<i>file</i>", text.as_bytes()).unwrap();
    assert_eq!(manifests.problems().next(), None);
    let (policy, places) = manifests.into_parts();
    Report::of(&Index::new(policy), Server::of(None), &places)
}

/// All that stands between `<` and `>` beyond the page's own head and script.
fn tags(page: &str) -> Vec<&str> {
    let body = page.split_once("<body>").unwrap().1;
    let body = body.rsplit_once("<script>").unwrap().0;
    let tags = body.split('<').skip(1);
    tags.map(|rest| rest.split_once('>').expect("a tag ends").0)
        .collect()
}

#[test]
fn names_are_only_text() {
    let mut hostile = report(HOSTILE.into_iter());
    hostile.source.name = "<i>cluster</i>".to_owned();
    let page = html(&hostile);
    let mut harmless = report((0..HOSTILE.len()).map(|_| "jane"));
    let one = harmless.findings.pop().unwrap();
    harmless.findings = vec![one; HOSTILE.len()];
    // The same tags with the same attributes, whatever the names.
    let severities = hostile
        .findings
        .iter()
        .all(|own| own.severity == harmless.findings[0].severity);
    assert!(severities);
    assert_eq!(tags(&page), tags(&html(&harmless)));
    for text in [
        "&lt;script&gt;alert(1)",
        "&lt;i&gt;reader",
        "&lt;i&gt;file&lt;/i&gt;:",
        "\\u{202e}eta",
        "&amp;lt;b",
    ] {
        assert!(page.contains(text), "{text} is not in it");
    }
}

#[test]
fn it_loads_nothing() {
    let page = html(&report(["jane"].into_iter()));
    for text in [
        "http:", "https:", "src=", "href=", "url(", "@import", "<link", "style=",
    ] {
        assert!(!page.contains(text), "{text}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(page.contains(&format!("script-src '{}'", hash(FILTER))));
    assert_eq!(page.matches("<script>").count(), 1);
}

#[test]
fn suppressed_and_empty() {
    let mut own = report(["jane"].into_iter());
    let baseline = Baseline::of(&own, "known <b>since</b> 2025", None);
    own.accept(&baseline, jiff::civil::date(2026, 11, 1));
    let page = html(&own);
    assert!(page.contains("<details class=\"suppressed\""));
    assert!(page.contains("known &lt;b&gt;since&lt;/b&gt; 2025"));
    let empty = Report::of(
        &Index::new(streamway_rbac::Policy::of_cluster()),
        Server::of(None),
        &Nowhere,
    );
    assert!(html(&empty).contains("Nothing was found."));
}

#[test]
fn ten_thousand_findings() {
    let names: Vec<_> = (0..10_000).map(|number| format!("user-{number}")).collect();
    let page = html(&report(names.iter().map(String::as_str)));
    assert_eq!(page.matches("<details ").count(), 10_000);
    assert!(page.len() < 20 << 20, "{} bytes", page.len());
}
