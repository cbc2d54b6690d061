//! How a wave is judged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::percentage::Percentage;
use crate::rules::rule;

/// How a wave is judged. Measured every interval, each time with one of four verdicts: passed, failed (an objective
/// is missed by samples that have failed none before), inconclusive (too few samples to say) or error (could not be measured).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "self.prober.enabled || !self.objectives.exists(objective, objective.indicator == 'Probes')",
        "without a prober there are no Probes to judge: write objectives without Probes, or prober.enabled: true",
    ),
    rule(
        "self.interval.matches('[1-9]') && self.prober.interval.matches('[1-9]') \
         && self.prober.timeout.matches('[1-9]')",
        "intervals and the timeout are more than zero: write such as 30s",
    ),
]))]
pub struct Analysis {
    /// What must hold. The default is what KEP-4006 promises: 99.9% of upgrades succeed, 99.9% of sessions end without an error that is ours, and 99.9% of probes.
    #[schemars(length(max = 3), extend(
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["indicator"],
        "x-kubernetes-validations" = [rule(
            "self.size() > 0",
            "write at least one objective, or leave objectives out for the default ones",
        )],
    ))]
    pub objectives: Vec<Objective>,
    /// How often it is measured.
    pub interval: Duration,
    /// How many samples of an indicator a verdict on it needs at least, and how many good ones after a failure that failureLimit allows.
    #[schemars(range(min = 1))]
    pub min_samples: i32,
    /// How many measurements of a wave may fail. One more, and the wave has failed.
    #[schemars(range(min = 0))]
    pub failure_limit: i32,
    /// How many measurements of a wave may be inconclusive in a row. One more, and the rollout pauses.
    #[schemars(range(min = 0))]
    pub inconclusive_limit: i32,
    /// How many measurements of a wave may end in an error in a row. One more, and the rollout pauses.
    #[schemars(range(min = 0))]
    pub error_limit: i32,
    /// The real sessions that are tried on each node, so that a quiet cluster has samples too.
    pub prober: Prober,
}

/// What must hold of one indicator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Objective {
    /// What is counted.
    pub indicator: Indicator,
    /// How much of it must be good, such as "99.9%".
    #[serde(default = "three_nines")]
    pub min: Percentage,
    /// How much worse than the nodes that are not over yet it may be, such as "0.5%" for half a percentage point. Not compared, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_worse: Option<Percentage>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Indicator {
    /// Requests to stream; good are those that reach 101 Switching Protocols or are refused for a reason of the client's.
    Upgrades,
    /// Sessions that ended; good are those that ended without an error that is ours.
    Sessions,
    /// Probes of the prober's; good are those that passed.
    Probes,
}

/// The real sessions that are tried on each node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Prober {
    /// Whether they are tried.
    pub enabled: bool,
    /// How often on each node that is over or on its way.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
}

impl Default for Analysis {
    fn default() -> Self {
        let objective = |indicator| Objective {
            indicator,
            min: three_nines(),
            max_worse: None,
        };
        Self {
            objectives: [Indicator::Upgrades, Indicator::Sessions, Indicator::Probes]
                .map(objective)
                .into(),
            interval: Duration::from_secs(30),
            min_samples: 10,
            failure_limit: 2,
            inconclusive_limit: 20,
            error_limit: 4,
            prober: Prober::default(),
        }
    }
}

impl Default for Prober {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
        }
    }
}

const fn three_nines() -> Percentage {
    Percentage::from_thousandths(99_900)
}
