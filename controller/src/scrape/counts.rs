//! What metrics say of streaming, good and all, as far as an analysis counts it. Pure.

use super::text::samples;

/// How many, and how many of them good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) good: u64,
    pub(crate) total: u64,
}

impl Tally {
    fn add(&mut self, value: f64, good: bool) {
        // A counter's value is a whole number that is not negative; another is a metric's fault.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let count = value.max(0.0) as u64;
        self.total = self.total.saturating_add(count);
        if good {
            self.good = self.good.saturating_add(count);
        }
    }

    /// Both, added.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            good: self.good.saturating_add(other.good),
            total: self.total.saturating_add(other.total),
        }
    }

    /// What came since an earlier tally; all of it where counting began anew in between.
    pub(crate) fn since(self, earlier: Self) -> Self {
        match self.total.checked_sub(earlier.total) {
            Some(total) => Self {
                good: self.good.saturating_sub(earlier.good).min(total),
                total,
            },
            None => self,
        }
    }
}

/// What one process counted since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Requests to stream; good are those that reached 101 or were refused for a reason of the
    /// client's.
    pub(crate) upgrades: Tally,
    /// Sessions that ended; good are those that ended without an error that is ours.
    pub(crate) sessions: Tally,
}

/// Ends of sessions that are ours or the upstream's doing: `streamway_translate::Outcome`'s words,
/// and the proxy's own.
const OURS: [&str; 6] = [
    "aborted",
    "shutdown",
    "truncated",
    "upstream_lost",
    "upstream_misbehaved",
    "upstream_silent",
];

impl Counts {
    /// Both, added.
    pub(crate) fn plus(self, later: Self) -> Self {
        Self {
            upgrades: self.upgrades.plus(later.upgrades),
            sessions: self.sessions.plus(later.sessions),
        }
    }

    /// What came since an earlier look at the same process.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            upgrades: self.upgrades.since(earlier.upgrades),
            sessions: self.sessions.since(earlier.sessions),
        }
    }

    /// An agent's `/metrics`.
    pub(crate) fn of_agent(text: &str) -> Self {
        let mut counts = Self::default();
        let mut refused = Tally::default();
        for sample in samples(text) {
            match sample.name {
                "kubelet_streaming_websocket_requests_total" => {
                    let good = sample.label("result") == Some("success");
                    counts.upgrades.add(sample.value, good);
                }
                // Only here is told why a request did not come to 101.
                "apiserver_stream_translator_requests_total"
                | "apiserver_stream_tunnel_requests_total" => {
                    let theirs = sample
                        .label("code")
                        .is_some_and(|code| code.starts_with('4'));
                    refused.add(if theirs { sample.value } else { 0.0 }, theirs);
                }
                "streamway_sessions_total" => {
                    let good = sample
                        .label("outcome")
                        .is_none_or(|end| !OURS.contains(&end));
                    counts.sessions.add(sample.value, good);
                }
                _ => {}
            }
        }
        let good = counts.upgrades.good.saturating_add(refused.good);
        counts.upgrades.good = good.min(counts.upgrades.total);
        counts
    }

    /// A kube-apiserver's `/metrics`: what it translated itself, for nodes that are not over. Its
    /// counters know only the end: a session that failed and one that never opened are one.
    pub(crate) fn of_api_server(text: &str) -> Self {
        let mut counts = Self::default();
        for sample in samples(text) {
            if matches!(
                sample.name,
                "apiserver_stream_translator_requests_total"
                    | "apiserver_stream_tunnel_requests_total"
            ) {
                let good = sample
                    .label("code")
                    .is_some_and(|code| !code.starts_with('5'));
                counts.upgrades.add(sample.value, good);
                counts.sessions.add(sample.value, good);
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(good: u64, total: u64) -> Tally {
        Tally { good, total }
    }

    #[test]
    fn an_agents() {
        let text = r#"
kubelet_streaming_websocket_requests_total{subresource="exec",result="success"} 90
kubelet_streaming_websocket_requests_total{subresource="portforward",result="success"} 5
kubelet_streaming_websocket_requests_total{subresource="exec",result="failure"} 5
apiserver_stream_translator_requests_total{code="200"} 88
apiserver_stream_translator_requests_total{code="404"} 2
apiserver_stream_translator_requests_total{code="500"} 4
apiserver_stream_tunnel_requests_total{code="101"} 5
apiserver_stream_tunnel_requests_total{code="403"} 1
streamway_sessions_total{subresource="exec",client_protocol="v5",upstream_protocol="v4",outcome="success"} 80
streamway_sessions_total{subresource="exec",client_protocol="v5",upstream_protocol="v4",outcome="exit_code"} 8
streamway_sessions_total{subresource="exec",client_protocol="v5",upstream_protocol="v4",outcome="client_gone"} 3
streamway_sessions_total{subresource="exec",client_protocol="v5",upstream_protocol="v4",outcome="upstream_lost"} 1
streamway_sessions_total{subresource="exec",client_protocol="spdy",upstream_protocol="spdy",outcome="passed"} 1
"#;
        let counts = Counts::of_agent(text);
        assert_eq!(counts.upgrades, tally(98, 100));
        assert_eq!(counts.sessions, tally(92, 93));
        assert_eq!(Counts::of_agent("# EOF\n"), Counts::default());
    }

    #[test]
    fn an_api_servers() {
        let text = r#"
apiserver_stream_translator_requests_total{code="200"} 7
apiserver_stream_translator_requests_total{code="400"} 1
apiserver_stream_translator_requests_total{code="500"} 2
apiserver_stream_tunnel_requests_total{code="101"} 3
"#;
        assert_eq!(Counts::of_api_server(text).upgrades, tally(11, 13));
    }

    #[test]
    fn a_process_that_started_anew_counts_from_zero() {
        assert_eq!(tally(9, 10).since(tally(4, 5)), tally(5, 5));
        assert_eq!(tally(1, 2).since(tally(9, 10)), tally(1, 2));
        assert_eq!(tally(10, 11).since(tally(10, 10)), tally(0, 1));
    }
}
