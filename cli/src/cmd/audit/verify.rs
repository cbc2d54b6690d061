//! The API server's own answers about findings.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use streamway_audit::{Finding, Probe, Report, Verdict, Warning};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::cluster::{Cluster, Failure};
use crate::progress::Progress;

const PATH: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Asks about each finding, no more often than `rate` times a second.
pub(super) async fn join(cluster: &Cluster, report: &mut Report, rate: u32) {
    let progress = Progress::new("findings verified");
    progress.left(report.findings.len());
    let mut turns = interval(Duration::from_secs(1) / rate);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut gone = None;
    for finding in &mut report.findings {
        let verdict = match &gone {
            None => ask(cluster, finding, &mut turns).await,
            Some(why) => Err(String::clone(why)),
        };
        finding.verdict = Some(verdict.unwrap_or_else(|why| {
            gone = Some(why.clone());
            Verdict::Unknown { text: why }
        }));
        progress.add(1);
    }
    if let Some(why) = gone {
        report.warn(Warning {
            text: format!(
                "not all findings are verified: {why}; needed is create on subjectaccessreviews"
            ),
            location: None,
            incomplete: true,
        });
    }
}

async fn ask(
    cluster: &Cluster,
    finding: &Finding,
    turns: &mut Interval,
) -> Result<Verdict, String> {
    let mut differs = Vec::new();
    for probe in finding.probes() {
        turns.tick().await;
        let allowed = review(cluster, finding, &probe).await;
        let allowed = allowed.map_err(|failure| failure.to_string())?;
        if allowed != probe.allowed {
            let answer = if allowed { "allows" } else { "denies" };
            differs.push(format!("the API server {answer} {probe}"));
        }
    }
    Ok(match differs.is_empty() {
        true => Verdict::Confirmed,
        false => Verdict::Refuted {
            text: differs.join("; "),
        },
    })
}

async fn review(cluster: &Cluster, finding: &Finding, probe: &Probe) -> Result<bool, Failure> {
    let who = finding.subject.to_rbac().who();
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: some(&who.name),
            groups: Some(who.groups),
            resource_attributes: Some(ResourceAttributes {
                verb: some(probe.verb),
                group: some(probe.group),
                resource: some(probe.resource),
                subresource: some(probe.subresource),
                namespace: some(&probe.namespace),
                name: some(&probe.name),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let body = serde_json::to_vec(&review)?;
    let answer = cluster.post(PATH, body).await?;
    let review: SubjectAccessReview = serde_json::from_slice(&answer.body)?;
    Ok(review.status.is_some_and(|status| status.allowed))
}
