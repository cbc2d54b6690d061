//! Upgrades that the server speaks itself: SPDY, older WebSocket subprotocols, v5 and tunnels where
//! it has them, and whatever runs through `pods/proxy`. Bytes go through as they are, and each
//! direction ends on its own.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use streamway_translate::{Bytes, Outcome};
use tokio::io::copy_bidirectional_with_sizes;

use super::{Streams, downstream};
use crate::headers;
use crate::reply::{self, Body};
use crate::session::Session;
use crate::stream::{Downstream, Opened, Upstream};
use crate::upstream::{Answer, UpstreamError};

/// Bytes that are read at a time: one TLS record.
const STEP: usize = 16 << 10;

impl Streams {
    /// Answers a session's upgrade as the server did, and runs it. `token` is what the client asked to
    /// upgrade to.
    pub(crate) fn passed(
        &self,
        mut session: Session,
        client: OnUpgrade,
        token: &HeaderValue,
        answer: Result<Answer, UpstreamError>,
    ) -> Response<Body> {
        let (answered, upstream) = match answer {
            Ok(Answer::Switched(answered, upstream)) => (answered, upstream),
            Ok(Answer::Refused(response)) => return self.server_refused(&mut session, response),
            Err(error) => return self.refused(&mut session, error.status(), error.to_string()),
        };
        if !same_protocol(&answered, token) {
            let text = format!(
                "{} switched to another protocol than was asked for",
                self.noun
            );
            return self.refused(&mut session, StatusCode::BAD_GATEWAY, text);
        }
        session.opened();
        let cut = self.cut.clone();
        self.sessions.spawn(async move {
            let Some(client) = downstream(client).await else {
                session.ended(Outcome::ClientGone, "the client left", Bytes::default());
                return;
            };
            tokio::select! {
                result = pass(client, upstream) => match result {
                    Ok(bytes) => session.passed("", bytes),
                    Err(error) => session.passed(error.to_string(), Bytes::default()),
                },
                () = cut.cancelled() => {
                    session.ended(Outcome::Shutdown, "the grace period ended", Bytes::default());
                }
            }
        });
        switched(answered, token)
    }

    /// Runs an upgraded connection that is no session of ours: nobody looks inside.
    pub(crate) fn passed_unseen(
        &self,
        client: OnUpgrade,
        token: &HeaderValue,
        answered: HeaderMap,
        upstream: Opened<Upstream>,
    ) -> Response<Body> {
        if !same_protocol(&answered, token) {
            let text = format!(
                "{} switched to another protocol than was asked for",
                self.noun
            );
            return (self.refuse)(StatusCode::BAD_GATEWAY, text);
        }
        let cut = self.cut.clone();
        self.sessions.spawn(async move {
            if let Some(client) = downstream(client).await {
                // How it ended is the business of those who spoke.
                tokio::select! {
                    _ = pass(client, upstream) => {}
                    () = cut.cancelled() => {}
                }
            }
        });
        switched(answered, token)
    }

    /// The server's refusal of a session, for the client and the account. A redirect is none that the
    /// client may have, whoever sends it would have the caller's stream sent elsewhere; and neither is
    /// a success that upgrades nothing.
    pub(super) fn server_refused(
        &self,
        session: &mut Session,
        response: Response<Incoming>,
    ) -> Response<Body> {
        let (status, noun) = (response.status(), self.noun);
        if status.is_client_error() || status.is_server_error() {
            session.refused(status, format!("{noun} refused"));
            return reply::servers(response);
        }
        let mut text = format!("{noun} answered an upgrade with status {status}");
        if status.is_redirection() {
            text.push_str(": redirect not allowed");
        }
        self.refused(session, StatusCode::BAD_GATEWAY, text)
    }
}

fn same_protocol(answered: &HeaderMap, token: &HeaderValue) -> bool {
    answered
        .get(header::UPGRADE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(token.as_bytes()))
}

fn switched(mut headers: HeaderMap, token: &HeaderValue) -> Response<Body> {
    headers::strip_hop_by_hop(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(HeaderName::from_static("date"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, token.clone());
    let mut response = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
    *response.headers_mut() = headers;
    response
}

async fn pass(
    mut client: Opened<Downstream>,
    mut upstream: Opened<Upstream>,
) -> std::io::Result<Bytes> {
    let copied = copy_bidirectional_with_sizes(&mut client, &mut upstream, STEP, STEP).await;
    copied.map(|(from_client, from_upstream)| Bytes {
        from_client,
        from_upstream,
    })
}
