//! How a wave is judged: what was counted on its nodes against what must hold.

use std::collections::BTreeSet;

use jiff::Timestamp;
use streamway_crds::{Analysis, AnalysisStatus, Indicator, Objective, ObjectiveStatus, Percentage};

use super::observed::{Counted, Measured};
use crate::scrape::Tally;

/// What a measurement says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    Passed,
    /// Too few samples to say.
    Inconclusive,
    /// It could not be measured.
    Error,
    /// An objective is missed.
    Failed,
}

/// One measurement of the nodes `of`, noted in a status.
pub(super) fn measure(
    analysis: &Analysis,
    before: &AnalysisStatus,
    measured: Option<&Measured>,
    of: &BTreeSet<String>,
    now: Timestamp,
) -> AnalysisStatus {
    let mut status = before.clone();
    let mut verdict = Verdict::Passed;
    let mut why = Vec::new();
    status.objectives = Vec::new();
    for objective in &analysis.objectives {
        let (one, judged, reason) = judge(objective, analysis.min_samples, measured, of);
        verdict = verdict.max(judged);
        why.extend(reason);
        status.objectives.push(one);
    }
    status.measured_at = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
    match verdict {
        Verdict::Failed => status.failures += 1,
        Verdict::Inconclusive => status.inconclusive += 1,
        Verdict::Error => status.errors += 1,
        Verdict::Passed => {}
    }
    if verdict != Verdict::Inconclusive {
        status.inconclusive = 0;
    }
    if verdict != Verdict::Error {
        status.errors = 0;
    }
    status.message = Some(match verdict {
        Verdict::Passed => "all objectives are met".to_owned(),
        _ => why.join("; "),
    });
    status
}

/// Whether the last measurement passed.
pub(super) fn has_passed(status: &AnalysisStatus) -> bool {
    status.measured_at.is_some()
        && status.inconclusive == 0
        && status.errors == 0
        && status.objectives.iter().all(|objective| objective.met)
}

/// Whether too many measurements in a row could not say anything, and why it is so.
pub(super) fn cannot_tell(analysis: &Analysis, status: &AnalysisStatus) -> Option<String> {
    let message = status.message.as_deref().unwrap_or_default();
    if status.inconclusive > analysis.inconclusive_limit {
        Some(format!("the analysis has too few samples: {message}"))
    } else if status.errors > analysis.error_limit {
        Some(format!("the analysis cannot be made: {message}"))
    } else {
        None
    }
}

fn judge(
    objective: &Objective,
    min_samples: i32,
    measured: Option<&Measured>,
    of: &BTreeSet<String>,
) -> (ObjectiveStatus, Verdict, Option<String>) {
    let indicator = objective.indicator;
    let name = name(indicator);
    let counted: Vec<_> = measured
        .iter()
        .flat_map(|measured| &measured.nodes)
        .filter_map(|(node, counted)| of.contains(node).then_some(counted))
        .collect();
    let tallies: Vec<_> = counted
        .iter()
        .filter_map(|one| tally(one, indicator))
        .collect();
    let errors = counted.iter().filter_map(|one| one.error.as_deref());
    let error = errors.into_iter().next();
    let all = tallies.iter().copied().fold(Tally::default(), Tally::plus);
    let baseline = measured
        .and_then(|measured| measured.baseline.as_ref())
        .and_then(|baseline| tally(baseline, indicator))
        .filter(|baseline| baseline.total >= samples(min_samples));
    let value = Percentage::of(all.good, all.total);
    let worse =
        baseline
            .zip(value)
            .zip(objective.max_worse)
            .and_then(|((baseline, value), allowed)| {
                let baseline = Percentage::of(baseline.good, baseline.total)?;
                let lost = baseline.thousandths().saturating_sub(value.thousandths());
                (lost > allowed.thousandths()).then_some((baseline, allowed))
            });
    let (verdict, why) = if tallies.is_empty() {
        match (measured, error) {
            (None, _) => (Verdict::Error, Some("nothing was measured yet".to_owned())),
            (_, Some(error)) => (Verdict::Error, Some(format!("{name}: {error}"))),
            // Nothing on these nodes counts it: kubelets know no ends of sessions.
            _ => (Verdict::Passed, None),
        }
    } else if all.total < samples(min_samples) {
        let why = format!(
            "{name}: {} samples of {min_samples} that are needed",
            all.total
        );
        (Verdict::Inconclusive, Some(why))
    } else if let Some(value) = value.filter(|value| *value < objective.min) {
        let why = format!(
            "{name}: {value} of {} are good, wanted {}",
            all.total, objective.min
        );
        (Verdict::Failed, Some(why))
    } else if let (Some((baseline, allowed)), Some(value)) = (worse, value) {
        let why = format!(
            "{name}: {value}, more than {allowed} worse than the {baseline} of nodes that are not over"
        );
        (Verdict::Failed, Some(why))
    } else {
        (Verdict::Passed, None)
    };
    let status = ObjectiveStatus {
        indicator,
        samples: i64::try_from(all.total).unwrap_or(i64::MAX),
        value,
        baseline: baseline.and_then(|baseline| Percentage::of(baseline.good, baseline.total)),
        met: verdict == Verdict::Passed,
    };
    (status, verdict, why)
}

fn samples(min: i32) -> u64 {
    u64::try_from(min).unwrap_or(0)
}

fn tally(counted: &Counted, indicator: Indicator) -> Option<Tally> {
    match indicator {
        Indicator::Upgrades => counted.upgrades,
        Indicator::Sessions => counted.sessions,
        Indicator::Probes => counted.probes,
    }
}

fn name(indicator: Indicator) -> &'static str {
    match indicator {
        Indicator::Upgrades => "upgrades",
        Indicator::Sessions => "sessions",
        Indicator::Probes => "probes",
    }
}
