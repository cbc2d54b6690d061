//! The plan: from what is seen to what is to be done. Pure: no IO, no clock, no memory.
//!
//! [`plan`] takes one [`Observed`] and the time, and gives one [`Plan`]. Whoever calls it carries the
//! plan out and calls it again when something changed, or at [`Plan::wake_at`].
//!
//! ```text
//! nodes ─▶ views ─▶ membership ─▶ standings ─▶ rollouts: waves, verbs, analysis ─▶ statuses
//!                                                  └─▶ goals ─▶ switch: one step per node ─▶ specs, Nodes, statuses
//! ```
//!
//! All that lasts is in the API objects, so that a controller that takes over goes on where the one
//! before it stopped. What is only in memory (heartbeats, probes, counts) may be lost at any time: it is
//! gathered again before anything is decided on it. Each plan takes one step per object, from what was
//! read back, never from what it has just planned; so every place between two writes is a safe one.
//!
//! A node costs these writes, and while nothing changes none (tests::switching::few_writes):
//!
//! | | NodeStreaming spec | Node status | NodeStreaming status |
//! |---|---|---|---|
//! | placed in a wave | 1 | 0 | 1 |
//! | over, the kubelet takes WebSockets | 1 | 0 | 2 |
//! | over, behind the agent | 2 | 1 (by port 2) | 3 |
//! | back from there | 3 | 1 (by port 2) | 4 |

mod actions;
mod analysis;
mod calendar;
mod faults;
mod goals;
mod membership;
mod mode;
mod node_status;
mod nodes;
mod observed;
mod probes;
mod revision;
mod rollout;
mod selector;
mod standing;
mod switch;
mod version;
mod view;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use streamway_crds::{ActionResult, RolloutAction, RolloutActionStatus};

pub(crate) use actions::{Chain, Event, Measure, NodePatch, Plan, ProbeOrder, Subject, Write};
use membership::Followed;
pub(crate) use observed::{AgentPod, Counted, Measured, Observed, ObservedNode, Probed, Probes};
use rollout::{Answer, Outcome, Round};
use standing::Standing;
pub(crate) use version::Version;
use view::View;

/// An action may be seen before the rollout that was made with it.
const ROLLOUT_IS_SEEN: SignedDuration = SignedDuration::from_secs(5);

/// What is to be done now.
pub(crate) fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let views = nodes::views(observed, &mut plan);
    let followed = membership::place(&observed.rollouts, &views);
    let standings: Vec<Vec<Standing>> = followed
        .iter()
        .map(|one| standings(one, &views, now))
        .collect();
    let mut steps = nodes::Steps::new(observed, &views, now);
    for (one, standings) in followed.iter().zip(&standings) {
        let outcome = advance(observed, one, &views, standings, now);
        steps.follow(one, standings, &outcome.begins, &mut plan);
        wants_measured(one, standings, &views, &mut plan);
        write(one, outcome, &mut plan);
    }
    steps.leave(&mut plan);
    steps.end(&mut plan);
    unknown_rollouts(observed, now, &mut plan);
    plan
}

fn standings(followed: &Followed<'_>, views: &[View<'_>], now: Timestamp) -> Vec<Standing> {
    let members = followed.members.iter();
    members
        .filter_map(|member| {
            Some(Standing::of(
                views.get(member.node)?,
                *member,
                followed,
                now,
            ))
        })
        .collect()
}

fn advance(
    observed: &Observed,
    followed: &Followed<'_>,
    views: &[View<'_>],
    standings: &[Standing],
    now: Timestamp,
) -> Outcome {
    let actions = observed.actions.iter().map(AsRef::as_ref);
    let own = actions.filter(|action: &&RolloutAction| action.spec.rollout == followed.name);
    let obstacle = obstacle(observed);
    rollout::advance(&Round {
        followed,
        views,
        standings,
        measured: observed.measured.get(followed.name),
        action: rollout::oldest_unanswered(own),
        obstacle: obstacle
            .as_ref()
            .map(|(why, passes)| (why.as_str(), *passes)),
        all_nodes_known: views.len() == observed.nodes.len(),
        now,
    })
}

/// Why nothing can be begun in this cluster, and whether that passes by itself.
fn obstacle(observed: &Observed) -> Option<(String, bool)> {
    let Some(version) = observed.api_server else {
        return Some(("the API server's version is not known yet".to_owned(), true));
    };
    if version < version::TRANSLATES {
        let message = format!(
            "the API server is {version} and takes no WebSockets: have clients use streamproxy gateway, or upgrade it to {}",
            version::SENDS_WEBSOCKETS
        );
        return Some((message, false));
    }
    if version < version::SENDS_WEBSOCKETS {
        let message = format!(
            "the API server is {version} and translates for every node: upgrade it to {} for it to send WebSockets on",
            version::SENDS_WEBSOCKETS
        );
        return Some((message, false));
    }
    observed.obstacle.clone().map(|obstacle| (obstacle, false))
}

/// Counting goes with the wave that is judged.
fn wants_measured(
    followed: &Followed<'_>,
    standings: &[Standing],
    views: &[View<'_>],
    plan: &mut Plan,
) {
    use streamway_crds::WavePhase::{Baking, Progressing};
    let status = followed.rollout.status.as_ref();
    let waves = status
        .filter(|_| followed.is_adopted())
        .map(|status| &status.waves);
    let judged = waves.and_then(|waves| {
        let mut waves = waves.iter().enumerate();
        waves.find(|(_, wave)| matches!(wave.phase, Progressing | Baking))
    });
    let Some((index, wave)) = judged else {
        return;
    };
    let Some(started) = &wave.started_at else {
        return;
    };
    let begun = standings
        .iter()
        .filter(|one| one.wave == index && one.is_begun());
    let nodes = begun.filter_map(|one| Some(views.get(one.node)?.name.to_owned()));
    let measure = Measure {
        since: started.0,
        interval: followed.rollout.spec.analysis.interval.get(),
        nodes: nodes.collect(),
    };
    plan.measure.insert(followed.name.to_owned(), measure);
}

fn write(followed: &Followed<'_>, outcome: Outcome, plan: &mut Plan) {
    if let Some(time) = outcome.wake {
        plan.wake(time);
    }
    let before = followed.rollout.status.as_ref();
    if before != Some(&outcome.status) {
        plan.chains.push(Chain {
            about: Subject::Rollout(followed.name.to_owned()),
            writes: vec![Write::Rollout {
                rollout: followed.name.to_owned(),
                resource_version: followed.rollout.metadata.resource_version.clone(),
                status: Box::new(outcome.status),
                events: outcome.events,
            }],
        });
    }
    if let Some(answer) = outcome.answer {
        plan.chains.push(chain(answer));
    }
}

fn chain(answer: Answer) -> Chain {
    Chain {
        about: Subject::Action(answer.action.clone()),
        writes: vec![Write::Answer {
            action: answer.action,
            status: answer.status,
        }],
    }
}

/// Actions for rollouts that do not exist.
fn unknown_rollouts(observed: &Observed, now: Timestamp, plan: &mut Plan) {
    let exists = |name: &str| {
        let mut rollouts = observed.rollouts.iter();
        rollouts.any(|rollout| rollout.metadata.name.as_deref() == Some(name))
    };
    for action in &observed.actions {
        let answered = action
            .status
            .as_ref()
            .is_some_and(|status| status.result.is_some());
        if answered || exists(&action.spec.rollout) {
            continue;
        }
        let created = action
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(now, |time| time.0);
        let certain = created + ROLLOUT_IS_SEEN;
        if now < certain {
            plan.wake(certain);
            continue;
        }
        let rollout = &action.spec.rollout;
        plan.chains.push(chain(Answer {
            action: action.metadata.name.clone().unwrap_or_default(),
            status: RolloutActionStatus {
                result: Some(ActionResult::Refused),
                message: Some(format!("there is no StreamingRollout {rollout}: kubectl get streamingrollouts lists them")),
                time: Some(Time(now)),
                wave: None,
                revision: None,
            },
        }));
    }
}
