//! Which pods run as the service accounts that were found.

use std::collections::HashMap;

use streamway_audit::{Pods, Report, SubjectKind, Warning};

use crate::cluster::Cluster;
use crate::progress::Progress;

/// Names that a finding tells.
const MOST_NAMES: usize = 3;

pub(super) async fn join(cluster: &Cluster, report: &mut Report) {
    let subjects = report.findings.iter().map(|finding| &finding.subject);
    let accounts = subjects.filter(|subject| subject.kind == SubjectKind::ServiceAccount);
    let accounts = accounts.map(|own| ((own.namespace.clone(), own.name.clone()), Pods::default()));
    let mut accounts: HashMap<_, _> = accounts.collect();
    if accounts.is_empty() {
        return;
    }
    let progress = Progress::new("pods");
    let listed = cluster.pods(|page| {
        progress.add(page.len());
        for (namespace, name, account) in page {
            let Some(pods) = accounts.get_mut(&(namespace, account)) else {
                continue;
            };
            pods.count += 1;
            pods.names.push(name);
            pods.names.sort();
            pods.names.truncate(MOST_NAMES);
        }
    });
    if let Err(failure) = listed.await {
        report.warn(Warning {
            text: format!("pods cannot be listed, so nothing is said of them: {failure}"),
            location: None,
            incomplete: true,
        });
        return;
    }
    for finding in &mut report.findings {
        let subject = &finding.subject;
        let key = (subject.namespace.clone(), subject.name.clone());
        if subject.kind == SubjectKind::ServiceAccount {
            finding.pods = accounts.get(&key).cloned();
        }
    }
}
