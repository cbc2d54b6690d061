//! The node role as a node's agent, under the controller.
//!
//! ```text
//! identity   who it is: a certificate for this node only
//! wish       its NodeStreaming: where the node's traffic is wanted
//! redirect   the table that brings it here
//! report     NodeStreaming.status.agent, on change only
//! ```
//!
//! The API server is needed to hear of wishes and to report, not to go on: while it is away, the last
//! wish stays.

mod backoff;
mod identity;
mod metrics;
mod redirect;
mod report;
mod wish;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use http::Uri;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use streamway_crds::{AgentStatus, NodeStreaming, NodeStreamingSpec, names};
use streamway_daemon::admin::Readiness;
use streamway_daemon::exit::ExitError;
use streamway_daemon::shutdown::{Phase, Shutdown};
use tokio::sync::watch;

use crate::args::NodeArgs;
use crate::port::Port;
use crate::serve::{Host, threads};
use backoff::Backoff;
pub(crate) use identity::Identity;
pub(crate) use metrics::AgentMetrics;
use redirect::{Redirect, Redirection, State};
use report::{About, Report};

/// Changes that come together are reported together.
const TOGETHER: Duration = Duration::from_millis(100);

/// How long the API server may take to answer a report.
const LATE: Duration = Duration::from_secs(10);

/// What an agent of the node's is made of.
pub(crate) struct Agent<'a> {
    pub(crate) args: &'a NodeArgs,
    pub(crate) node: &'a str,
    pub(crate) client: Option<Client>,
    pub(crate) identity: Option<Identity>,
    pub(crate) metrics: AgentMetrics,
}

impl Agent<'_> {
    /// Follows the node's NodeStreaming from now on. The port that connections are redirected to.
    ///
    /// # Errors
    ///
    /// Flags that do not fit; no port is free.
    pub(crate) fn start(self, host: &Host) -> Result<Port, ExitError> {
        let flag = "--traffic NodeStreaming";
        let client = self.client.ok_or_else(|| {
            ExitError::usage(format_args!(
                "{flag} needs an API server; give --rotate-certificates or --kubeconfig"
            ))
        })?;
        let kubelet = redirected_port(&self.args.kubelet)?;
        let ip = match self.args.listen.ip() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let ports = self.args.agent.redirect_ports.clone();
        let port = Port::alone(ip, ports.clone(), threads()).map_err(|error| {
            ExitError::failure(format_args!(
                "no port of {}-{} can be had: {error}; give --redirect-ports others",
                ports.start(),
                ports.end()
            ))
        })?;
        let redirection = Redirection {
            kubelet,
            agent: port.address().port(),
            ipv6: port.address().is_ipv6(),
            beats: host.beats.clone(),
        };
        let connections = host.shutdown.tracker().clone();
        let redirect = Redirect::start(redirection, move || !connections.is_empty());
        let redirect = redirect.map_err(|error| {
            ExitError::failure(format_args!(
                "a thread cannot start: {error}; check the limits on threads"
            ))
        })?;
        let api: Api<NodeStreaming> = Api::all(client);
        let (seen, seeing) = watch::channel(None);
        let about = About {
            pod_name: self.args.agent.pod_name.clone(),
            gates: host.gates,
            obstacle: redirect.obstacle().map(str::to_owned),
        };
        let reporter = Reporter {
            api: api.clone(),
            node: self.node.to_owned(),
            about,
            readiness: host.readiness.clone(),
            state: redirect.state(),
            seen: seeing.clone(),
            not_after: self.identity.as_ref().map(Identity::not_after),
            shutdown: host.shutdown.clone(),
            wish: NodeStreamingSpec::default(),
        };
        tokio::spawn(measure(redirect.state(), self.metrics));
        tokio::spawn(apply(redirect, seeing, host.shutdown.clone()));
        tokio::spawn(reporter.run());
        let (node, identity) = (self.node.to_owned(), self.identity);
        tokio::spawn(async move {
            let unauthorized = || identity.iter().for_each(Identity::doubt);
            wish::follow(api, &node, seen, unauthorized).await;
        });
        Ok(port)
    }
}

/// The kubelet's port, of a URL that is not redirected itself.
fn redirected_port(url: &str) -> Result<u16, ExitError> {
    let uri: Uri = url.parse().unwrap_or_default();
    let host = uri.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if !host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()) {
        return Err(ExitError::usage(format_args!(
            "--kubelet {url}: with --traffic NodeStreaming the agent's own connections would be \
             redirected to itself; write https://127.0.0.1:10250, which never is"
        )));
    }
    Ok(uri.port_u16().unwrap_or(names::KUBELET_PORT))
}

/// Does what is wished, for ever. A wish stays until there is another.
async fn apply(
    redirect: Redirect,
    mut seen: watch::Receiver<Option<NodeStreaming>>,
    shutdown: Shutdown,
) {
    let mut wish = NodeStreamingSpec::default();
    loop {
        if let Some(streaming) = &*seen.borrow_and_update() {
            wish.clone_from(&streaming.spec);
        }
        let phase = shutdown.phase();
        redirect.want(wish::wanted(&wish, phase));
        tokio::select! {
            changed = seen.changed() => if changed.is_err() {
                // Nobody watches any more: the process ends.
                std::future::pending::<()>().await;
            },
            () = shutdown.reached(Phase::Closing), if phase < Phase::Closing => {}
        }
    }
}

async fn measure(mut state: watch::Receiver<State>, metrics: AgentMetrics) {
    loop {
        metrics.redirects(*state.borrow_and_update() == State::Agent);
        if state.changed().await.is_err() {
            return;
        }
    }
}

/// Writes `status.agent`.
struct Reporter {
    api: Api<NodeStreaming>,
    node: String,
    about: About,
    readiness: Readiness,
    state: watch::Receiver<State>,
    seen: watch::Receiver<Option<NodeStreaming>>,
    not_after: Option<watch::Receiver<i64>>,
    shutdown: Shutdown,
    /// The last.
    wish: NodeStreamingSpec,
}

impl Reporter {
    /// For ever.
    async fn run(mut self) {
        let mut report = Report::default();
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        let mut complained = false;
        let mut health = self.readiness.changes();
        loop {
            let draining = !self.shutdown.is_ready();
            if let Some((mine, there)) = self.look()
                && report.is_due(&mine, there.as_ref(), draining)
            {
                match self.write(&mine).await {
                    Ok(()) => {
                        report.said(mine);
                        complained = false;
                        backoff.reset();
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut complained, true) {
                            tracing::warn!(%error, "the agent's status cannot be written; trying on");
                        }
                        backoff.pause().await;
                        continue;
                    }
                }
            }
            let renewed = async {
                match &mut self.not_after {
                    Some(not_after) => not_after.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Ok(()) = health.changed() => {}
                Ok(()) = self.state.changed() => {}
                Ok(()) = self.seen.changed() => {}
                Ok(()) = renewed => {}
                () = self.shutdown.reached(Phase::Draining), if !draining => {}
                else => return,
            }
            tokio::time::sleep(TOGETHER).await;
        }
    }

    /// What is to be said, and what stands there. None where there is nowhere to say it.
    fn look(&mut self) -> Option<(AgentStatus, Option<AgentStatus>)> {
        let seen = self.seen.borrow_and_update();
        let streaming = seen.as_ref()?;
        self.wish.clone_from(&streaming.spec);
        let there = streaming
            .status
            .as_ref()
            .and_then(|status| status.agent.clone());
        let not_after = self
            .not_after
            .as_mut()
            .map(|last| *last.borrow_and_update());
        let state = self.state.borrow_and_update();
        let mine = self
            .about
            .status(&self.readiness, &state, &self.wish, not_after);
        Some((mine, there))
    }

    async fn write(&self, mine: &AgentStatus) -> Result<(), String> {
        let patch = json!({
            "apiVersion": format!("{}/{}", names::GROUP, names::VERSION),
            "kind": "NodeStreaming",
            "metadata": {"name": self.node},
            "status": {"agent": mine},
        });
        let params = PatchParams::apply(names::AGENT_MANAGER).force();
        let patch = Patch::Apply(&patch);
        let patched = self.api.patch_status(&self.node, &params, &patch);
        match tokio::time::timeout(LATE, patched).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer within 10 s".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_own_connections_are_never_redirected() {
        let port = |url| redirected_port(url).map_err(|error| error.to_string());
        assert_eq!(port("https://127.0.0.1:10250"), Ok(10250));
        assert_eq!(port("https://127.0.0.1"), Ok(10250));
        assert_eq!(port("https://[::1]:1234"), Ok(1234));
        for wrong in [
            "https://10.0.0.1:10250",
            "https://localhost:10250",
            "nonsense",
        ] {
            assert!(port(wrong).unwrap_err().contains("127.0.0.1"), "{wrong}");
        }
    }
}
