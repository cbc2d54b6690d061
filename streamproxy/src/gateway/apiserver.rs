//! The API servers behind the gateway: which one serves a client's connection, and what happens when
//! it cannot be reached.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use tokio::sync::Notify;

use super::speaks::Speaks;
use crate::lane::Lane;
use crate::upstream::{Answer, Kind, Leased, Outgoing, Server, Tls, UpstreamError, UrlError};

/// What it is called.
pub(super) const NOUN: &str = "the API server";

const KIND: Kind = Kind {
    noun: NOUN,
    flag: "--apiserver",
    port: 6443,
    example: "https://10.0.0.1:6443",
};

/// As whom a connection to an API server is made. One that shows nothing is authenticated by what its
/// requests hold, and by nothing else; so a caller's request can never be taken for the gateway's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// As nobody.
    Nothing,
    /// As the gateway, which says in the request whose it is.
    Gateway,
}

/// One API server.
#[derive(Debug)]
pub(super) struct ApiServer {
    pub(super) url: String,
    plain: Server,
    own: Option<Server>,
    /// As [`Shown::Nothing`], with a connection that nobody else uses.
    pub(super) health: Server,
    healthy: AtomicBool,
    /// It was seen to believe the gateway who a caller is.
    believes: AtomicBool,
    pub(super) speaks: Speaks,
    /// Its health is asked for at once.
    pub(super) ask_again: Notify,
}

/// All of them.
#[derive(Debug)]
pub(super) struct ApiServers {
    all: Vec<ApiServer>,
    next: AtomicUsize,
}

/// Why no API server answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(super) enum NoAnswer {
    /// None can be reached; nothing was sent.
    #[error("no API server can be reached: {0}")]
    Unreachable(#[source] UpstreamError),
    /// The connection was lost, or the answer is late.
    #[error(transparent)]
    Lost(UpstreamError),
    /// Nobody believes the gateway.
    #[error(
        "no API server has been seen to trust the gateway's front-proxy certificate, so users of \
         client certificates cannot be told to it; use a token, or see the gateway's /readyz?verbose"
    )]
    NotTrusted,
}

impl NoAnswer {
    /// The status for the client.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Unreachable(_) => StatusCode::SERVICE_UNAVAILABLE,
            // Not 503, which clients try again for long.
            Self::NotTrusted => StatusCode::BAD_GATEWAY,
            Self::Lost(error) => error.status(),
        }
    }
}

impl ApiServer {
    /// At `url`; `own` is how the gateway shows itself to it, where it does.
    pub(super) fn new(url: &str, plain: &Tls, own: Option<&Tls>) -> Result<Self, UrlError> {
        Ok(Self {
            url: url.to_owned(),
            plain: Server::new(KIND, url, plain)?,
            own: own.map(|tls| Server::new(KIND, url, tls)).transpose()?,
            health: Server::new(KIND, url, plain)?,
            healthy: AtomicBool::new(false),
            believes: AtomicBool::new(false),
            speaks: Speaks::default(),
            ask_again: Notify::new(),
        })
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Whether it was not so before.
    pub(super) fn set_healthy(&self, healthy: bool) -> bool {
        self.healthy.swap(healthy, Ordering::Relaxed) != healthy
    }

    pub(super) fn believes(&self) -> bool {
        self.believes.load(Ordering::Relaxed)
    }

    pub(super) fn set_believes(&self, believes: bool) {
        self.believes.store(believes, Ordering::Relaxed);
    }

    /// The connections that show `shown`. Without a credential of its own, the gateway is nobody.
    pub(super) fn as_shown(&self, shown: Shown) -> &Server {
        match (shown, &self.own) {
            (Shown::Gateway, Some(own)) => own,
            _ => &self.plain,
        }
    }

    pub(super) fn reap(&self) {
        self.plain.reap();
        if let Some(own) = &self.own {
            own.reap();
        }
    }

    fn cannot_be_reached(&self) {
        if self.set_healthy(false) {
            tracing::warn!(apiserver = self.url, "the API server cannot be reached");
        }
        self.ask_again.notify_one();
    }
}

impl ApiServers {
    pub(super) fn new(all: Vec<ApiServer>) -> Self {
        Self {
            all,
            next: AtomicUsize::new(0),
        }
    }

    pub(super) fn all(&self) -> &[ApiServer] {
        &self.all
    }

    /// The API server that a connection's next request goes to first.
    pub(super) fn of(&self, lane: &Lane, shown: Shown) -> Option<&ApiServer> {
        self.candidates(lane, shown).next()
    }

    /// Those that a request may go to, the best first: the connection's own while it is healthy, then
    /// the other healthy ones, then the rest, which may be healthy after all.
    fn candidates(&self, lane: &Lane, shown: Shown) -> impl Iterator<Item = &ApiServer> {
        let usable = move |server: &&ApiServer| shown == Shown::Nothing || server.believes();
        let chosen = lane
            .chosen()
            .filter(|number| self.all.get(*number).is_some_and(ApiServer::is_healthy));
        let first = chosen.unwrap_or_else(|| {
            let turn = self.next.fetch_add(1, Ordering::Relaxed);
            let healthy: Vec<usize> = (0..self.all.len())
                .filter(|number| self.all.get(*number).is_some_and(ApiServer::is_healthy))
                .collect();
            let number = match healthy.get(turn.checked_rem(healthy.len()).unwrap_or(0)) {
                Some(number) => *number,
                None => turn.checked_rem(self.all.len()).unwrap_or(0),
            };
            lane.choose(number);
            number
        });
        let in_turn = move || self.all.iter().cycle().skip(first).take(self.all.len());
        let healthy = in_turn().filter(|server| server.is_healthy());
        let others = in_turn().filter(|server| !server.is_healthy());
        // Collected, since trying one changes what is healthy.
        let order: Vec<&ApiServer> = healthy.chain(others).filter(usable).collect();
        order.into_iter()
    }

    /// Sends a request, which may be a watch. One that could not be sent to an API server at all goes
    /// to the next.
    pub(super) async fn send(
        &self,
        lane: &Lane,
        shown: Shown,
        request: Request<Outgoing>,
        watches: bool,
    ) -> Result<Response<Leased>, NoAnswer> {
        let mut unsent = Some(request);
        let mut last = NoAnswer::NotTrusted;
        for server in self.candidates(lane, shown) {
            let Some(request) = unsent.take() else {
                break;
            };
            let connections = server.as_shown(shown);
            let answer = if watches {
                connections.watch(request).await
            } else {
                connections.send(request).await
            };
            match answer {
                Ok(response) => return Ok(response),
                Err(unanswered) => match unanswered.error {
                    error @ UpstreamError::Dial(_) => {
                        server.cannot_be_reached();
                        unsent = unanswered.request.map(|request| *request);
                        last = NoAnswer::Unreachable(error);
                    }
                    error => {
                        server.ask_again.notify_one();
                        return Err(NoAnswer::Lost(error));
                    }
                },
            }
        }
        Err(last)
    }

    /// Asks for an upgrade, and says which API server answered.
    pub(super) async fn upgrade(
        &self,
        lane: &Lane,
        shown: Shown,
        method: &Method,
        target: Option<&PathAndQuery>,
        headers: &HeaderMap,
    ) -> Result<(&ApiServer, Answer), NoAnswer> {
        let mut last = NoAnswer::NotTrusted;
        for server in self.candidates(lane, shown) {
            let connections = server.as_shown(shown);
            let (method, target) = (method.clone(), target.cloned());
            match connections.upgrade(method, target, headers.clone()).await {
                Ok(answer) => return Ok((server, answer)),
                Err(error @ UpstreamError::Dial(_)) => {
                    server.cannot_be_reached();
                    last = NoAnswer::Unreachable(error);
                }
                Err(error) => {
                    server.ask_again.notify_one();
                    return Err(NoAnswer::Lost(error));
                }
            }
        }
        Err(last)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::upstream::verifier;

    fn three() -> ApiServers {
        streamway_daemon::install_crypto_provider();
        let tls = Tls::new(verifier(None).unwrap(), None, None);
        let server = |number| {
            let url = format!("https://127.0.0.{number}:6443");
            let server = ApiServer::new(&url, &tls, Some(&tls)).unwrap();
            server.set_healthy(true);
            server
        };
        ApiServers::new([1, 2, 3].map(server).into())
    }

    fn first<'a>(servers: &'a ApiServers, lane: &Lane) -> &'a str {
        &servers.of(lane, Shown::Nothing).unwrap().url
    }

    #[test]
    fn connections_are_spread_and_each_stays() {
        let servers = three();
        let lanes: Vec<Lane> = (0..3).map(|_| Lane::default()).collect();
        let firsts: Vec<&str> = lanes.iter().map(|lane| first(&servers, lane)).collect();
        let different: HashSet<&str> = firsts.iter().copied().collect();
        assert_eq!(different.len(), 3);
        for (lane, before) in lanes.iter().zip(&firsts) {
            assert_eq!(first(&servers, lane), *before);
        }
    }

    #[test]
    fn a_sick_one_is_the_last_resort() {
        let servers = three();
        let lane = Lane::default();
        let before = first(&servers, &lane).to_owned();
        let own = servers
            .all
            .iter()
            .find(|server| server.url == before)
            .unwrap();
        own.set_healthy(false);
        let order: Vec<&str> = servers
            .candidates(&lane, Shown::Nothing)
            .map(|server| server.url.as_str())
            .collect();
        assert_eq!(order.len(), 3);
        assert_eq!(order[2], before);
        let new = first(&servers, &lane).to_owned();
        own.set_healthy(true);
        assert_eq!(first(&servers, &lane), new, "a new choice is kept too");
        for server in &servers.all {
            server.set_healthy(false);
        }
        assert_eq!(servers.candidates(&lane, Shown::Nothing).count(), 3);
    }

    #[test]
    fn who_does_not_believe_is_told_nobody() {
        let servers = three();
        assert!(servers.of(&Lane::default(), Shown::Gateway).is_none());
        servers.all[1].set_believes(true);
        let order: Vec<&str> = servers
            .candidates(&Lane::default(), Shown::Gateway)
            .map(|server| server.url.as_str())
            .collect();
        assert_eq!(order, [servers.all[1].url.as_str()]);
    }
}
