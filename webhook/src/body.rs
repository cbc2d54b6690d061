//! What every path does with a request before it looks at what it says.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

/// Largest body in bytes. etcd takes objects of 1.5 MiB at most, and a review of an update holds two.
pub(crate) const LARGEST: usize = 4 << 20;

/// How long a body may take. API servers give up after `timeoutSeconds`, 30 s at most.
const LONGEST: Duration = Duration::from_secs(30);

/// A request that gets no review as its answer: what comes as a 4xx or 503, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// Why, and what would be right.
    pub message: Cow<'static, str>,
}

impl Refusal {
    /// 400.
    pub(crate) fn bad(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 503: what is needed for an answer is not to be had. API servers do not ask again, and go by
    /// their failure policy.
    pub(crate) fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// 403.
    pub(crate) fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self { status, message }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, format!("{}\n", self.message)).into_response()
    }
}

/// The whole body of a request that says it is JSON.
///
/// # Errors
/// 415 for another type, 413 for more than [`LARGEST`] bytes, 408 for a slow one, 400 for one that
/// breaks off.
pub(crate) async fn read(request: Request) -> Result<Bytes, Refusal> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Refusal::new(status, "the body must be application/json"));
    }
    let whole = Limited::new(request.into_body(), LARGEST).collect();
    match timeout(LONGEST, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the body is larger than {LARGEST} bytes");
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Ok(Err(error)) => Err(Refusal::bad(format!("the body broke off: {error}"))),
        Err(_) => {
            let message = format!("the body took more than {LONGEST:?}");
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}

/// For paths that nobody serves.
pub(crate) async fn not_found() -> Refusal {
    let message = "nothing is served here; the webhook configuration's path is wrong";
    Refusal::new(StatusCode::NOT_FOUND, message)
}

/// For methods that no path takes.
pub(crate) async fn not_allowed() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "only POST is served here")
}
