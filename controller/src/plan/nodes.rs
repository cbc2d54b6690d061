//! Every node's part of a plan.

use std::collections::HashSet;

use jiff::Timestamp;
use streamway_crds::{Feature, NodeMode, NodeStreaming, Prober, Traffic};

use super::actions::{Chain, NodePatch, Plan, Subject, Write};
use super::goals;
use super::membership::Followed;
use super::mode::Unfit;
use super::node_status;
use super::observed::Observed;
use super::probes::Due;
use super::standing::{Stage, Standing};
use super::switch::{self, Context, Goal, Step};
use super::view::View;

/// Every node that has a NodeStreaming of its own. The others get one first.
pub(super) fn views<'a>(observed: &'a Observed, plan: &mut Plan) -> Vec<View<'a>> {
    let mut views = Vec::with_capacity(observed.nodes.len());
    for (name, seen) in &observed.nodes {
        let uid = seen.node.metadata.uid.clone().unwrap_or_default();
        let write = match &seen.streaming {
            Some(streaming) if belongs(streaming, &uid) => {
                views.push(View::new(name, seen, streaming, observed.ports));
                continue;
            }
            // A node was deleted, and another has come with its name.
            Some(streaming) => Write::Delete {
                node: name.clone(),
                uid: streaming.metadata.uid.clone().unwrap_or_default(),
            },
            None => Write::Create {
                node: name.clone(),
                uid,
            },
        };
        if !seen.writing {
            plan.chains.push(Chain {
                about: Subject::Node(name.clone()),
                writes: vec![write],
            });
        }
    }
    views
}

fn belongs(streaming: &NodeStreaming, uid: &str) -> bool {
    let mut owners = streaming.metadata.owner_references.iter().flatten();
    owners.any(|owner| owner.kind == "Node" && owner.uid == uid)
}

/// Steps of nodes, gathered.
pub(super) struct Steps<'a> {
    observed: &'a Observed,
    views: &'a [View<'a>],
    now: Timestamp,
    followed: HashSet<usize>,
    due: Due,
    urgent: Vec<Chain>,
    others: Vec<Chain>,
}

impl<'a> Steps<'a> {
    pub(super) fn new(observed: &'a Observed, views: &'a [View<'a>], now: Timestamp) -> Self {
        let mut due = Due::default();
        for view in views {
            due.count_running(view);
        }
        Self {
            observed,
            views,
            now,
            followed: HashSet::new(),
            due,
            urgent: Vec::new(),
            others: Vec::new(),
        }
    }

    /// The nodes of a rollout.
    pub(super) fn follow(
        &mut self,
        followed: &Followed<'_>,
        standings: &[Standing],
        begins: &HashSet<usize>,
        plan: &mut Plan,
    ) {
        let spec = &followed.rollout.spec;
        let prober = Some(&spec.analysis.prober).filter(|prober| prober.enabled);
        for standing in standings {
            let Some(view) = self.views.get(standing.node) else {
                continue;
            };
            self.followed.insert(standing.node);
            let begins = begins.contains(&standing.node);
            let goal = goals::goal(view, followed, standing, begins, self.now);
            let context = Context {
                now: self.now,
                prober,
                rollout: Some(followed.name),
                wave: spec.waves.get(standing.wave).map(|wave| wave.name.as_str()),
            };
            let eligible = match (&standing.mode, &standing.stage) {
                (Err(unfit), _) | (_, Stage::Waits(unfit)) => Err(unfit),
                _ => Ok(()),
            };
            self.take(view, &goal, &context, Some(eligible), plan);
        }
    }

    /// The nodes that follow no rollout, or no longer.
    pub(super) fn leave(&mut self, plan: &mut Plan) {
        let context = Context {
            now: self.now,
            prober: None,
            rollout: None,
            wave: None,
        };
        for (index, view) in self.views.iter().enumerate() {
            if !self.followed.contains(&index) {
                self.take(view, &Goal::Released(None), &context, None, plan);
            }
        }
    }

    fn take(
        &mut self,
        view: &View<'_>,
        goal: &Goal<'_>,
        context: &Context<'_>,
        eligible: Option<Result<(), &Unfit>>,
        plan: &mut Plan,
    ) {
        let step = switch::step(view, goal, context);
        if let Some(time) = step.wake.filter(|time| self.now < *time) {
            plan.wake(time);
        }
        if needs_heartbeats(view, goal) {
            plan.follow.insert(view.name.to_owned());
        }
        if view.seen.writing {
            return;
        }
        if let Some(prober) = context.prober.filter(|_: &&Prober| step.probe) {
            self.due.add(view, prober, self.now, plan);
        }
        let writes = self.writes(view, &step, eligible);
        if writes.is_empty() {
            return;
        }
        let chain = Chain {
            about: Subject::Node(view.name.to_owned()),
            writes,
        };
        if step.urgent {
            self.urgent.push(chain);
        } else {
            self.others.push(chain);
        }
    }

    fn writes(
        &self,
        view: &View<'_>,
        step: &Step,
        eligible: Option<Result<(), &Unfit>>,
    ) -> Vec<Write> {
        let node = || view.name.to_owned();
        let mut writes = Vec::new();
        if step.spec != *view.spec {
            writes.push(Write::Spec {
                node: node(),
                resource_version: view.streaming.metadata.resource_version.clone(),
                spec: step.spec.clone(),
            });
        }
        if step.patch != NodePatch::default() {
            let patch = step.patch;
            writes.push(Write::Node {
                node: node(),
                patch,
            });
        }
        let api_server = self.observed.api_server;
        if let Some((status, events)) =
            node_status::after(view, step, eligible, api_server, self.now)
        {
            writes.push(Write::Status {
                node: node(),
                status: Box::new(status),
                events,
            });
        }
        writes
    }

    /// Puts it all into the plan, what is urgent before all else.
    pub(super) fn end(self, plan: &mut Plan) {
        let first = std::mem::take(&mut plan.chains);
        plan.chains = self.urgent;
        plan.chains.extend(first);
        plan.chains.extend(self.others);
        self.due.order(plan);
    }
}

/// Whether an agent carries a node's traffic, or is about to.
fn needs_heartbeats(view: &View<'_>, goal: &Goal<'_>) -> bool {
    let wanted = matches!(goal, Goal::On(on) if on.mode == NodeMode::Proxied);
    let agent = view.status.agent.as_ref();
    wanted
        || view.spec.traffic == Traffic::Agent
        || view.spec.feature == Feature::Declared
        || agent.is_some_and(|agent| agent.traffic == Some(Traffic::Agent))
}
