//! Whether an API server takes WebSockets itself, as its answers show.
//!
//! No API tells: the gates are in metrics that need a credential. So a client's own request is passed
//! on as it is where it may work. An API server that cannot take it passes it to the kubelet, which
//! refuses it before anything has run, and the gateway translates it. What was learned is remembered
//! until the API server restarts or says another version, and for five minutes at most: with gates off at
//! the API server a kubelet of 1.36 still can, node by node.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::route::Subresource;

/// What one API server was found to speak.
#[derive(Debug, Default)]
pub(super) struct Speaks {
    remote_command: AtomicU8,
    port_forward: AtomicU8,
}

const UNKNOWN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;
/// Its version is too old, whatever its gates.
const NEVER: u8 = 3;

/// The first minor versions of 1 with a gate, alpha included
/// (`k8s.io/kubernetes@v1.36.3/pkg/features/kube_features.go`).
const REMOTE_COMMAND_SINCE: u32 = 29;
const PORT_FORWARD_SINCE: u32 = 30;

impl Speaks {
    /// Whether a WebSocket request may be passed on as it is.
    pub(super) fn is_worth_trying(&self, subresource: Subresource) -> bool {
        matches!(self.of(subresource).load(Ordering::Relaxed), UNKNOWN | YES)
    }

    /// A request was passed on as it is, and upgraded or refused by one that does not speak it. Whether
    /// that is news.
    pub(super) fn learned(&self, subresource: Subresource, speaks: bool) -> bool {
        let new = if speaks { YES } else { NO };
        self.of(subresource).swap(new, Ordering::Relaxed) != new
    }

    /// It may be another one by now: a new process, or another version (`v1.28.15`).
    pub(super) fn reset(&self, version: Option<&str>) {
        let minor = version.and_then(minor);
        for (knowledge, since) in [
            (&self.remote_command, REMOTE_COMMAND_SINCE),
            (&self.port_forward, PORT_FORWARD_SINCE),
        ] {
            let too_old = minor.is_some_and(|minor| minor < since);
            knowledge.store(if too_old { NEVER } else { UNKNOWN }, Ordering::Relaxed);
        }
    }

    fn of(&self, subresource: Subresource) -> &AtomicU8 {
        match subresource {
            Subresource::Exec | Subresource::Attach => &self.remote_command,
            Subresource::PortForward => &self.port_forward,
        }
    }
}

fn minor(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("v1.")?;
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Subresource::{Attach, Exec, PortForward};

    fn worth(speaks: &Speaks) -> (bool, bool) {
        (
            speaks.is_worth_trying(Exec),
            speaks.is_worth_trying(PortForward),
        )
    }

    #[test]
    fn versions_rule_out() {
        let speaks = Speaks::default();
        for (version, wanted) in [
            (Some("v1.28.15"), (false, false)),
            (Some("v1.29.0-alpha.1+abc"), (true, false)),
            (Some("v1.30.4-gke.1"), (true, true)),
            (Some("v1.36.3"), (true, true)),
            (Some("v2.0.0"), (true, true)),
            (Some("no version"), (true, true)),
            (None, (true, true)),
        ] {
            speaks.reset(version);
            assert_eq!(worth(&speaks), wanted, "{version:?}");
        }
    }

    #[test]
    fn answers_teach() {
        let speaks = Speaks::default();
        assert!(speaks.learned(Attach, false));
        assert!(!speaks.learned(Exec, false), "no news");
        assert_eq!(worth(&speaks), (false, true));
        assert!(speaks.learned(PortForward, true));
        assert_eq!(worth(&speaks), (false, true));
        speaks.reset(Some("v1.36.3"));
        assert_eq!(worth(&speaks), (true, true));
    }
}
