//! What takes a node out of the path, and for how long.

use jiff::{SignedDuration, Timestamp};
use streamway_crds::conditions::READY;
use streamway_crds::{Feature, NodeMode, NodeState, ProbeResult, Traffic, Way};

use super::switch::On;
use super::view::{Health, View};

/// The agent does not answer, or says that it is not ready.
pub(super) const AGENT_SILENT: &str = "AgentSilent";
/// Traffic does not go to the agent, though the node declares the feature.
pub(super) const TRAFFIC_LOST: &str = "TrafficLost";
/// Sessions do not work.
pub(super) const PROBE_FAILED: &str = "ProbeFailed";

/// So many probes fail before the node does: one may have met a restart of something.
pub(super) const PROBES_MAY_FAIL: u32 = 3;

/// How long a node rests that failed for the first time.
const FIRST_REST: SignedDuration = SignedDuration::from_secs(5);
/// And however often it failed.
const LONGEST_REST: SignedDuration = SignedDuration::from_mins(5);
/// A node that was well for so long fails for the first time again.
const FORGIVEN: SignedDuration = SignedDuration::from_mins(10);

/// What is wrong with a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    Agent(String),
    Traffic,
    Probe(String),
}

impl Fault {
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Agent(_) => AGENT_SILENT,
            Self::Traffic => TRAFFIC_LOST,
            Self::Probe(_) => PROBE_FAILED,
        }
    }

    pub(super) fn message(&self) -> String {
        match self {
            Self::Agent(why) => format!("the agent does not serve: {why}"),
            Self::Traffic => "traffic went past the agent".to_owned(),
            Self::Probe(why) => format!("sessions fail: {why}"),
        }
    }
}

/// What is wrong with a node that is over or on its way.
pub(super) fn fault(view: &View<'_>, on: &On<'_>, now: Timestamp) -> Option<Fault> {
    let at_agent = view.spec.traffic == Traffic::Agent || view.spec.feature == Feature::Declared;
    let waits = view.state() == NodeState::Failed && on.mode == NodeMode::Proxied;
    if (at_agent || waits)
        && let Health::Unwell(why) = view.health(now)
    {
        return Some(Fault::Agent(why));
    }
    if view.spec.feature == Feature::Declared && lost(view) {
        return Some(Fault::Traffic);
    }
    let last = view.seen.probes.last.as_ref()?;
    let counts = last.generation == view.generation()
        && last.result.result == ProbeResult::Failed
        && last.failures >= PROBES_MAY_FAIL;
    let why = || last.result.message.clone().unwrap_or_default();
    counts.then(|| Fault::Probe(why()))
}

/// Whether traffic is seen elsewhere than at the agent, where it had arrived before.
fn lost(view: &View<'_>) -> bool {
    match view.spec.way {
        Way::Redirect => {
            let agent = view.status.agent.as_ref();
            agent.is_some_and(|agent| agent.traffic == Some(Traffic::Kubelet))
        }
        Way::Port => !view.at_agents_port(),
    }
}

/// Why a node failed, as its status has it.
pub(super) fn last<'a>(view: &View<'a>) -> (&'static str, &'a str) {
    let ready = view
        .status
        .conditions
        .iter()
        .find(|condition| condition.type_ == READY);
    let reason = match ready.map(|ready| ready.reason.as_str()) {
        Some(PROBE_FAILED) => PROBE_FAILED,
        Some(TRAFFIC_LOST) => TRAFFIC_LOST,
        _ => AGENT_SILENT,
    };
    (reason, view.status.message.as_deref().unwrap_or_default())
}

/// Until when a node that failed is left alone: twice as long each time, by what its last transitions
/// say.
pub(super) fn rests_until(view: &View<'_>) -> Timestamp {
    let mut transitions = view.status.transitions.iter();
    let Some(failed) = transitions.next() else {
        return Timestamp::MIN;
    };
    let began = failed.time.0;
    let rest = transitions
        .by_ref()
        .find(|transition| transition.from == NodeState::Failed)
        .filter(|ended| began.duration_since(ended.time.0) < FORGIVEN)
        .and_then(|ended| {
            let before = transitions.find(|transition| transition.to == NodeState::Failed)?;
            Some(ended.time.0.duration_since(before.time.0) * 2)
        });
    let rest = rest.unwrap_or(FIRST_REST).clamp(FIRST_REST, LONGEST_REST);
    began + rest
}
