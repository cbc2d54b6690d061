//! Our nftables table. Pure.
//!
//! ```text
//! table inet streamway-1f2e3d4c {                     # flags owner: goes with the agent's socket
//!   set open  { type inet_service; flags dynamic,timeout; }
//!   set alive { type inet_service; flags dynamic,timeout; }
//!   chain beats {                                     # what the agent says while it is well
//!     type filter hook output priority raw;
//!     ip saddr 127.0.0.1 udp sport BEATS udp dport 1 update @open  { KUBELET timeout 2s } drop
//!     ip saddr 127.0.0.1 udp sport BEATS udp dport 2 update @alive { AGENT timeout 4s } drop
//!   }
//!   chain arriving {                                  # and the same in chain leaving, hook output
//!     type nat hook prerouting priority dstnat;
//!     ip daddr != 127.0.0.0/8 tcp dport @open tcp flags & (fin|syn|rst|ack) == syn
//!       fib daddr type local redirect to :AGENT
//!     ip6 daddr != ::1 …                              # where the agent listens on IPv6 too
//!   }
//!   chain stale {
//!     type filter hook input priority filter;
//!     tcp dport AGENT tcp dport != @alive reject with tcp reset
//!   }
//! }
//! ```
//!
//! - The redirection is only as old as the agent's last beat: an agent that hangs, or is stopped with
//!   its whole pod, is out of the path 2 s later with nobody doing anything. Connections that clients
//!   keep open to it are reset when they are used after 4 s, so that nobody waits for it.
//! - A beat is a datagram from a port that only the agent holds. It changes no rule, so nobody who
//!   follows or edits the node's rules notices.
//! - `fib daddr type local`: what the node forwards, to other nodes' kubelets or to pods, is no
//!   business of ours. 127.0.0.0/8 is how the agent itself reaches the kubelet.
//! - Only SYNs: a connection that was there before, and that the kernel begins to track with the
//!   table, stays where it is.
//! - While the table stands, the kernel goes on translating what was redirected, so sessions outlive
//!   the redirection.

use super::message::{APPEND, Attributes, Batch, CREATE, Verb};

/// How long new connections are redirected after a beat, in milliseconds.
const OPEN_MS: u64 = 2000;

/// How long old ones are kept after a beat.
const ALIVE_MS: u64 = 4000;

/// Where a beat goes to say that new connections are wanted; nobody gets it.
pub(super) const BEAT_OPEN: u16 = 1;
/// The same to say that the agent lives.
pub(super) const BEAT_ALIVE: u16 = 2;

/// More than ever is in a set: elements that ran out count until they are collected.
const SET_SIZE: u32 = 16;

/// `NFT_TABLE_F_OWNER`: the table is its socket's, and goes with it.
const OWNER: u32 = 2;
/// `NFT_SET_TIMEOUT | NFT_SET_EVAL`.
const DYNAMIC: u32 = 0x10 | 0x20;
/// nft's own number for a port as a set's key, so that `nft list` shows one.
const INET_SERVICE: u32 = 13;

const OPEN: &str = "open";
const ALIVE: &str = "alive";

/// Where netfilter's hooks are, and what comes first there.
#[derive(Debug, Clone, Copy)]
enum Hook {
    Prerouting = 0,
    Input = 1,
    Output = 3,
}
const RAW: i32 = -300;
const DSTNAT: i32 = -100;
const FILTER: i32 = 0;

const IPV4: u8 = 2;
const IPV6: u8 = 10;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A table of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Nobody else's: two owners of one name cannot be.
    pub(super) name: String,
    /// Where the kubelet listens.
    pub(super) kubelet: u16,
    /// Where the agent listens, and nobody else.
    pub(super) agent: u16,
    /// Whether the agent listens on IPv6 too.
    pub(super) ipv6: bool,
    /// Where beats come from.
    pub(super) beats: u16,
}

impl Table {
    /// Makes it. Nothing is redirected before the first beat.
    pub(super) fn create(&self) -> Batch {
        let mut batch = Batch::new();
        batch.add("the table", (Verb::NewTable, CREATE), |table| {
            table.string(1, &self.name);
            table.number(2, OWNER);
        });
        self.set(&mut batch, OPEN);
        self.set(&mut batch, ALIVE);
        self.chain(&mut batch, "beats", "filter", (Hook::Output, RAW));
        let open = Update {
            set: OPEN,
            port: self.kubelet,
            timeout_ms: OPEN_MS,
        };
        self.beat(&mut batch, BEAT_OPEN, open);
        let alive = Update {
            set: ALIVE,
            port: self.agent,
            timeout_ms: ALIVE_MS,
        };
        self.beat(&mut batch, BEAT_ALIVE, alive);
        for (chain, hook) in [("arriving", Hook::Prerouting), ("leaving", Hook::Output)] {
            self.chain(&mut batch, chain, "nat", (hook, DSTNAT));
            self.redirect(&mut batch, chain, IPV4);
            if self.ipv6 {
                self.redirect(&mut batch, chain, IPV6);
            }
        }
        self.chain(&mut batch, "stale", "filter", (Hook::Input, FILTER));
        self.rule(&mut batch, "stale", |rule| {
            rule.is(Load::L4Protocol, &[TCP]);
            rule.is(Load::Port(2), &self.agent.to_be_bytes());
            rule.in_set(ALIVE, false);
            rule.reset();
        });
        batch
    }

    /// Ends the redirection at once. What was redirected stays so.
    pub(super) fn close(&self) -> Batch {
        let mut batch = Batch::new();
        batch.add("the set open", (Verb::DeleteElements, 0), |elements| {
            elements.string(1, &self.name);
            elements.string(2, OPEN);
        });
        batch
    }

    fn set(&self, batch: &mut Batch, name: &'static str) {
        batch.add("a set with timeouts", (Verb::NewSet, CREATE), |set| {
            set.string(1, &self.name);
            set.string(2, name);
            set.number(3, DYNAMIC);
            set.number(4, INET_SERVICE);
            set.number(5, 2);
            set.nested(9, |size| size.number(1, SET_SIZE));
            set.number(10, 1);
        });
    }

    fn chain(
        &self,
        batch: &mut Batch,
        name: &'static str,
        kind: &str,
        (hook, priority): (Hook, i32),
    ) {
        let subject = if kind == "nat" {
            "a nat chain"
        } else {
            "a filter chain"
        };
        batch.add(subject, (Verb::NewChain, CREATE), |chain| {
            chain.string(1, &self.name);
            chain.string(3, name);
            chain.nested(4, |place| {
                place.number(1, hook as u32);
                place.bytes(2, &priority.to_be_bytes());
            });
            chain.string(7, kind);
        });
    }

    fn rule(
        &self,
        batch: &mut Batch,
        chain: &'static str,
        expressions: impl FnOnce(&mut Rule<'_, '_>),
    ) {
        let subject = match chain {
            "beats" => "a rule that updates a set",
            "stale" => "a rule that resets",
            _ => "a rule that redirects",
        };
        batch.add(subject, (Verb::NewRule, CREATE | APPEND), |rule| {
            rule.string(1, &self.name);
            rule.string(2, chain);
            rule.nested(4, |list| expressions(&mut Rule(list)));
        });
    }

    fn beat(&self, batch: &mut Batch, destination: u16, update: Update) {
        self.rule(batch, "beats", |rule| {
            rule.is(Load::Family, &[IPV4]);
            rule.is(Load::Network(12, 4), &[127, 0, 0, 1]);
            rule.is(Load::L4Protocol, &[UDP]);
            rule.is(Load::Port(0), &self.beats.to_be_bytes());
            rule.is(Load::Port(2), &destination.to_be_bytes());
            rule.update(&update);
            rule.drop();
        });
    }

    fn redirect(&self, batch: &mut Batch, chain: &'static str, family: u8) {
        self.rule(batch, chain, |rule| {
            rule.is(Load::Family, &[family]);
            if family == IPV4 {
                rule.is_not(Load::Network(16, 1), &[127]);
            } else {
                rule.is_not(
                    Load::Network(24, 16),
                    &std::net::Ipv6Addr::LOCALHOST.octets(),
                );
            }
            rule.is(Load::L4Protocol, &[TCP]);
            rule.load(Load::Port(2));
            rule.in_set(OPEN, true);
            rule.is_syn();
            rule.is_local();
            rule.redirect(self.agent);
        });
    }
}

/// An element that a beat puts in a set, or keeps there.
struct Update {
    set: &'static str,
    port: u16,
    timeout_ms: u64,
}

/// What is loaded into the register.
#[derive(Clone, Copy)]
enum Load {
    /// `meta nfproto`
    Family,
    /// `meta l4proto`
    L4Protocol,
    /// Bytes of the IP header: from where, and how many.
    Network(u32, u32),
    /// A port: 0 is where the source's is, 2 the destination's.
    Port(u32),
}

/// The only register that is used, of 16 bytes; and the verdict's.
const REGISTER: u32 = 1;
const VERDICT: u32 = 0;

/// A rule's expressions. Those that test end the rule where they fail.
struct Rule<'a, 'b>(&'a mut Attributes<'b>);

impl Rule<'_, '_> {
    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Attributes<'_>)) {
        self.0.element(|expression| {
            expression.string(1, name);
            expression.nested(2, data);
        });
    }

    fn is(&mut self, what: Load, value: &[u8]) {
        self.load(what);
        self.compare(0, value);
    }

    fn is_not(&mut self, what: Load, value: &[u8]) {
        self.load(what);
        self.compare(1, value);
    }

    fn load(&mut self, what: Load) {
        match what {
            Load::Family => self.meta(15),
            Load::L4Protocol => self.meta(16),
            Load::Network(offset, length) => self.payload(1, offset, length),
            Load::Port(offset) => self.payload(2, offset, 2),
        }
    }

    fn meta(&mut self, key: u32) {
        self.expression("meta", |meta| {
            meta.number(1, REGISTER);
            meta.number(2, key);
        });
    }

    fn payload(&mut self, header: u32, offset: u32, length: u32) {
        self.expression("payload", |payload| {
            payload.number(1, REGISTER);
            payload.number(2, header);
            payload.number(3, offset);
            payload.number(4, length);
        });
    }

    fn compare(&mut self, operator: u32, value: &[u8]) {
        self.expression("cmp", |compare| {
            compare.number(1, REGISTER);
            compare.number(2, operator);
            compare.nested(3, |data| data.bytes(1, value));
        });
    }

    fn in_set(&mut self, set: &str, wanted: bool) {
        self.expression("lookup", |lookup| {
            lookup.string(1, set);
            lookup.number(2, REGISTER);
            lookup.number(5, u32::from(!wanted));
        });
    }

    /// Of the flags FIN, SYN, RST and ACK, SYN alone.
    fn is_syn(&mut self) {
        self.payload(2, 13, 1);
        self.expression("bitwise", |bitwise| {
            bitwise.number(1, REGISTER);
            bitwise.number(2, REGISTER);
            bitwise.number(3, 1);
            bitwise.nested(4, |mask| mask.bytes(1, &[0x17]));
            bitwise.nested(5, |xor| xor.bytes(1, &[0]));
        });
        self.compare(0, &[0x02]);
    }

    /// The destination is an address of this node's.
    fn is_local(&mut self) {
        /// `RTN_LOCAL`
        const LOCAL: u32 = 2;
        self.expression("fib", |fib| {
            fib.number(1, REGISTER);
            fib.number(2, 3);
            fib.number(3, 2);
        });
        self.compare(0, &LOCAL.to_ne_bytes());
    }

    fn put(&mut self, value: &[u8]) {
        self.expression("immediate", |immediate| {
            immediate.number(1, REGISTER);
            immediate.nested(2, |data| data.bytes(1, value));
        });
    }

    fn update(&mut self, update: &Update) {
        self.put(&update.port.to_be_bytes());
        self.expression("dynset", |dynset| {
            dynset.string(1, update.set);
            dynset.number(3, 1);
            dynset.number(4, REGISTER);
            dynset.long(6, update.timeout_ms);
        });
    }

    fn redirect(&mut self, port: u16) {
        self.put(&port.to_be_bytes());
        self.expression("redir", |redirect| redirect.number(1, REGISTER));
    }

    fn reset(&mut self) {
        self.expression("reject", |reject| reject.number(1, 1));
    }

    fn drop(&mut self) {
        self.expression("immediate", |immediate| {
            immediate.number(1, VERDICT);
            immediate.nested(2, |data| data.nested(2, |verdict| verdict.number(1, 0)));
        });
    }
}
