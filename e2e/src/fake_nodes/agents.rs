//! What agents say: over HTTP when they are asked, and in their NodeStreaming's status.

use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::Result;
use futures_util::StreamExt;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::json;
use streamway_crds::{NodeStreaming, Traffic, Way, names};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::{Agent, Agents};

/// Sessions that each agent counts between two looks at its metrics.
const BETWEEN_LOOKS: u64 = 25;

/// Statuses written at once.
const AT_ONCE: usize = 16;

/// No request of a controller's is longer.
const MAX_REQUEST: usize = 4 << 10;

/// Listens as every agent. The port.
pub(super) async fn listen(agents: Arc<Agents>) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A controller that goes away in the middle is no error here.
            let agents = Arc::clone(&agents);
            tokio::spawn(async move { serve(&agents, stream).await.ok() });
        }
    });
    Ok(port)
}

/// GETs one after the other, by hand: five thousand agents are asked each second, and an HTTP server
/// that is built for debugging takes a whole core for that.
async fn serve(agents: &Agents, mut stream: TcpStream) -> io::Result<()> {
    let IpAddr::V4(own) = stream.local_addr()?.ip() else {
        return Ok(());
    };
    let name = agents.by_address().get(&own).cloned().unwrap_or_default();
    let mut request = [0; MAX_REQUEST];
    let mut length = 0;
    loop {
        let Some(free) = request.get_mut(length..).filter(|free| !free.is_empty()) else {
            return Ok(());
        };
        let read = stream.read(free).await?;
        if read == 0 {
            return Ok(());
        }
        length += read;
        let head = request.get(..length).unwrap_or_default();
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let path = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        match answer(agents, &name, path) {
            Some((status, text)) => {
                let length = text.len();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{text}");
                stream.write_all(head.as_bytes()).await?;
            }
            None => pending().await,
        }
        length = 0;
    }
}

/// A status line and a body; nothing of an agent that hangs.
fn answer(agents: &Agents, name: &str, path: &[u8]) -> Option<(&'static str, String)> {
    let mut states = agents.by_name();
    let Some(state) = states.get_mut(name) else {
        return Some(("404 Not Found", String::new()));
    };
    state.asked += 1;
    match (&state.agent, path) {
        (Agent::Hanging, _) => None,
        (Agent::NotReady(why), b"/readyz") => Some((
            "500 Internal Server Error",
            format!("[+]ping ok\n[-]kubelet failed: {why}\n"),
        )),
        (_, b"/metrics") => {
            state.sessions += BETWEEN_LOOKS;
            if state.agent == Agent::Failing {
                state.failed += BETWEEN_LOOKS;
            }
            Some(("200 OK", metrics(state.sessions, state.failed)))
        }
        _ => Some(("200 OK", "ok".to_owned())),
    }
}

/// In the words of the real one's metrics.
fn metrics(sessions: u64, failed: u64) -> String {
    let good = sessions - failed;
    format!(
        "kubelet_streaming_websocket_requests_total{{subresource=\"exec\",result=\"success\"}} {sessions}\n\
         streamway_sessions_total{{subresource=\"exec\",client_protocol=\"v5\",upstream_protocol=\"v4\",outcome=\"success\"}} {good}\n\
         streamway_sessions_total{{subresource=\"exec\",client_protocol=\"v5\",upstream_protocol=\"v4\",outcome=\"upstream_lost\"}} {failed}\n"
    )
}

/// Does what NodeStreamings say, as their agents: for ever.
pub(super) async fn follow(client: Client, agents: Arc<Agents>) {
    let api: Api<NodeStreaming> = Api::all(client);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let config = watcher::Config::default();
    let changes = watcher(api.clone(), config)
        .default_backoff()
        .applied_objects();
    changes
        .for_each(|streaming| {
            let (api, agents, turns) = (api.clone(), Arc::clone(&agents), Arc::clone(&turns));
            async move {
                // The kind is not there yet, or the API server is away: the watch goes on.
                let Ok(streaming) = streaming else { return };
                let Ok(turn) = turns.acquire_owned().await else {
                    return;
                };
                tokio::spawn(async move {
                    obey(&api, &agents, &streaming).await;
                    drop(turn);
                });
            }
        })
        .await;
}

async fn obey(api: &Api<NodeStreaming>, agents: &Agents, streaming: &NodeStreaming) {
    let name = streaming.name_any();
    let agent = agents.by_name().get(&name).map(|state| state.agent.clone());
    let ready = match agent {
        None | Some(Agent::Hanging) => return,
        Some(agent) => !matches!(agent, Agent::NotReady(_)),
    };
    // By way Port nobody but the Node says where traffic goes.
    let traffic = match streaming.spec.way {
        Way::Redirect => streaming.spec.traffic,
        Way::Port => Traffic::Kubelet,
    };
    let told = streaming.status.as_ref().and_then(|it| it.agent.as_ref());
    if told.is_some_and(|told| told.traffic == Some(traffic) && told.ready == Some(ready)) {
        return;
    }
    let status = json!({
        "apiVersion": "streamway.dev/v1alpha1",
        "kind": "NodeStreaming",
        "metadata": {"name": name},
        "status": {"agent": {
            "version": env!("CARGO_PKG_VERSION"),
            "traffic": traffic,
            "ready": ready,
            "podName": format!("{}-{name}", names::AGENT),
        }},
    });
    let params = PatchParams::apply(names::AGENT_MANAGER).force();
    if let Err(error) = api
        .patch_status(&name, &params, &Patch::Apply(status))
        .await
    {
        eprintln!("the agent of {name} could not write its status: {error}");
    }
}
