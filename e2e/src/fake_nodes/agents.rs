//! What agents say: over HTTP when they are asked, and in their NodeStreaming's status.

use std::convert::Infallible;
use std::future::pending;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::Result;
use futures_util::StreamExt;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::json;
use streamway_crds::{NodeStreaming, Traffic, Way, names};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{Agent, Agents};

/// Sessions that each agent counts between two looks at its metrics.
const BETWEEN_LOOKS: u64 = 25;

/// Statuses written at once.
const AT_ONCE: usize = 16;

/// Listens as every agent. The port.
pub(super) async fn listen(agents: Arc<Agents>) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let agents = Arc::clone(&agents);
            tokio::spawn(async move {
                let Ok(local) = stream.local_addr() else {
                    return;
                };
                let answer = service_fn(move |request| {
                    let agents = Arc::clone(&agents);
                    async move { Ok::<_, Infallible>(answer(&agents, local.ip(), &request).await) }
                });
                let io = TokioIo::new(stream);
                // A controller that goes away in the middle is no error here.
                let _ = http1::Builder::new().serve_connection(io, answer).await;
            });
        }
    });
    Ok(port)
}

async fn answer(
    agents: &Agents,
    own: IpAddr,
    request: &Request<Incoming>,
) -> Response<Full<Bytes>> {
    let name = match own {
        IpAddr::V4(own) => agents.by_address().get(&own).cloned(),
        IpAddr::V6(_) => None,
    };
    let name = name.unwrap_or_default();
    let told = {
        let mut states = agents.by_name();
        let Some(state) = states.get_mut(&name) else {
            return reply(StatusCode::NOT_FOUND, String::new());
        };
        state.asked += 1;
        match (&state.agent, request.uri().path()) {
            (Agent::Hanging, _) => None,
            (Agent::NotReady(why), "/readyz") => Some((
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("[+]ping ok\n[-]kubelet failed: {why}\n"),
            )),
            (_, "/metrics") => {
                state.sessions += BETWEEN_LOOKS;
                if state.agent == Agent::Failing {
                    state.failed += BETWEEN_LOOKS;
                }
                Some((StatusCode::OK, metrics(state.sessions, state.failed)))
            }
            _ => Some((StatusCode::OK, "ok".to_owned())),
        }
    };
    match told {
        Some((status, text)) => reply(status, text),
        None => pending().await,
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

fn reply(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response
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
