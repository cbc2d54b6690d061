//! What the agent says of itself, in its NodeStreaming's `status.agent`, and when. Pure.
//!
//! In an update two agents of the node run at once, and both would say something. The newer one speaks
//! as soon as it is ready, and from then on the older one is silent, unless the newer one turns out to
//! be unwell.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use streamway_crds::{AgentStatus, NodeStreamingSpec, Traffic, Way};
use streamway_daemon::admin::Readiness;
use streamway_daemon::gates::{FeatureGate, FeatureGates};

use super::redirect::State;

/// Says whether there is anything to say.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What was said last by this process.
    said: Option<AgentStatus>,
}

impl Report {
    /// Whether `mine` is to be written where `there` stands.
    pub(super) fn is_due(
        &self,
        mine: &AgentStatus,
        there: Option<&AgentStatus>,
        draining: bool,
    ) -> bool {
        let Some(there) = there else {
            return true;
        };
        if there.pod_name == mine.pod_name {
            return there != mine;
        }
        let (ready, other) = (mine.ready == Some(true), there.ready == Some(true));
        match (ready, other) {
            _ if draining => false,
            (true, false) => true,
            (false, true) => false,
            // The newer one has not said anything yet.
            _ => self.said.is_none(),
        }
    }

    /// It was written.
    pub(super) fn said(&mut self, mine: AgentStatus) {
        self.said = Some(mine);
    }
}

/// What stays the same.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) pod_name: Option<String>,
    pub(super) gates: FeatureGates,
    /// Why nothing could be redirected, if that is known.
    pub(super) obstacle: Option<String>,
}

impl About {
    /// The status. `not_after`: when the certificate ends, in seconds since 1970.
    pub(super) fn status(
        &self,
        readiness: &Readiness,
        traffic: &State,
        wish: &NodeStreamingSpec,
        not_after: Option<i64>,
    ) -> AgentStatus {
        let mut wrong: Vec<String> = readiness
            .checks()
            .into_iter()
            .filter_map(|(name, failure)| Some(format!("{name}: {}", failure?)))
            .collect();
        let ready = wrong.is_empty();
        match (traffic, &self.obstacle) {
            (State::Failed(why), _) => wrong.push(why.clone()),
            (State::Kubelet, Some(obstacle)) if wish.way == Way::Redirect => {
                wrong.push(obstacle.clone());
            }
            _ => {}
        }
        let mut feature_gates: Vec<_> = FeatureGate::ALL
            .into_iter()
            .filter(|gate| self.gates.enabled(*gate))
            .map(|gate| gate.name().to_owned())
            .collect();
        feature_gates.sort();
        let time = |seconds| jiff::Timestamp::from_second(seconds).ok().map(Time);
        AgentStatus {
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            traffic: Some(match traffic {
                State::Agent => Traffic::Agent,
                State::Kubelet | State::Failed(_) => Traffic::Kubelet,
            }),
            ready: Some(ready),
            message: (!wrong.is_empty()).then(|| wrong.join("; ")),
            certificate_not_after: not_after.and_then(time),
            pod_name: self.pod_name.clone(),
            feature_gates,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pod: &str, ready: bool) -> AgentStatus {
        AgentStatus {
            pod_name: Some(pod.into()),
            ready: Some(ready),
            ..AgentStatus::default()
        }
    }

    #[test]
    fn what_is_said_is_said_once() {
        let mut report = Report::default();
        let mine = status("a", false);
        assert!(report.is_due(&mine, None, false));
        report.said(mine.clone());
        assert!(!report.is_due(&mine, Some(&mine), false));
        assert!(report.is_due(&status("a", true), Some(&mine), false));
        assert!(
            report.is_due(&mine, Some(&status("a", true)), true),
            "its own last word"
        );
        assert!(report.is_due(&mine, None, false), "somebody took it away");
    }

    #[test]
    fn of_two_the_newer_one_speaks_once_it_is_ready() {
        let (mut old, mut new) = (Report::default(), Report::default());
        old.said(status("old", true));
        let there = status("old", true);
        assert!(
            !new.is_due(&status("new", false), Some(&there), false),
            "not ready yet"
        );
        assert!(new.is_due(&status("new", true), Some(&there), false));
        new.said(status("new", true));
        let there = status("new", true);
        assert!(!old.is_due(&status("old", true), Some(&there), false));
        assert!(!old.is_due(&status("old", false), Some(&there), true));
        // The newer one is unwell.
        let there = status("new", false);
        assert!(old.is_due(&status("old", true), Some(&there), false));
        assert!(
            !old.is_due(&status("old", true), Some(&there), true),
            "it is about to end"
        );
        let there = status("old", true);
        assert!(!new.is_due(&status("new", false), Some(&there), false));
        assert!(
            !new.is_due(&status("new", true), Some(&there), false),
            "no fight"
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        let about = About {
            pod_name: Some("a".into()),
            gates: FeatureGates::default(),
            obstacle: Some("no right".into()),
        };
        let readiness = Readiness::new();
        let kubelet = readiness.condition("kubelet");
        let wish = NodeStreamingSpec::default();
        let unready = about.status(&readiness, &State::Kubelet, &wish, Some(0));
        assert_eq!(unready.ready, Some(false));
        assert_eq!(
            unready.message.as_deref(),
            Some("kubelet: not yet; no right")
        );
        assert_eq!(unready.certificate_not_after.unwrap().0.as_second(), 0);
        kubelet.met();
        let ready = about.status(&readiness, &State::Agent, &wish, None);
        assert_eq!((ready.ready, ready.message), (Some(true), None));
        assert_eq!(ready.traffic, Some(Traffic::Agent));
        assert!(
            ready
                .feature_gates
                .contains(&"PortForwardWebsockets".to_owned())
        );
        let failed = State::Failed("lost".into());
        let failed = about.status(&readiness, &failed, &wish, None);
        assert_eq!(
            (failed.ready, failed.traffic),
            (Some(true), Some(Traffic::Kubelet))
        );
        assert_eq!(failed.message.as_deref(), Some("lost"));
        let by_port = NodeStreamingSpec {
            way: Way::Port,
            ..wish
        };
        assert_eq!(
            about
                .status(&readiness, &State::Kubelet, &by_port, None)
                .message,
            None
        );
    }
}
