//! One request: whose, which path, which way.

use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use streamway_daemon::gates::FeatureGate;
use streamway_kstream::channel::StreamOptions;

use super::apiserver::{ApiServer, ApiServers, NOUN, NoAnswer, Shown};
use super::body::Watched;
use super::credential::impersonate;
use super::identity::{Caller, Identities, Target, Telling, questions, strip_credentials};
use super::metrics::{Checked, GatewayMetrics};
use super::review::{Review, Verdict};
use super::route::{self, Path};
use crate::auth;
use crate::headers;
use crate::listen::{Handler, Peer};
use crate::reply::{self, Body};
use crate::route::Route;
use crate::session::{Protocol, Session};
use crate::streaming::{self, Streams, Translation};
use crate::upstream::{Answer, Outgoing};

/// What every request is handled with.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) servers: Arc<ApiServers>,
    pub(super) identities: Identities,
    pub(super) streams: Streams,
    pub(super) metrics: GatewayMetrics,
}

/// A client's request without its body, ready for an API server.
struct Ready {
    method: Method,
    target: Option<PathAndQuery>,
    headers: HeaderMap,
    shown: Shown,
    /// What the client asked to upgrade to, which is no header of `headers` any more.
    token: Option<HeaderValue>,
}

impl Handler for Gateway {
    async fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Arc<Peer>,
    ) -> Response<Body> {
        let caller = self
            .identities
            .caller(peer.certificates.as_ref(), request.headers());
        let caller = match caller {
            Ok(caller) => caller,
            Err(error) => return self.counted(reply::status(error.status(), error.to_string())),
        };
        let uri = request.uri();
        match route::classify(uri.path(), uri.query().unwrap_or_default()) {
            Path::Stream(route) => match streaming::offered(request.headers(), route.subresource) {
                Some(protocol) => self.stream(request, route, protocol, caller, &peer).await,
                None => {
                    let response = self.plain(request, Some(&route), caller, &peer).await;
                    self.counted(response)
                }
            },
            Path::Other => {
                let response = self.plain(request, None, caller, &peer).await;
                self.counted(response)
            }
            Path::Ambiguous => self.counted(reply::status(
                StatusCode::BAD_REQUEST,
                "the path of a streaming subresource is not in its canonical form",
            )),
        }
    }
}

impl Gateway {
    /// Everything that is no stream of Kubernetes' own. `route` is that of a streaming endpoint which
    /// is asked for no upgrade.
    async fn plain(
        &self,
        mut request: Request<Incoming>,
        route: Option<&Route>,
        caller: Caller,
        peer: &Peer,
    ) -> Response<Body> {
        if request.method() == Method::CONNECT {
            let text = "an API server is no tunnel: CONNECT is not allowed";
            return reply::status(StatusCode::METHOD_NOT_ALLOWED, text);
        }
        let upgrades = request.version() == Version::HTTP_11 && !streaming::has_body(&request);
        let client = upgrades.then(|| hyper::upgrade::on(&mut request));
        let ready = match self.ready(&mut request, &caller, peer).await {
            Ok(ready) => ready,
            Err(response) => return response,
        };
        if let Some(route) = route
            && let Some(response) = self.may_not_create(&ready, route, peer).await
        {
            return response;
        }
        match (client, &ready.token) {
            (Some(client), Some(token)) => {
                let token = token.clone();
                self.upgraded(client, token, ready, peer).await
            }
            _ => self.forwarded(request, ready, peer).await,
        }
    }

    async fn forwarded(
        &self,
        request: Request<Incoming>,
        ready: Ready,
        peer: &Peer,
    ) -> Response<Body> {
        let watches = ready.target.as_ref().is_some_and(is_watch);
        let mut request = request.map(Outgoing::Incoming);
        *request.headers_mut() = ready.headers;
        headers::origin_form(request.uri_mut());
        let sent = self.servers.send(&peer.lane, ready.shown, request, watches);
        match sent.await {
            Ok(response) if watches => {
                reply::servers(response.map(|body| Watched::new(body, &self.streams.cut)))
            }
            Ok(response) => reply::servers(response),
            Err(error) => no_answer(&error),
        }
    }

    /// WebSockets and the like inside `pods/proxy`, `services/proxy` and `nodes/proxy`. A server that
    /// does not upgrade answers as if it had not been asked to.
    async fn upgraded(
        &self,
        client: OnUpgrade,
        token: HeaderValue,
        ready: Ready,
        peer: &Peer,
    ) -> Response<Body> {
        let Ready {
            method,
            target,
            mut headers,
            shown,
            ..
        } = ready;
        headers.insert(header::UPGRADE, token.clone());
        let answer = self
            .servers
            .upgrade(&peer.lane, shown, &method, target.as_ref(), &headers)
            .await;
        match answer {
            Ok((_, Answer::Switched(answered, upstream))) => self
                .streams
                .passed_unseen(client, &token, answered, upstream),
            Ok((_, Answer::Refused(response))) => reply::servers(response),
            Err(error) => no_answer(&error),
        }
    }

    /// exec, attach and port-forward.
    async fn stream(
        &self,
        mut request: Request<Incoming>,
        route: Route,
        protocol: Protocol,
        caller: Caller,
        peer: &Peer,
    ) -> Response<Body> {
        let streams = &self.streams;
        let mut session = streams.session(caller.name(), route.clone(), protocol, protocol);
        if streaming::has_body(&request) {
            return streams.refused(&mut session, StatusCode::BAD_REQUEST, streaming::HAS_BODY);
        }
        let gate = match protocol {
            Protocol::V5 => Some(FeatureGate::TranslateStreamCloseWebsocketRequests),
            Protocol::Tunnel => Some(FeatureGate::PortForwardWebsockets),
            _ => None,
        };
        let translation = if gate.is_some_and(|gate| streams.gates.enabled(gate)) {
            match self.translation(&request, protocol, &mut session) {
                Ok(translation) => Some(translation),
                Err(response) => return *response,
            }
        } else {
            None
        };
        let client = hyper::upgrade::on(&mut request);
        let ready = match self.ready(&mut request, &caller, peer).await {
            Ok(ready) => ready,
            Err(response) => {
                session.refused(response.status(), "the caller's identity");
                return response;
            }
        };
        match translation {
            Some(translation) => {
                self.translated(session, client, translation, ready, &route, peer)
                    .await
            }
            None => self.passed(session, client, ready, &route, peer).await,
        }
    }

    fn translation(
        &self,
        request: &Request<Incoming>,
        protocol: Protocol,
        session: &mut Session,
    ) -> Result<Translation, Box<Response<Body>>> {
        let (method, headers) = (request.method(), request.headers());
        let translation = if protocol == Protocol::Tunnel {
            Translation::tunnel(method, headers)
        } else {
            let query = request.uri().query().unwrap_or_default();
            let options = StreamOptions::from_api_query(query).map_err(|error| {
                let status = StatusCode::BAD_REQUEST;
                Box::new(self.streams.refused(session, status, error.to_string()))
            })?;
            Translation::remote_command(method, headers, options)
        };
        translation.map_err(|error| Box::new(self.streams.handshake_refused(session, error)))
    }

    /// v5 and tunnels: to an API server that takes them as they are, to others as SPDY. For SPDY's
    /// POST the API server itself asks for `create`.
    async fn translated(
        &self,
        mut session: Session,
        client: OnUpgrade,
        translation: Translation,
        mut ready: Ready,
        route: &Route,
        peer: &Peer,
    ) -> Response<Body> {
        let subresource = route.subresource;
        let native = |server: &ApiServer| server.speaks.is_worth_trying(subresource);
        if self.servers.of(&peer.lane, ready.shown).is_some_and(native) {
            if let Some(response) = self.may_not_create(&ready, route, peer).await {
                session.refused(response.status(), "the create check");
                return response;
            }
            match self.ask(&ready, peer).await {
                Ok((server, Answer::Refused(response))) if may_be_translated(&response) => {
                    if !is_status(&response) && server.speaks.learned(subresource, false) {
                        let url = server.url.as_str();
                        tracing::info!(
                            apiserver = url,
                            ?subresource,
                            "takes no WebSockets; translated"
                        );
                    }
                }
                Ok((server, answer)) => {
                    if matches!(answer, Answer::Switched(..))
                        && server.speaks.learned(subresource, true)
                    {
                        let url = server.url.as_str();
                        tracing::info!(apiserver = url, ?subresource, "takes WebSockets itself");
                    }
                    let token = ready
                        .token
                        .unwrap_or_else(|| HeaderValue::from_static("websocket"));
                    return self.streams.passed(session, client, &token, Ok(answer));
                }
                Err(error) => return self.unanswered(&mut session, &error),
            }
        }
        session.translated_to(Protocol::Spdy);
        auth::bearer_to_authorization(&mut ready.headers);
        translation.spdy_headers(&mut ready.headers);
        let (method, target) = (Method::POST, ready.target.as_ref());
        let headers = &ready.headers;
        let answer = self
            .servers
            .upgrade(&peer.lane, ready.shown, &method, target, headers)
            .await;
        match answer {
            Ok((_, answer)) => {
                self.streams
                    .translated(session, client, translation, Ok(answer))
                    .await
            }
            Err(error) => self.unanswered(&mut session, &error),
        }
    }

    /// SPDY, older WebSocket subprotocols, and what a gate leaves alone.
    async fn passed(
        &self,
        mut session: Session,
        client: OnUpgrade,
        ready: Ready,
        route: &Route,
        peer: &Peer,
    ) -> Response<Body> {
        if let Some(response) = self.may_not_create(&ready, route, peer).await {
            session.refused(response.status(), "the create check");
            return response;
        }
        match self.ask(&ready, peer).await {
            Ok((_, answer)) => {
                let token = ready
                    .token
                    .unwrap_or_else(|| HeaderValue::from_static("SPDY/3.1"));
                self.streams.passed(session, client, &token, Ok(answer))
            }
            Err(error) => self.unanswered(&mut session, &error),
        }
    }

    /// Passes an upgrade on as it is.
    async fn ask(&self, ready: &Ready, peer: &Peer) -> Result<(&ApiServer, Answer), NoAnswer> {
        let mut headers = ready.headers.clone();
        if let Some(token) = &ready.token {
            headers.insert(header::UPGRADE, token.clone());
        }
        let target = ready.target.as_ref();
        self.servers
            .upgrade(&peer.lane, ready.shown, &ready.method, target, &headers)
            .await
    }

    fn unanswered(&self, session: &mut Session, error: &NoAnswer) -> Response<Body> {
        session.refused(error.status(), error.to_string());
        no_answer(error)
    }

    /// The synthetic create check: to run a command with GET, one must be allowed to `create` it too.
    /// `None` where the caller may; else the answer.
    async fn may_not_create(
        &self,
        ready: &Ready,
        route: &Route,
        peer: &Peer,
    ) -> Option<Response<Body>> {
        let gate = FeatureGate::AuthorizePodWebsocketUpgradeCreatePermission;
        if ready.method == Method::POST || !self.streams.gates.enabled(gate) {
            return None;
        }
        let mut identity = ready.headers.clone();
        auth::bearer_to_authorization(&mut identity);
        let verdict = self
            .review(Review::create(route), &identity, ready.shown, peer)
            .await;
        let (result, response) = match verdict {
            Verdict::Allowed => ("allowed", None),
            Verdict::Denied(reason) => ("denied", Some(create_denied(route, &reason))),
            Verdict::Unknown(response) => ("error", Some(response)),
        };
        self.metrics
            .create_checks
            .get_or_create(&Checked { result })
            .inc();
        response
    }

    async fn review(
        &self,
        review: Review,
        identity: &HeaderMap,
        shown: Shown,
        peer: &Peer,
    ) -> Verdict {
        let says_who = |name: &HeaderName| self.identities.says_who(name);
        review
            .ask(&self.servers, &peer.lane, shown, identity, says_who)
            .await
    }

    /// Takes the headers out of a request and makes them an API server's.
    async fn ready(
        &self,
        request: &mut Request<Incoming>,
        caller: &Caller,
        peer: &Peer,
    ) -> Result<Ready, Response<Body>> {
        let mut headers = std::mem::take(request.headers_mut());
        let token = headers::upgrade_token(&headers);
        headers::strip_hop_by_hop(&mut headers);
        self.identities.strip_claims(&mut headers);
        if !headers.contains_key(header::HOST)
            && let Some(authority) = request.uri().authority()
            && let Ok(host) = HeaderValue::from_str(authority.as_str())
        {
            // HTTP/2's `:authority`.
            headers.insert(header::HOST, host);
        }
        headers::forwarded(&mut headers, &peer.forwarded_for);
        let shown = self.tell(caller, &mut headers, peer).await?;
        Ok(Ready {
            method: request.method().clone(),
            target: request.uri().path_and_query().cloned(),
            headers,
            shown,
            token,
        })
    }

    /// Has the headers say who a verified certificate's user is.
    async fn tell(
        &self,
        caller: &Caller,
        headers: &mut HeaderMap,
        peer: &Peer,
    ) -> Result<Shown, Response<Body>> {
        let Caller::Certificate(user) = caller else {
            return Ok(Shown::Nothing);
        };
        match &self.identities.telling {
            Telling::Nobody => return Ok(Shown::Nothing),
            Telling::FrontProxy(names) => {
                let told = names.tell(user, headers);
                told.map_err(|error| reply::status(error.status(), error.to_string()))?;
            }
            Telling::Impersonation(credential) => {
                strip_credentials(headers);
                let target = questions(headers);
                let mut themselves = headers.clone();
                headers::strip_prefixed(&mut themselves, "impersonate-");
                impersonate(user, &mut themselves)
                    .map_err(|error| reply::status(error.status(), error.to_string()))?;
                let failed = |error: &dyn std::fmt::Display| {
                    tracing::warn!(%error, "no request of a certificate's user can be sent");
                    reply::status(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
                };
                credential
                    .authorize(&mut themselves)
                    .await
                    .map_err(|error| failed(&error))?;
                match target {
                    Target::Nobody => *headers = themselves,
                    Target::Other(questions) => {
                        for question in questions {
                            self.may_impersonate(&question, &themselves, peer).await?;
                        }
                        credential
                            .authorize(headers)
                            .await
                            .map_err(|error| failed(&error))?;
                    }
                    Target::NoUser => {
                        let text = "Impersonate-Group, -Uid and -Extra need Impersonate-User";
                        return Err(reply::status(StatusCode::BAD_REQUEST, text));
                    }
                    Target::Masters => {
                        let text = "nobody becomes system:masters through the gateway";
                        return Err(reply::status(StatusCode::FORBIDDEN, text));
                    }
                }
            }
        }
        Ok(Shown::Gateway)
    }

    async fn may_impersonate(
        &self,
        question: &super::identity::Question,
        themselves: &HeaderMap,
        peer: &Peer,
    ) -> Result<(), Response<Body>> {
        let review = Review::impersonate(question);
        let verdict = self.review(review, themselves, Shown::Gateway, peer).await;
        match verdict {
            Verdict::Allowed => Ok(()),
            Verdict::Denied(reason) => {
                let (resource, name) = (question.resource, &question.name);
                let text = format!(
                    "{resource} {name:?} is forbidden: you may not impersonate it; {reason}"
                );
                let text = text.trim_end_matches([' ', ';']).to_owned();
                Err(reply::status(StatusCode::FORBIDDEN, text))
            }
            Verdict::Unknown(response) => Err(response),
        }
    }

    fn counted(&self, response: Response<Body>) -> Response<Body> {
        self.streams.metrics.answered(response.status());
        response
    }
}

/// An API server's own answers are `Status` objects, in the form that the client accepts; a kubelet's
/// and a runtime's are text or nothing.
fn is_status(response: &Response<Incoming>) -> bool {
    let form = response.headers().get(header::CONTENT_TYPE);
    form.is_some_and(|form| form.as_bytes().starts_with(b"application/"))
}

/// Whether the refusal of a WebSocket leaves something to try: it came from behind the API server, or
/// the caller may not GET, which SPDY does not need.
fn may_be_translated(response: &Response<Incoming>) -> bool {
    let status = response.status();
    let refused = status.is_client_error() || status.is_server_error();
    refused && (!is_status(response) || status == StatusCode::FORBIDDEN)
}

fn create_denied(route: &Route, reason: &str) -> Response<Body> {
    let (pod, subresource) = (&route.pod, route.subresource.as_str());
    let mut text = format!(
        "pods {pod:?} is forbidden: pods/{subresource} by GET needs create as well as get; add to the \
         caller's Role: {{apiGroups: [\"\"], resources: [pods/{subresource}], verbs: [create]}}"
    );
    if !reason.is_empty() {
        text.push_str(&format!(" ({reason})"));
    }
    reply::status(StatusCode::FORBIDDEN, text)
}

fn no_answer(error: &NoAnswer) -> Response<Body> {
    tracing::warn!(%error, "a request got no answer of {NOUN}'s");
    reply::status(error.status(), error.to_string())
}

/// `watch=true`, as an API server reads it: any value but `0` and `false`. What stands behind `proxy` is
/// no API server's to read.
fn is_watch(target: &PathAndQuery) -> bool {
    let query = target.query().unwrap_or_default();
    let mut parameters = form_urlencoded::parse(query.as_bytes());
    let watch = parameters.find(|(name, _)| name == "watch");
    watch.is_some_and(|(_, value)| value != "0" && !value.eq_ignore_ascii_case("false"))
        && target.path().split('/').all(|segment| segment != "proxy")
}
