//! What is wanted of the node: its own NodeStreaming, as it changes.

use futures_util::StreamExt;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use streamway_crds::{NodeStreaming, NodeStreamingSpec, Traffic, Way};
use streamway_daemon::shutdown::Phase;
use tokio::sync::watch;

use super::redirect::Wanted;

/// Follows the NodeStreaming of `node`, for ever; `unauthorized` is called where the API server does
/// not know us.
pub(super) async fn follow(
    api: Api<NodeStreaming>,
    node: &str,
    seen: watch::Sender<Option<NodeStreaming>>,
    unauthorized: impl Fn(),
) {
    let mut events = std::pin::pin!(watcher::watch_object(api, node).default_backoff());
    let mut complained = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(streaming) => {
                complained = false;
                if streaming.is_none() {
                    tracing::info!("there is no NodeStreaming of this node; nothing changes here");
                }
                seen.send_replace(streaming);
            }
            Err(error) => {
                if is_unauthorized(&error) {
                    unauthorized();
                }
                if !std::mem::replace(&mut complained, true) {
                    tracing::warn!(%error, "the node's NodeStreaming cannot be watched; nothing changes here");
                }
            }
        }
    }
}

fn is_unauthorized(error: &watcher::Error) -> bool {
    let error = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => return status.code == 401,
        _ => return false,
    };
    matches!(error, kube::Error::Api(status) if status.code == 401)
}

/// Where the node's traffic is wanted by a wish, in a phase of this process.
pub(super) fn wanted(wish: &NodeStreamingSpec, phase: Phase) -> Wanted {
    let redirected = wish.traffic == Traffic::Agent && wish.way == Way::Redirect;
    // One that is about to end takes no new connections; while it drains it does.
    if redirected && phase < Phase::Closing {
        Wanted::Agent
    } else {
        Wanted::Kubelet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_comes_here_by_redirection_only_as_long_as_it_is_taken() {
        let wish = |traffic, way| NodeStreamingSpec {
            traffic,
            way,
            ..NodeStreamingSpec::default()
        };
        let agent = wish(Traffic::Agent, Way::Redirect);
        assert_eq!(wanted(&agent, Phase::Running), Wanted::Agent);
        assert_eq!(wanted(&agent, Phase::Draining), Wanted::Agent);
        assert_eq!(wanted(&agent, Phase::Closing), Wanted::Kubelet);
        let by_port = wish(Traffic::Agent, Way::Port);
        assert_eq!(wanted(&by_port, Phase::Running), Wanted::Kubelet);
        let kubelet = NodeStreamingSpec::default();
        assert_eq!(wanted(&kubelet, Phase::Running), Wanted::Kubelet);
    }
}
