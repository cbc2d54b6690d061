//! Which rollout a node follows, and which wave it is in.
//!
//! A node that several rollouts select follows the oldest. Within a rollout nodes stand in the order of
//! a hash of their UID, so that a wave is spread over the cluster; waves take from it one after the
//! other. What was decided is remembered in the NodeStreaming: it stays while nodes come and go.

use std::cmp::Reverse;

use streamway_crds::{StreamingRollout, WaveNodes};

use super::revision::{hash, revision};
use super::selector;
use super::view::View;

/// A rollout with what belongs to it.
#[derive(Debug)]
pub(super) struct Followed<'a> {
    pub(super) rollout: &'a StreamingRollout,
    pub(super) name: &'a str,
    pub(super) revision: String,
    /// Its nodes, by name.
    pub(super) members: Vec<Member>,
}

/// A node's place in a rollout.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// Its place among the views.
    pub(super) node: usize,
    /// Its wave's among the spec's.
    pub(super) wave: usize,
}

/// Places all nodes.
pub(super) fn place<'a>(
    rollouts: &'a [std::sync::Arc<StreamingRollout>],
    views: &[View<'_>],
) -> Vec<Followed<'a>> {
    let mut followed: Vec<_> = rollouts
        .iter()
        .map(|rollout| Followed::new(rollout))
        .collect();
    followed.sort_by_key(|one| {
        let created = one.rollout.metadata.creation_timestamp.as_ref();
        // One that has no time yet is not older than any.
        (Reverse(created.map(|time| Reverse(time.0))), one.name)
    });
    for (node, view) in views.iter().enumerate() {
        if let Some(one) = followed.iter_mut().find(|one| one.selects(view)) {
            one.members.push(Member { node, wave: 0 });
        }
    }
    for one in &mut followed {
        one.assign(views);
    }
    followed
}

impl<'a> Followed<'a> {
    fn new(rollout: &'a StreamingRollout) -> Self {
        Self {
            rollout,
            name: rollout.metadata.name.as_deref().unwrap_or_default(),
            revision: revision(rollout),
            members: Vec::new(),
        }
    }

    /// Whether nodes were placed for the present revision.
    pub(super) fn is_adopted(&self) -> bool {
        let status = self.rollout.status.as_ref();
        status.and_then(|status| status.revision.as_deref()) == Some(&self.revision)
    }

    fn selects(&self, view: &View<'_>) -> bool {
        let labels = view.seen.node.metadata.labels.as_ref();
        let selector = self.rollout.spec.node_selector.as_ref();
        !self.rollout.spec.waves.is_empty()
            && selector.is_none_or(|selector| selector::matches(selector, labels))
    }

    /// The wave that a node was placed in before.
    fn remembered(&self, view: &View<'_>) -> Option<usize> {
        if view.spec.rollout.as_deref() != Some(self.name) {
            return None;
        }
        let name = view.spec.wave.as_deref()?;
        self.rollout
            .spec
            .waves
            .iter()
            .position(|wave| wave.name == name)
    }

    fn assign(&mut self, views: &[View<'_>]) {
        let waves = &self.rollout.spec.waves;
        let adopted = self.is_adopted();
        let mut taken = vec![0; waves.len()];
        let mut pool = Vec::new();
        let mut members = std::mem::take(&mut self.members);
        for (place, member) in members.iter_mut().enumerate() {
            let Some(view) = views.get(member.node) else {
                continue;
            };
            match self.remembered(view).filter(|_| adopted) {
                Some(wave) => {
                    member.wave = wave;
                    if let Some(taken) = taken.get_mut(wave) {
                        *taken += 1;
                    }
                }
                None => pool.push((self.order(view), place, view)),
            }
        }
        pool.sort_by_key(|(order, place, _)| (*order, *place));
        let total = members.len();
        let mut earlier = 0;
        for (index, wave) in waves.iter().enumerate() {
            let before = taken.get(index).copied().unwrap_or(0);
            let room = room(&wave.nodes, total, earlier, before);
            let mut new = 0;
            pool.retain(|(_, place, view)| {
                let labels = view.seen.node.metadata.labels.as_ref();
                let selected = wave.nodes.selector.as_ref();
                let takes = match selected {
                    Some(selector) => selector::matches(selector, labels),
                    None => new < room,
                };
                if takes {
                    new += 1;
                    if let Some(member) = members.get_mut(*place) {
                        member.wave = index;
                    }
                }
                !takes
            });
            earlier += before + new;
        }
        // The schema has the last wave take all; without it, it does so too.
        for (_, place, _) in pool {
            if let Some(member) = members.get_mut(place) {
                member.wave = waves.len().saturating_sub(1);
            }
        }
        self.members = members;
    }

    fn order(&self, view: &View<'_>) -> u64 {
        let uid = |meta: &kube::api::ObjectMeta| meta.uid.clone().unwrap_or_default();
        let rollout = uid(&self.rollout.metadata);
        let node = uid(&view.seen.node.metadata);
        let [a, b, c, d, e, f, g, h, ..] = hash(&[rollout.as_bytes(), node.as_bytes()]);
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// How many more nodes a wave takes that has `before`, when earlier waves have `earlier` of `total`.
fn room(nodes: &WaveNodes, total: usize, earlier: usize, before: usize) -> usize {
    let number = |value: i32| usize::try_from(value).unwrap_or(0);
    let wanted = match (nodes.count, nodes.percent) {
        (Some(count), _) => number(count),
        // Of few nodes, one is enough for a few percent; and not none.
        (_, Some(percent)) => (total * number(percent))
            .div_ceil(100)
            .saturating_sub(earlier),
        _ => 0,
    };
    wanted.saturating_sub(before)
}
