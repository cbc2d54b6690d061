//! How a wave is judged: what was counted on its nodes against what must hold.

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

/// One measurement, noted in a status.
pub(super) fn measure(
    analysis: &Analysis,
    before: &AnalysisStatus,
    measured: Option<&Measured>,
    now: Timestamp,
) -> AnalysisStatus {
    let mut status = before.clone();
    let mut verdict = Verdict::Passed;
    let mut why = Vec::new();
    // Another leader counts from zero.
    let count = measured.map(|measured| measured.count.clone());
    let goes_on = count.is_none() || before.count == count;
    status.count = count.or(status.count);
    status.objectives = Vec::new();
    for objective in &analysis.objectives {
        let earlier = before
            .objectives
            .iter()
            .find(|one| one.indicator == objective.indicator);
        let earlier = Counts::of(earlier, goes_on);
        let (one, judged, reason) = judge(objective, analysis.min_samples, measured, earlier);
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
    // An error says nothing, and so ends no row of those.
    if matches!(verdict, Verdict::Passed | Verdict::Failed) {
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
    let cannot = if status.inconclusive > analysis.inconclusive_limit {
        "tell"
    } else if status.errors > analysis.error_limit {
        "be made"
    } else {
        return None;
    };
    Some(format!(
        "the analysis cannot {cannot}: {message}; it goes on by itself once it can, a RolloutAction \
         Resume begins nodes meanwhile, and Promote ends a bake"
    ))
}

/// An objective's counts since the wave began, as its status keeps them from one measurement to the next.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    all: Tally,
    /// Of the bad ones, those that a measurement failed by.
    blamed: u64,
    good_since: u64,
    /// What the present count had come to: another begins at zero.
    counted: Tally,
}

impl Counts {
    /// What a status kept; `goes_on` says whether its count is the present one.
    fn of(status: Option<&ObjectiveStatus>, goes_on: bool) -> Self {
        let number = |number: i64| u64::try_from(number).unwrap_or(0);
        let tally = |total, bad| Tally {
            good: number(total).saturating_sub(number(bad)),
            total: number(total),
        };
        let Some(status) = status else {
            return Self::default();
        };
        let counted = tally(status.counted, status.counted_bad);
        Self {
            all: tally(status.samples, status.bad),
            blamed: number(status.blamed),
            good_since: number(status.good_since),
            counted: if goes_on { counted } else { Tally::default() },
        }
    }

    /// With what the present count has come to by now.
    fn plus(self, counted: Tally) -> Self {
        let new = counted.since(self.counted);
        let good_since = if bad(new) > 0 {
            0
        } else {
            self.good_since.saturating_add(new.total)
        };
        Self {
            all: self.all.plus(new),
            good_since,
            counted,
            ..self
        }
    }

    /// As the status of an objective that is not met.
    fn told(self, indicator: Indicator) -> ObjectiveStatus {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        ObjectiveStatus {
            indicator,
            samples: number(self.all.total),
            value: Percentage::of(self.all.good, self.all.total),
            baseline: None,
            bad: number(bad(self.all)),
            blamed: number(self.blamed),
            good_since: number(self.good_since),
            counted: number(self.counted.total),
            counted_bad: number(bad(self.counted)),
            met: false,
        }
    }
}

fn bad(tally: Tally) -> u64 {
    tally.total.saturating_sub(tally.good)
}

/// One objective: what was counted, what it says, and what is not good of it.
fn judge(
    objective: &Objective,
    min_samples: i32,
    measured: Option<&Measured>,
    earlier: Counts,
) -> (ObjectiveStatus, Verdict, Option<String>) {
    let indicator = objective.indicator;
    let Some(measured) = measured else {
        let why = "nothing was measured yet".to_owned();
        return (earlier.told(indicator), Verdict::Error, Some(why));
    };
    let places: Vec<_> = measured.places().collect();
    let counted = places.iter().filter_map(|(_, one)| tally(one, indicator));
    let mut now = earlier.plus(counted.fold(Tally::default(), Tally::plus));
    let all = now.all;
    let baseline = measured.baseline.as_ref();
    let baseline = baseline
        .and_then(|baseline| tally(baseline, indicator))
        .filter(|baseline| baseline.total >= samples(min_samples))
        .and_then(|baseline| Percentage::of(baseline.good, baseline.total));
    // Nothing on these nodes counts it, as kubelets count no ends of sessions; or nothing tells what it counts.
    let mut nodes = measured.nodes.values();
    let silent = nodes.all(|one| tally(one, indicator).is_none());
    let mut nodes = measured.nodes.values();
    let error = nodes.find_map(|one| one.error.clone()).filter(|_| silent);
    let (verdict, why) = if let Some(error) = error {
        (Verdict::Error, Some(error))
    } else if all.total < samples(min_samples) {
        let why = format!("{} samples of {min_samples} that are needed", all.total);
        if silent {
            (Verdict::Passed, None)
        } else {
            (Verdict::Inconclusive, Some(why))
        }
    } else if let Some(mut why) = missed(objective, all, baseline) {
        if let Some((node, failure)) = last_failure(&places, indicator) {
            why.push_str(&format!(" (node {node}: {failure})"));
        }
        // What is bad fails one measurement and no other: the limit is on measurements. But it takes as
        // many good samples as a verdict needs to go on from there.
        let verdict = if bad(all) > now.blamed {
            (now.blamed, now.good_since) = (bad(all), 0);
            Verdict::Failed
        } else {
            let since = now.good_since;
            why.push_str(&format!("; {since} since were good"));
            if since < samples(min_samples) {
                why.push_str(&format!(" of {min_samples} that are needed"));
                Verdict::Inconclusive
            } else {
                Verdict::Passed
            }
        };
        (verdict, Some(why))
    } else {
        (Verdict::Passed, None)
    };
    let status = ObjectiveStatus {
        baseline,
        met: verdict == Verdict::Passed,
        ..now.told(indicator)
    };
    (status, verdict, why)
}

/// The probe that failed last, and its node.
fn last_failure<'a>(
    places: &[(&'a str, &'a Counted)],
    indicator: Indicator,
) -> Option<(&'a str, &'a str)> {
    let failures = places.iter().filter_map(|(node, one)| {
        let (time, why) = one.failure.as_ref()?;
        Some((*time, *node, why.as_str()))
    });
    let (_, node, why) = failures.max_by_key(|(time, ..)| *time)?;
    (indicator == Indicator::Probes).then_some((node, why))
}

/// How an objective is missed, if it is.
fn missed(objective: &Objective, all: Tally, baseline: Option<Percentage>) -> Option<String> {
    let (total, value) = (all.total, Percentage::of(all.good, all.total)?);
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
            count: "one".to_owned(),
            left: Counted::default(),
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
        measure(spec, before, measured, Timestamp::UNIX_EPOCH)
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
        for (count, good, total, counts) in [
            // Too few to say anything, and so counted when there are enough.
            ("one", 8, 9, (0, 1, 0)),
            ("one", 9, 10, (1, 0, 0)),
            // No further one failed: as many as a verdict needs make up for it.
            ("one", 14, 15, (1, 1, 0)),
            ("one", 18, 19, (1, 2, 0)),
            ("one", 19, 20, (1, 0, 0)),
            // Another leader counts from zero, and has seen another bad one by now.
            ("two", 4, 5, (2, 0, 0)),
            ("two", 9, 10, (2, 1, 0)),
            ("three", 5, 5, (2, 0, 0)),
            ("three", 9, 10, (3, 0, 0)),
            // Nothing is measured yet by one that has just begun to lead: what is known stays.
            ("", 0, 0, (3, 0, 1)),
            ("three", 14, 15, (3, 1, 0)),
            ("", 0, 0, (3, 1, 1)),
            ("four", 4, 4, (3, 2, 0)),
            ("four", 5, 5, (3, 0, 0)),
            // Two more are bad, and the objective holds.
            ("four", 9_990, 9_992, (3, 0, 0)),
        ] {
            let measured = nodes(&[counted(good, total)]).map(|measured| Measured {
                count: count.to_owned(),
                ..measured
            });
            let measured = measured.filter(|measured| !measured.count.is_empty());
            status = run(&spec, &status, measured.as_ref());
            let found = (status.failures, status.inconclusive, status.errors);
            assert_eq!(found, counts, "{good} of {total}, count {count}");
        }
    }

    #[test]
    fn a_bad_one_that_failed_nothing_yet_outlives_its_leader() {
        let spec = spec(json!({"indicator": "Probes"}));
        let status = AnalysisStatus::default();
        let few = nodes(&[counted(8, 9)]);
        let status = run(&spec, &status, few.as_ref());
        assert_eq!((status.failures, status.inconclusive), (0, 1));
        let another = nodes(&[counted(10, 10)]).map(|measured| Measured {
            count: "two".to_owned(),
            ..measured
        });
        let status = run(&spec, &status, another.as_ref());
        assert_eq!(status.failures, 1);
        assert_eq!(
            (status.objectives[0].samples, status.objectives[0].bad),
            (19, 1)
        );
    }

    #[test]
    fn nodes_that_left_hide_no_error() {
        let spec = spec(json!({"indicator": "Sessions"}));
        let silent = Counted {
            error: Some("no route to host".to_owned()),
            ..Counted::default()
        };
        let sessions = Tally {
            good: 20,
            total: 20,
        };
        let measured = nodes(&[silent]).map(|measured| Measured {
            left: Counted {
                sessions: Some(sessions),
                ..Counted::default()
            },
            ..measured
        });
        let status = run(&spec, &AnalysisStatus::default(), measured.as_ref());
        assert_eq!((status.errors, status.objectives[0].samples), (1, 20));
    }

    #[test]
    fn bad_ones_that_were_allowed_fail_when_the_objective_is_missed() {
        let spec = spec(json!({"indicator": "Probes", "min": "90%", "maxWorse": "1%"}));
        let mut status = AnalysisStatus::default();
        let baseline = |total| counted(total, total);
        for (before, good, total, failures) in [
            (9, 8, 10, 1),
            // Not compared yet, and more than nine of ten are good.
            (9, 958, 1010, 1),
            // Compared: 5% worse, by samples that failed no measurement.
            (10, 968, 1020, 2),
            (10, 973, 1025, 2),
        ] {
            let measured = against(baseline(before), &[counted(good, total)]);
            status = run(&spec, &status, measured.as_ref());
            assert_eq!(status.failures, failures, "{good} of {total}");
            assert_eq!(has_passed(&status), total == 1010, "{status:?}");
        }
    }

    #[test]
    fn what_was_counted_on_nodes_that_left_stays() {
        let spec = spec(json!({"indicator": "Probes"}));
        let status = AnalysisStatus::default();
        let status = run(
            &spec,
            &status,
            nodes(&[counted(10, 10), counted(9, 10)]).as_ref(),
        );
        assert_eq!(status.failures, 1);
        // The node with the bad one leaves, and another has its first.
        let left = nodes(&[counted(19, 20)]).map(|measured| Measured {
            left: counted(9, 10),
            ..measured
        });
        assert_eq!(run(&spec, &status, left.as_ref()).failures, 2);
    }

    #[test]
    fn the_last_failure_is_told() {
        let spec = spec(json!({"indicator": "Probes"}));
        let broken = |good, seconds| Counted {
            failure: Some((
                Timestamp::from_second(seconds).unwrap(),
                format!("attach: not done after {seconds}s"),
            )),
            ..counted(good, 10)
        };
        let mut status = AnalysisStatus::default();
        let long = Counted {
            probes: counted(20, 20).probes,
            ..Counted::default()
        };
        for (all, told) in [
            (
                vec![broken(9, 1), broken(9, 10)],
                "90% of 20 are good, wanted 99.9% (node n1: attach: not done after 10s)",
            ),
            (
                vec![broken(9, 1), broken(9, 10), long],
                "probes: 95% of 40 are good, wanted 99.9% (node n1: attach: not done after 10s); 20 since were good",
            ),
        ] {
            status = run(&spec, &status, nodes(&all).as_ref());
            let message = status.message.as_ref().unwrap();
            assert!(message.ends_with(told), "{message}");
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
