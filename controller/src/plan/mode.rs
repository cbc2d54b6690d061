//! Which mode a node can take, and what keeps it from being begun.

use jiff::{SignedDuration, Timestamp};
use streamway_crds::{Feature, Mode, NodeMode, NodeState};

use super::version::SENDS_WEBSOCKETS;
use super::view::View;

/// A kubelet that takes WebSockets says so every ten seconds. One that runs and has not said it for so
/// long takes none; one that does not run has made the Node not Ready by then, and is waited for.
pub(super) const KUBELET_SAYS_SO: SignedDuration = SignedDuration::from_secs(60);

/// Why a node is not begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    /// Whether it is waited for: it passes without anybody's doing, and soon.
    pub(super) passes: bool,
    /// One word in CamelCase.
    pub(super) reason: &'static str,
    /// A sentence.
    pub(super) message: String,
}

impl Unfit {
    fn lasts(reason: &'static str, message: String) -> Self {
        let passes = false;
        Self {
            passes,
            reason,
            message,
        }
    }

    fn passes(reason: &'static str, message: String) -> Self {
        let passes = true;
        Self {
            passes,
            reason,
            message,
        }
    }
}

/// The mode that a node is to have, and when that may become another by time alone.
pub(super) type Resolved = (Result<NodeMode, Unfit>, Option<Timestamp>);

/// What `mode` comes to on this node. `begins_anew` when a rollout brings it to another revision.
pub(super) fn resolve(view: &View<'_>, mode: Mode, begins_anew: bool, now: Timestamp) -> Resolved {
    let Some(version) = view.version else {
        let message = format!("{:?} is no version of a kubelet", view.kubelet_version());
        return (Err(Unfit::lasts("VersionUnknown", message)), None);
    };
    if mode == Mode::Proxied {
        return (Ok(NodeMode::Proxied), None);
    }
    let (takes, until) = kubelet_takes_websockets(view, begins_anew, now);
    let resolved = match mode {
        _ if takes => Ok(NodeMode::Native),
        Mode::Native if view.speaks_for_itself() => Err(Unfit::lasts(
            "FeatureOff",
            "the kubelet does not declare ExtendWebSocketsToKubelet: turn its feature gate on, or use mode Auto or Proxied".to_owned(),
        )),
        Mode::Native => Err(Unfit::lasts(
            "KubeletTooOld",
            format!("the kubelet is {version} and takes no WebSockets before {SENDS_WEBSOCKETS}: upgrade it, or use mode Auto or Proxied"),
        )),
        Mode::Auto | Mode::Proxied => Ok(NodeMode::Proxied),
    };
    (resolved, until)
}

/// Whether the kubelet takes WebSockets itself. Only it can say so, and while we declare or withdraw
/// for it, it is not heard; then what was found out before stands.
fn kubelet_takes_websockets(
    view: &View<'_>,
    begins_anew: bool,
    now: Timestamp,
) -> (bool, Option<Timestamp>) {
    let spec = view.spec;
    let was_proxied = spec.mode == Some(NodeMode::Proxied);
    if !view.speaks_for_itself() {
        return (false, None);
    }
    match spec.feature {
        Feature::Kubelet if view.declared => (true, None),
        Feature::Kubelet if !view.is_begun() || was_proxied => (false, None),
        // It has not said so yet, or no longer does: it is given the time for it.
        Feature::Kubelet if view.state() == NodeState::TurningOn => {
            let until = view.since().map(|since| since + KUBELET_SAYS_SO);
            match until {
                Some(until) if until <= now => (!view.is_ready(), None),
                _ => (true, until),
            }
        }
        Feature::Kubelet => (true, None),
        // It was found to take none, or another revision did not want to know.
        Feature::Declared if was_proxied => {
            (begins_anew && view.version >= Some(SENDS_WEBSOCKETS), None)
        }
        Feature::Declared | Feature::Withdrawn => (!was_proxied, None),
    }
}

/// What a node that is to be begun must wait for. `probed` when its sessions are to be tried.
pub(super) fn hindrance(view: &View<'_>, mode: NodeMode, probed: bool) -> Option<Unfit> {
    if !view.is_ready() {
        let message = "the Node is not Ready".to_owned();
        return Some(Unfit::passes("NodeNotReady", message));
    }
    if mode != NodeMode::Proxied && !probed {
        return None;
    }
    if view.ready_pod().is_none() {
        let message = if view.seen.pods.is_empty() {
            "no agent's pod is on the node; see that the DaemonSet tolerates the node's taints"
        } else {
            "the agent's pod is not Ready"
        };
        return Some(Unfit::passes("AgentNotReady", message.to_owned()));
    }
    let agent = view.status.agent.as_ref();
    let says_no = agent.filter(|agent| mode == NodeMode::Proxied && agent.ready == Some(false))?;
    let why = says_no.message.as_deref().unwrap_or("it does not say why");
    Some(Unfit::passes(
        "AgentNotReady",
        format!("the agent is not ready: {why}"),
    ))
}
