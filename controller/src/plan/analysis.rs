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
        let earlier = before
            .objectives
            .iter()
            .find(|one| one.indicator == objective.indicator);
        let (one, judged, reason) = judge(objective, analysis.min_samples, measured, of, earlier);
        verdict = verdict.max(judged);
        why.extend(reason.map(|why| format!("{}: {why}", name(objective.indicator))));
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
    status.message = Some(if why.is_empty() {
        "all objectives are met".to_owned()
    } else {
        why.join("; ")
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
        Some(format!(
            "the analysis cannot tell: {message}; a RolloutAction Resume lets it measure on"
        ))
    } else if status.errors > analysis.error_limit {
        Some(format!(
            "the analysis cannot be made: {message}; a RolloutAction Resume lets it try again"
        ))
    } else {
        None
    }
}

/// One objective: what was counted, what it says, and what is not good of it.
fn judge(
    objective: &Objective,
    min_samples: i32,
    measured: Option<&Measured>,
    of: &BTreeSet<String>,
    earlier: Option<&ObjectiveStatus>,
) -> (ObjectiveStatus, Verdict, Option<String>) {
    let indicator = objective.indicator;
    let nodes = measured.iter().flat_map(|measured| &measured.nodes);
    let counted = nodes.filter(|(node, _)| of.contains(*node));
    let counted: Vec<_> = counted.collect();
    let tallies = counted.iter().filter_map(|(_, one)| tally(one, indicator));
    let all = tallies.clone().fold(Tally::default(), Tally::plus);
    let value = Percentage::of(all.good, all.total);
    let baseline = measured
        .and_then(|measured| tally(measured.baseline.as_ref()?, indicator))
        .filter(|baseline| baseline.total >= samples(min_samples))
        .and_then(|baseline| Percentage::of(baseline.good, baseline.total));
    let mut since_failure = since_failure(earlier, all.total);
    let (verdict, why) = if measured.is_none() {
        (Verdict::Error, Some("nothing was measured yet".to_owned()))
    } else if tallies.clone().next().is_none() {
        match counted.iter().find_map(|(_, one)| one.error.clone()) {
            Some(error) => (Verdict::Error, Some(error)),
            // Nothing on these nodes counts it: kubelets know no ends of sessions.
            None => (Verdict::Passed, None),
        }
    } else if all.total < samples(min_samples) {
        let why = format!("{} samples of {min_samples} that are needed", all.total);
        (Verdict::Inconclusive, Some(why))
    } else if let Some(mut why) = missed(objective, value, all.total, baseline) {
        if indicator == Indicator::Probes
            && let Some((node, failure)) = counted
                .iter()
                .find_map(|(node, one)| Some((node, one.failure.as_ref()?)))
        {
            why.push_str(&format!(" (node {node}: {failure})"));
        }
        // What went wrong has failed the measurement that saw it first, and fails no other: the limit is
        // on measurements. But it takes as many good samples as a verdict needs to go on from there.
        let new = all.total.saturating_sub(all.good) > bad(earlier, all.total);
        let verdict = match since_failure {
            Some(since) if !new => {
                why.push_str(&format!("; all {since} since were good"));
                if since < samples(min_samples) {
                    why.push_str(&format!(" of {min_samples} that are needed"));
                    Verdict::Inconclusive
                } else {
                    Verdict::Passed
                }
            }
            _ => {
                since_failure = Some(0);
                Verdict::Failed
            }
        };
        (verdict, Some(why))
    } else {
        (Verdict::Passed, None)
    };
    let count = |samples: u64| i64::try_from(samples).unwrap_or(i64::MAX);
    let status = ObjectiveStatus {
        indicator,
        samples: count(all.total),
        value,
        baseline,
        samples_since_failure: since_failure.map(count),
        met: verdict == Verdict::Passed,
    };
    (status, verdict, why)
}

/// How many samples came since the measurement that failed last, if one did.
fn since_failure(earlier: Option<&ObjectiveStatus>, total: u64) -> Option<u64> {
    let earlier = earlier?;
    let before = u64::try_from(earlier.samples_since_failure?).ok()?;
    let counted = u64::try_from(earlier.samples).ok()?;
    // All of them, where counting began anew.
    let new = total.checked_sub(counted).unwrap_or(total);
    Some(before.saturating_add(new))
}

/// How an objective is missed, if it is.
fn missed(
    objective: &Objective,
    value: Option<Percentage>,
    total: u64,
    baseline: Option<Percentage>,
) -> Option<String> {
    let value = value?;
    if value < objective.min {
        let wanted = objective.min;
        return Some(format!("{value} of {total} are good, wanted {wanted}"));
    }
    let (baseline, allowed) = baseline.zip(objective.max_worse)?;
    let worse = baseline.thousandths().saturating_sub(value.thousandths());
    (worse > allowed.thousandths()).then(|| {
        format!("{value}, more than {allowed} worse than the {baseline} of nodes that are not over")
    })
}

/// How many samples were bad at an earlier measurement; none, if counting began anew after it.
fn bad(earlier: Option<&ObjectiveStatus>, total: u64) -> u64 {
    let earlier = earlier.and_then(|one| Some((u64::try_from(one.samples).ok()?, one.value?)));
    let Some((samples, value)) = earlier.filter(|(samples, _)| *samples <= total) else {
        return 0;
    };
    // The value was rounded down, which up to 100,000 samples loses nothing.
    let good = (samples * u64::from(value.thousandths())).div_ceil(100_000);
    samples.saturating_sub(good)
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn counted(good: u64, total: u64) -> Counted {
        Counted {
            probes: Some(Tally { good, total }),
            ..Counted::default()
        }
    }

    fn nodes(all: &[Counted]) -> Option<Measured> {
        let name = |index| format!("n{index}");
        let nodes = all.iter().enumerate();
        Some(Measured {
            since: Timestamp::UNIX_EPOCH,
            nodes: nodes
                .map(|(index, one)| (name(index), one.clone()))
                .collect(),
            baseline: None,
        })
    }

    fn against(baseline: Counted, all: &[Counted]) -> Option<Measured> {
        let baseline = Some(baseline);
        nodes(all).map(|measured| Measured {
            baseline,
            ..measured
        })
    }

    fn spec(objective: Value) -> Analysis {
        from_value(json!({"objectives": [objective], "minSamples": 10})).unwrap()
    }

    fn run(
        spec: &Analysis,
        before: &AnalysisStatus,
        measured: Option<&Measured>,
    ) -> AnalysisStatus {
        let of = ["n0", "n1"].map(str::to_owned).into();
        measure(spec, before, measured, &of, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn verdicts() {
        let probes = json!({"indicator": "Probes"});
        let compared = json!({"indicator": "Probes", "min": "90%", "maxWorse": "1%"});
        let sessions = json!({"indicator": "Sessions"});
        let silent = Counted {
            error: Some("no route to host".to_owned()),
            ..Counted::default()
        };
        let table = [
            // Failures, inconclusive, errors, and a word of the message.
            (&probes, None, (0, 0, 1), "nothing was measured"),
            (&probes, nodes(&[]), (0, 0, 0), "met"),
            (
                &probes,
                nodes(&[counted(9, 9)]),
                (0, 1, 0),
                "9 samples of 10",
            ),
            (
                &probes,
                nodes(&[counted(9, 9), counted(1, 1)]),
                (0, 0, 0),
                "met",
            ),
            (&probes, nodes(&[counted(999, 1000)]), (0, 0, 0), "met"),
            (
                &probes,
                nodes(&[counted(998, 1000)]),
                (1, 0, 0),
                "99.8% of 1000",
            ),
            // A node that is not in the wave.
            (
                &probes,
                nodes(&[counted(10, 10), counted(10, 10), counted(0, 10)]),
                (0, 0, 0),
                "met",
            ),
            (
                &probes,
                nodes(&[silent.clone(), silent.clone()]),
                (0, 0, 1),
                "no route",
            ),
            (
                &probes,
                nodes(&[silent.clone(), counted(10, 10)]),
                (0, 0, 0),
                "met",
            ),
            // Nothing there counts sessions.
            (&sessions, nodes(&[counted(0, 10)]), (0, 0, 0), "met"),
            (
                &compared,
                against(counted(100, 100), &[counted(99, 100)]),
                (0, 0, 0),
                "met",
            ),
            (
                &compared,
                against(counted(100, 100), &[counted(98, 100)]),
                (1, 0, 0),
                "worse than the 100%",
            ),
            (
                &compared,
                against(counted(9, 9), &[counted(98, 100)]),
                (0, 0, 0),
                "met",
            ),
            (
                &compared,
                against(counted(0, 100), &[counted(80, 100)]),
                (1, 0, 0),
                "wanted 90%",
            ),
        ];
        for (objective, measured, counts, word) in table {
            let status = run(
                &spec(objective.clone()),
                &AnalysisStatus::default(),
                measured.as_ref(),
            );
            let message = status.message.clone().unwrap();
            let found = (status.failures, status.inconclusive, status.errors);
            assert_eq!(found, counts, "{objective} {measured:?}: {message}");
            assert!(message.contains(word), "{message}");
            assert_eq!(has_passed(&status), counts == (0, 0, 0));
        }
    }

    #[test]
    fn what_went_wrong_once_fails_once() {
        let spec = spec(json!({"indicator": "Probes"}));
        let mut status = AnalysisStatus::default();
        for (good, total, counts) in [
            // Too few to say anything, and so counted when there are enough.
            (8, 9, (0, 1, 0)),
            (9, 10, (1, 0, 0)),
            // No further one failed: as many as a verdict needs make up for it.
            (14, 15, (1, 1, 0)),
            (18, 19, (1, 2, 0)),
            (19, 20, (1, 0, 0)),
            (38, 40, (2, 0, 0)),
            (42, 44, (2, 1, 0)),
            (9_990, 9_992, (2, 0, 0)),
            // Another controller counts from zero.
            (10, 10, (2, 0, 0)),
            (19, 20, (3, 0, 0)),
            (29, 30, (3, 0, 0)),
            // And another, of which little is known.
            (4, 5, (3, 1, 0)),
            (9, 10, (3, 0, 0)),
        ] {
            status = run(&spec, &status, nodes(&[counted(good, total)]).as_ref());
            let found = (status.failures, status.inconclusive, status.errors);
            assert_eq!(found, counts, "{good} of {total}");
        }
    }

    #[test]
    fn what_failed_is_told() {
        let spec = spec(json!({"indicator": "Probes"}));
        let failure = Some("attach: not done after 10s".to_owned());
        let broken = Counted {
            failure,
            ..counted(9, 10)
        };
        let mut status = AnalysisStatus::default();
        for (one, told) in [
            (
                broken.clone(),
                "95% of 20 are good, wanted 99.9% (node n1: attach: not done after 10s)",
            ),
            (
                Counted {
                    probes: counted(19, 20).probes,
                    ..broken
                },
                "probes: 96.666% of 30 are good, wanted 99.9% (node n1: attach: not done after 10s); all 10 since were good",
            ),
        ] {
            status = run(&spec, &status, nodes(&[counted(10, 10), one]).as_ref());
            assert!(
                status.message.as_ref().unwrap().ends_with(told),
                "{status:?}"
            );
        }
        assert!(has_passed(&status));
    }

    #[test]
    fn limits_are_told_apart() {
        let mut spec = spec(json!({"indicator": "Probes"}));
        (spec.inconclusive_limit, spec.error_limit) = (1, 2);
        let mut status = AnalysisStatus::default();
        for (measured, paused) in [
            (None, false),
            (None, false),
            (nodes(&[counted(1, 1)]), false),
            (nodes(&[counted(1, 1)]), true),
            (nodes(&[counted(10, 10)]), false),
            (None, false),
            (None, false),
            (None, true),
        ] {
            status = run(&spec, &status, measured.as_ref());
            assert_eq!(cannot_tell(&spec, &status).is_some(), paused, "{status:?}");
        }
    }
}
