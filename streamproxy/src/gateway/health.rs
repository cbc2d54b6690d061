//! Whether each API server can be used: its `/readyz`, its version, and whether it believes the
//! gateway's front-proxy certificate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::Value;
use streamway_daemon::admin::Condition;
use tokio::time::timeout;

use super::apiserver::{ApiServer, ApiServers, Shown};
use super::identity::RequestHeaders;
use super::metrics::{GatewayMetrics, Url};
use crate::auth::UserInfo;
use crate::upstream::{Outgoing, Server};

/// How often each is asked whether it is ready.
const EVERY: Duration = Duration::from_secs(2);

/// How long one answer may take.
const LATE: Duration = Duration::from_secs(5);

/// How often the version is asked for, and whether the gateway is believed.
const SELDOM: Duration = Duration::from_secs(60);

/// The largest answer that is read.
const MOST: usize = 256 << 10;

/// The user that the gateway says that it has, to see whether it is believed. Nobody's: it has no
/// groups and should be in no binding.
const PROBE: &str = "streamway:gateway:probe";

const SELF_REVIEW: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// Where an API server before 1.28 is asked for something that nobody without rights gets: its refusal
/// says who asked.
const FORBIDDEN_THING: &str = "/api/v1/namespaces/kube-system/secrets/streamway-gateway-probe";

/// Follows every API server, for ever.
pub(super) struct Follower {
    pub(super) servers: Arc<ApiServers>,
    /// How certificates' users are told; `None` outside front-proxy mode.
    pub(super) told: Option<RequestHeaders>,
    pub(super) metrics: GatewayMetrics,
    /// An API server is healthy.
    pub(super) reachable: Condition,
    /// One has believed the gateway.
    pub(super) believed: Option<Condition>,
}

/// What is remembered of one API server between two looks.
struct Memory {
    version: Option<String>,
    looked: Option<Instant>,
    /// Connections that its health was asked over. One more, and it may be another process, even if it
    /// was never seen down; and every five minutes a connection is too old, so that what was learned
    /// is learned anew.
    dialed: usize,
    complaint: String,
}

impl Follower {
    pub(super) fn start(self) {
        if let Some(condition) = &self.believed {
            condition.unmet(
                "no API server trusts --proxy-client-cert-file yet; is it signed by the API server's \
                 --requestheader-client-ca-file, its name in --requestheader-allowed-names, and are the \
                 --requestheader-* names the same?",
            );
        }
        let this = Arc::new(self);
        for number in 0..this.servers.all().len() {
            tokio::spawn(Arc::clone(&this).follow(number));
        }
    }

    async fn follow(self: Arc<Self>, number: usize) {
        let Some(server) = self.servers.all().get(number) else {
            return;
        };
        let mut memory = Memory {
            version: None,
            looked: None,
            dialed: 0,
            complaint: String::new(),
        };
        loop {
            self.look(server, &mut memory).await;
            self.tell();
            server.reap();
            // A server that was found wanting is asked again at once, but not in a tight loop.
            let wanted = async {
                server.ask_again.notified().await;
                tokio::time::sleep(EVERY / 8).await;
            };
            let _ = timeout(EVERY, wanted).await;
        }
    }

    async fn look(&self, server: &ApiServer, memory: &mut Memory) {
        let url = server.url.as_str();
        let health = ready(server).await;
        let flipped = server.set_healthy(health.is_ok());
        let dialed = server.health.dialed();
        let changed = flipped || dialed != memory.dialed;
        memory.dialed = dialed;
        if let Err(unready) = health {
            let reason = unready.to_string();
            if flipped || memory.complaint != reason {
                tracing::warn!(apiserver = url, reason, "the API server is not ready");
            }
            memory.complaint = reason;
            memory.looked = None;
            if self.told.is_some() && matches!(unready, Unready::Gone(_)) {
                // Who comes back may be another process, with other flags.
                server.set_believes(false);
            }
        } else {
            let due = memory.looked.is_none_or(|then| then.elapsed() >= SELDOM);
            if changed || due {
                let version = version(server).await;
                if flipped || version != memory.version {
                    tracing::info!(apiserver = url, version, "the API server is ready");
                }
                if changed || version != memory.version {
                    // Perhaps another process than before: what it could is forgotten.
                    server.speaks.reset(version.as_deref());
                }
                memory.version = version;
                memory.looked = Some(Instant::now());
            }
            if let Some(names) = &self.told
                && (changed || due || !server.believes())
            {
                let believed = believed(server, names).await;
                server.set_believes(believed.is_ok());
                let reason = believed.err().unwrap_or_default();
                if !reason.is_empty() && memory.complaint != reason {
                    tracing::warn!(apiserver = url, reason, "the gateway is not believed");
                }
                memory.complaint = reason;
            }
        }
        let labels = || Url {
            apiserver: url.to_owned(),
        };
        self.metrics
            .healthy
            .get_or_create(&labels())
            .set(server.is_healthy().into());
        if self.told.is_some() {
            self.metrics
                .believed
                .get_or_create(&labels())
                .set(server.believes().into());
        }
    }

    /// Tells readiness.
    fn tell(&self) {
        let mut healthy = self
            .servers
            .all()
            .iter()
            .filter(|server| server.is_healthy())
            .peekable();
        if healthy.peek().is_some() {
            self.reachable.met();
        } else {
            self.reachable.unmet("no API server is ready");
        }
        if let Some(condition) = &self.believed {
            // Once met it stays: a gateway that loses trust later still serves everybody else.
            if healthy.any(ApiServer::believes) {
                condition.met();
            }
        }
    }
}

/// Why an API server is not ready.
#[derive(Debug, thiserror::Error)]
enum Unready {
    /// It says so; it may serve on while it ends.
    #[error("/readyz answers {0}")]
    Says(StatusCode),
    /// It does not answer.
    #[error("{0}")]
    Gone(String),
}

/// Asks whether an API server is ready. One that does not tell strangers is.
async fn ready(server: &ApiServer) -> Result<(), Unready> {
    let asked = ask(&server.health, get("/readyz")).await;
    let (status, _) = asked.map_err(Unready::Gone)?;
    if status.is_server_error() {
        return Err(Unready::Says(status));
    }
    Ok(())
}

/// Its version, `v1.28.15`, where it tells strangers.
async fn version(server: &ApiServer) -> Option<String> {
    let (_, body) = ask(&server.health, get("/version")).await.ok()?;
    let version = serde_json::from_slice::<Value>(&body).ok()?;
    Some(version.get("gitVersion")?.as_str()?.to_owned())
}

/// Has the API server say who it takes a user for that the gateway tells it. An API server that does
/// not trust the certificate as a front proxy's could take every such request for the gateway's own,
/// with the gateway's rights: no caller's request is sent before this was seen to be otherwise.
async fn believed(server: &ApiServer, names: &RequestHeaders) -> Result<(), String> {
    let body = r#"{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}"#;
    let mut request = get(SELF_REVIEW);
    *request.method_mut() = Method::POST;
    *request.body_mut() = Outgoing::Full(Full::new(Bytes::from_static(body.as_bytes())));
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, json);
    tell_probe(names, request.headers_mut())?;
    let (status, body) = ask(server.as_shown(Shown::Gateway), request).await?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |path| {
        answer
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    match status {
        StatusCode::CREATED => match text("/status/userInfo/username") {
            PROBE => Ok(()),
            other => Err(format!(
                "the API server takes whoever the gateway names for {other:?}: --proxy-client-cert-file \
                 is no front-proxy certificate to it"
            )),
        },
        StatusCode::NOT_FOUND => believed_before_1_28(server, names).await,
        _ => Err(format!(
            "the API server answers {status} {:?}",
            text("/message")
        )),
    }
}

/// The same by the words of a refusal: `User "…" cannot get resource "secrets"`.
async fn believed_before_1_28(server: &ApiServer, names: &RequestHeaders) -> Result<(), String> {
    let mut request = get(FORBIDDEN_THING);
    tell_probe(names, request.headers_mut())?;
    let (status, body) = ask(server.as_shown(Shown::Gateway), request).await?;
    let text = String::from_utf8_lossy(&body).into_owned();
    // In JSON, within a string.
    let named = format!("User \\\"{PROBE}\\\" cannot get");
    if status == StatusCode::FORBIDDEN && text.contains(&named) {
        return Ok(());
    }
    Err(format!(
        "the API server answers {status} and does not name the user that it was told"
    ))
}

fn tell_probe(names: &RequestHeaders, headers: &mut HeaderMap) -> Result<(), String> {
    let probe = UserInfo {
        name: PROBE.to_owned(),
        ..UserInfo::default()
    };
    names
        .tell(&probe, headers)
        .map_err(|error| error.to_string())
}

fn get(path: &'static str) -> Request<Outgoing> {
    let mut request = Request::new(Outgoing::default());
    *request.uri_mut() = Uri::from_static(path);
    let json = HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::ACCEPT, json);
    request
}

async fn ask(
    connections: &Server,
    mut request: Request<Outgoing>,
) -> Result<(StatusCode, Bytes), String> {
    request
        .headers_mut()
        .insert(header::HOST, connections.host());
    let agent =
        HeaderValue::from_static(concat!("streamproxy-gateway/", env!("CARGO_PKG_VERSION")));
    request.headers_mut().insert(header::USER_AGENT, agent);
    let exchange = async {
        let response = connections.send(request).await;
        let response = response.map_err(|unanswered| unanswered.error.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST).collect().await;
        let body = body.map_err(|error| error.to_string())?;
        Ok((status, body.to_bytes()))
    };
    match timeout(LATE, exchange).await {
        Ok(result) => result,
        Err(_) => Err("no answer within 5 s".to_owned()),
    }
}
