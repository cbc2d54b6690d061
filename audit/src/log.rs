//! Who opened streams, by the API server's audit logs.

mod event;
mod join;
mod lines;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufRead};
use std::sync::Arc;

use jiff::Timestamp;
use streamway_rbac::{Index, Policy, Question, Resource, Stream, Who};

use event::{Event, Request};
use lines::Lines;

/// What audit logs say of exec, attach, port-forward and nodes/proxy.
///
/// Memory is bounded: of uses that differ in user, groups, verb, target or namespace, so many are kept
/// as fit into 128 MiB; [`left_out`](Self::left_out) counts the requests beyond them. Other requests cost
/// nothing.
#[derive(Debug, Clone)]
pub struct AuditLog {
    uses: HashMap<Key, Use>,
    /// Bytes that may still be kept.
    room: usize,
    events: u64,
    other: u64,
    left_out: u64,
    unreadable: Unreadable,
    period: Option<(Timestamp, Timestamp)>,
}

/// Lines that are no JSON, or too long.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unreadable {
    /// How many.
    pub count: u64,
    /// The first of them, ten at most: source and line, from 1.
    pub first: Vec<(Arc<str>, u64)>,
}

/// What is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A subresource of a pod.
    Stream(Stream),
    /// `nodes/proxy`, through the API server: what goes to kubelets directly is in no audit log.
    NodesProxy,
}

/// How: the request's method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// GET: what a WebSocket begins with.
    Get,
    /// POST: SPDY.
    Create,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    user: String,
    groups: Vec<String>,
    verb: Verb,
    target: Target,
    namespace: String,
}

/// Requests of a user, with the same groups, for the same thing in a namespace.
#[derive(Debug, Clone)]
pub struct Use {
    key: Key,
    /// Requests by object, of [`NAMES`] objects at most.
    names: BTreeMap<String, Count>,
    /// Of objects beyond those.
    others: Count,
    /// By the code of the answer.
    codes: BTreeMap<u16, Count>,
    /// When first and last.
    pub first: Timestamp,
    /// When last.
    pub last: Timestamp,
    /// The same of those that were let through, if any was.
    pub let_through: Option<(Timestamp, Timestamp)>,
    /// What the last client called itself, cut at 200 bytes.
    pub user_agent: String,
    /// Who impersonated the user last, if anybody did.
    pub impersonator: Option<String>,
    /// Why the API server allowed it last, in its words; cut at 200 bytes.
    pub reason: Option<String>,
    /// ValidatingAdmissionPolicies that would have refused it, were they to deny; eight at most.
    pub policies: BTreeSet<String>,
}

/// Objects that are told apart in a use.
const NAMES: usize = 100;
/// Bytes of all uses.
const ROOM: usize = 128 << 20;
/// Bytes of a text that is shown as a sample.
const SAMPLE: usize = 200;
/// Policies of a use.
const POLICIES: usize = 8;

/// Requests, by what was logged of them: a long one is told at its start and at its end, if the log's
/// policy does not leave one out.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    started: u64,
    completed: u64,
}

impl Count {
    fn add(&mut self, complete: bool) {
        match complete {
            true => self.completed += 1,
            false => self.started += 1,
        }
    }

    fn requests(self) -> u64 {
        self.started.max(self.completed)
    }
}

impl Default for AuditLog {
    fn default() -> Self {
        Self {
            uses: HashMap::new(),
            room: ROOM,
            events: 0,
            other: 0,
            left_out: 0,
            unreadable: Unreadable::default(),
            period: None,
        }
    }
}

impl AuditLog {
    /// Reads a log: a line for each event, or for each batch of a webhook backend. `source` is its name
    /// in [`Unreadable`].
    ///
    /// # Errors
    ///
    /// The input's. What was read before stays.
    pub fn read(&mut self, source: &str, input: impl BufRead) -> io::Result<()> {
        let source: Arc<str> = Arc::from(source);
        let mut lines = Lines::new(input);
        while let Some(line) = lines.next()? {
            let event = line
                .text
                .and_then(|text| serde_json::from_slice::<Event>(text).ok());
            let Some(event) = event else {
                self.unreadable.count += 1;
                if self.unreadable.first.len() < 10 {
                    let place = (Arc::clone(&source), line.number);
                    self.unreadable.first.push(place);
                }
                continue;
            };
            match event.all() {
                Some(events) => events.into_iter().for_each(|event| self.take(event)),
                None => self.other += 1,
            }
        }
        Ok(())
    }

    /// Audit events, whatever they are about.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Lines of JSON that are no audit events.
    pub fn other(&self) -> u64 {
        self.other
    }

    /// Lines that could not be read.
    pub fn unreadable(&self) -> &Unreadable {
        &self.unreadable
    }

    /// Requests for which there was no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The time of the first event and that of the last, whatever they are about.
    pub fn period(&self) -> Option<(Timestamp, Timestamp)> {
        self.period
    }

    /// All uses, in no order.
    pub fn uses(&self) -> impl Iterator<Item = &Use> {
        self.uses.values()
    }

    /// Tells a policy the groups of users, as in each one's last request.
    pub fn add_groups(&self, policy: &mut Policy) {
        let mut last: BTreeMap<&str, &Use> = BTreeMap::new();
        for own in self.uses.values() {
            let known = last.entry(own.user()).or_insert(own);
            if own.last > known.last {
                *known = own;
            }
        }
        for (user, own) in last {
            let groups: Vec<&str> = own.groups().iter().map(String::as_str).collect();
            policy.add_groups(user, &groups);
        }
    }

    fn take(&mut self, event: Event) {
        self.events += 1;
        if let Some(at) = event.at() {
            let (first, last) = self.period.get_or_insert((at, at));
            *first = at.min(*first);
            *last = at.max(*last);
        }
        if let Some(request) = event.request() {
            self.add(request);
        }
    }

    fn add(&mut self, request: Request) {
        let mut groups = request.user.groups;
        groups.sort_unstable();
        groups.dedup();
        let key = Key {
            user: request.user.username,
            groups,
            verb: request.verb,
            target: request.target,
            namespace: request.namespace,
        };
        let own = match self.uses.get_mut(&key) {
            Some(own) => own,
            None => {
                let Some(room) = self.room.checked_sub(key.bytes()) else {
                    self.left_out += u64::from(request.complete);
                    return;
                };
                self.room = room;
                let own = Use::new(key.clone(), request.at);
                self.uses.entry(key).or_insert(own)
            }
        };
        own.first = own.first.min(request.at);
        if is_let_through(request.code) {
            let (first, last) = own.let_through.get_or_insert((request.at, request.at));
            (*first, *last) = ((*first).min(request.at), (*last).max(request.at));
        }
        own.codes
            .entry(request.code)
            .or_default()
            .add(request.complete);
        let known = own.names.len();
        let count = match own.names.get_mut(&request.name) {
            Some(count) => count,
            None if known < NAMES && self.room > request.name.len() + 100 => {
                self.room -= request.name.len() + 100;
                own.names.entry(request.name).or_default()
            }
            None => &mut own.others,
        };
        count.add(request.complete);
        for policy in request.policies {
            if own.policies.len() < POLICIES && policy.len() <= SAMPLE {
                own.policies.insert(policy);
            }
        }
        if request.at >= own.last {
            own.last = request.at;
            own.user_agent = sample(&request.user_agent);
            own.impersonator = request.impersonator.as_deref().map(sample);
            own.reason = request.reason.as_deref().map(sample);
        }
    }
}

impl Key {
    /// What a use costs, roughly; the key is in it twice.
    fn bytes(&self) -> usize {
        let groups: usize = self.groups.iter().map(|group| group.len() + 32).sum();
        let texts = self.user.len() + self.namespace.len() + groups;
        2 * texts + (3 + POLICIES) * SAMPLE + 1000
    }
}

fn is_let_through(code: u16) -> bool {
    code < 400
}

impl Use {
    fn new(key: Key, at: Timestamp) -> Self {
        Self {
            key,
            names: BTreeMap::new(),
            others: Count::default(),
            codes: BTreeMap::new(),
            first: at,
            last: at,
            let_through: None,
            user_agent: String::new(),
            impersonator: None,
            reason: None,
            policies: BTreeSet::new(),
        }
    }

    /// The user's name, as authenticated or impersonated.
    pub fn user(&self) -> &str {
        &self.key.user
    }

    /// All groups of the user.
    pub fn groups(&self) -> &[String] {
        &self.key.groups
    }

    /// By which method.
    pub fn verb(&self) -> Verb {
        self.key.verb
    }

    /// What was opened.
    pub fn target(&self) -> Target {
        self.key.target
    }

    /// In which namespace; empty for nodes.
    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    /// Names of pods or nodes, 100 at most.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Whether there were more.
    pub fn has_more_names(&self) -> bool {
        self.others.requests() > 0
    }

    /// Requests that the API server let through: answered 101, or 200 by one that takes no WebSockets.
    pub fn passed(&self) -> u64 {
        self.count(is_let_through)
    }

    /// Requests answered 403.
    pub fn refused(&self) -> u64 {
        self.count(|code| code == 403)
    }

    /// Requests by the code of the answer.
    pub fn codes(&self) -> impl Iterator<Item = (u16, u64)> {
        self.codes
            .iter()
            .map(|(&code, count)| (code, count.requests()))
    }

    /// Whether `create` is asked for in vain where `get` passed: who will newly be answered 403 once it
    /// is asked for. By Roles and bindings only; members of `system:masters` may do everything.
    pub fn will_be_refused(&self, index: &Index) -> bool {
        let Target::Stream(stream) = self.key.target else {
            return false;
        };
        let masters = self
            .key
            .groups
            .iter()
            .any(|group| group == "system:masters");
        if self.key.verb != Verb::Get || self.passed() == 0 || masters {
            return false;
        }
        let who = Who {
            name: self.key.user.clone(),
            groups: self.key.groups.clone(),
        };
        let more = self.has_more_names().then_some("");
        let mut names = self.names().chain(more);
        names.any(|name| {
            let create = Question::Resource(Resource {
                verb: "create",
                resource: "pods",
                subresource: stream.subresource(),
                namespace: &self.key.namespace,
                name,
                ..Resource::default()
            });
            index.may(&who, &create).is_none()
        })
    }

    fn count(&self, of: impl Fn(u16) -> bool) -> u64 {
        let codes = self.codes().filter(|&(code, _)| of(code));
        codes.map(|(_, requests)| requests).sum()
    }
}

/// The start of a text.
fn sample(text: &str) -> String {
    let end = text.floor_char_boundary(SAMPLE);
    text.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
