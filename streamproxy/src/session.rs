//! One streaming session's account: its metrics, and its one line in the log.

use std::sync::Arc;
use std::time::Instant;

use http::StatusCode;
use streamway_translate::{Bytes, Fault, Outcome, Refusal};

use crate::metrics::{Code, Direction, Ended, Endpoint, EndpointResult, Metrics, Type};
use crate::route::{Route, Subresource};

/// What is spoken on a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// `v5.channel.k8s.io` over WebSocket.
    V5,
    /// `SPDY/3.1+portforward.k8s.io` over WebSocket.
    Tunnel,
    /// Another WebSocket subprotocol, or none.
    OtherWebSocket,
    /// SPDY/3.1.
    Spdy,
}

impl Protocol {
    /// The metric's and the log's word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V5 => "v5.channel.k8s.io",
            Self::Tunnel => "SPDY/3.1+portforward.k8s.io",
            Self::OtherWebSocket => "websocket",
            Self::Spdy => "SPDY/3.1",
        }
    }
}

/// The account of one session. Dropping it closes it, however the session ended.
#[derive(Debug)]
pub(crate) struct Session {
    metrics: Arc<Metrics>,
    user: String,
    route: Route,
    client: Protocol,
    upstream: Protocol,
    started: Instant,
    open: bool,
    bytes: Bytes,
    result: Option<(Option<Outcome>, String)>,
    refused: Option<(StatusCode, String)>,
}

impl Session {
    /// A request for a session, by a user as far as their name is known.
    pub(crate) fn requested(
        metrics: Arc<Metrics>,
        user: String,
        route: Route,
        client: Protocol,
        upstream: Protocol,
    ) -> Self {
        let name = route.subresource.as_str();
        match client {
            Protocol::V5 => {
                metrics
                    .remote_command_v5
                    .get_or_create(&Type { r#type: name })
                    .inc();
            }
            Protocol::Tunnel => {
                metrics
                    .port_forward_v2
                    .get_or_create(&Type { r#type: name })
                    .inc();
            }
            _ => {}
        }
        Self {
            metrics,
            user,
            route,
            client,
            upstream,
            started: Instant::now(),
            open: false,
            bytes: Bytes::default(),
            result: None,
            refused: None,
        }
    }

    /// The server is asked for another protocol than the client speaks.
    pub(crate) fn translated_to(&mut self, upstream: Protocol) {
        self.upstream = upstream;
    }

    /// 101 is on its way to the client.
    pub(crate) fn opened(&mut self) {
        self.open = true;
        let endpoint = self.endpoint();
        self.metrics.active.get_or_create(&endpoint).inc();
        if self.client != Protocol::Spdy {
            self.metrics
                .kubelet_websocket
                .get_or_create(&endpoint)
                .inc();
        }
        if self.translates() && self.tunnels() {
            self.metrics.tunnel.get_or_create(&Code { code: 101 }).inc();
        }
    }

    /// The client was answered something else than 101.
    pub(crate) fn refused(&mut self, status: StatusCode, why: impl Into<String>) {
        self.refused = Some((status, why.into()));
    }

    /// A forwarded connection was refused, and the others go on.
    pub(crate) fn port_refused(&self, refusal: &Refusal) {
        self.metrics.refusals.inc();
        tracing::warn!(
            target: "access",
            user = self.user,
            namespace = self.route.namespace,
            pod = self.route.pod,
            port = refusal.port,
            reason = refusal.text,
            "a forwarded connection was refused"
        );
    }

    /// The session ran to an end that was looked at.
    pub(crate) fn ended(&mut self, outcome: Outcome, detail: impl Into<String>, bytes: Bytes) {
        self.result = Some((Some(outcome), detail.into()));
        self.bytes = bytes;
    }

    /// The session was passed through and has ended.
    pub(crate) fn passed(&mut self, detail: impl Into<String>, bytes: Bytes) {
        self.result = Some((None, detail.into()));
        self.bytes = bytes;
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint {
            subresource: self.route.subresource.as_str(),
        }
    }

    fn translates(&self) -> bool {
        self.client != self.upstream
    }

    fn tunnels(&self) -> bool {
        self.route.subresource == Subresource::PortForward
    }

    fn count_end(&self, outcome: &'static str) {
        let endpoint = self.endpoint();
        let m = &self.metrics;
        let subresource = endpoint.subresource;
        m.active.get_or_create(&endpoint).dec();
        m.duration
            .get_or_create(&endpoint)
            .observe(self.started.elapsed().as_secs_f64());
        for (direction, count) in [
            ("in", self.bytes.from_client),
            ("out", self.bytes.from_upstream),
        ] {
            m.bytes
                .get_or_create(&Direction {
                    subresource,
                    direction,
                })
                .inc_by(count);
        }
        let (client_protocol, upstream_protocol) = (self.client.as_str(), self.upstream.as_str());
        m.sessions
            .get_or_create(&Ended {
                subresource,
                client_protocol,
                upstream_protocol,
                outcome,
            })
            .inc();
    }

    /// Upstream's code for a translated session: 200 also for a command that failed.
    fn count_translator(&self, code: u16) {
        if self.client == Protocol::V5 && self.translates() {
            self.metrics.translator.get_or_create(&Code { code }).inc();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (outcome, fault, detail, code) = match (&self.refused, &self.result) {
            (Some((status, why)), _) => ("refused", Fault::None, why.as_str(), status.as_u16()),
            (None, Some((Some(outcome), detail))) => {
                (outcome.as_str(), outcome.fault(), detail.as_str(), 101)
            }
            (None, Some((None, detail))) => ("passed", Fault::None, detail.as_str(), 101),
            (None, None) if self.open => ("aborted", Fault::Local, "cut by the proxy", 101),
            (None, None) => (
                "client_gone",
                Fault::Client,
                "the client left before the answer",
                499,
            ),
        };
        if self.open {
            self.count_end(outcome);
            let failed = fault == Fault::Upstream && outcome != "failure";
            self.count_translator(if failed { 500 } else { 200 });
        } else {
            self.count_translator(code);
            if self.client == Protocol::Tunnel && self.translates() {
                self.metrics.tunnel.get_or_create(&Code { code }).inc();
            }
        }
        if self.client != Protocol::Spdy {
            let result = if self.open { "success" } else { "failure" };
            let subresource = self.route.subresource.as_str();
            self.metrics
                .kubelet_websocket_result
                .get_or_create(&EndpointResult {
                    subresource,
                    result,
                })
                .inc();
        }
        let exit_code = match self.result {
            Some((Some(Outcome::ExitCode(code)), _)) => Some(code),
            _ => None,
        };
        // Who, what, how long, how much, how it ended; never what was said.
        tracing::info!(
            target: "access",
            user = self.user,
            namespace = self.route.namespace,
            pod = self.route.pod,
            container = self.route.container,
            subresource = self.route.subresource.as_str(),
            client_protocol = self.client.as_str(),
            upstream_protocol = self.upstream.as_str(),
            code,
            duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes_in = self.bytes.from_client,
            bytes_out = self.bytes.from_upstream,
            outcome,
            exit_code,
            detail,
            "session"
        );
    }
}
