//! Plain HTTP GETs to agents, over connections that are kept.

use std::time::Duration;

use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// No answer of an agent's is longer: its metrics are some 10 KiB.
const MAX_BODY: usize = 1 << 20;

/// Why nothing was heard.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GetError {
    /// No answer, or half of one.
    #[error("{0}")]
    Broken(String),
    /// None in time.
    #[error("no answer within {0:?}")]
    TooLate(Duration),
}

/// Asks agents; clones share connections.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Http {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(20))
            // An agent is asked one thing at a time, mostly. Of 5,000 each keeps its connection, so
            // what that holds is kept small.
            .pool_max_idle_per_host(1)
            .http1_read_buf_exact_size(4 << 10)
            .build(connector);
        Self { client }
    }

    /// The status and the body of `http://HOST:PORT/PATH`.
    ///
    /// # Errors
    ///
    /// No whole answer within `time`.
    pub(crate) async fn get(
        &self,
        (host, port): (&str, u16),
        path: &str,
        time: Duration,
    ) -> Result<(StatusCode, String), GetError> {
        let broken = |error: &dyn std::error::Error| GetError::Broken(told(error));
        // An IPv6 address has brackets in a URL.
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let uri = format!("http://{host}:{port}{path}").parse::<Uri>();
        let uri = uri.map_err(|error| broken(&error))?;
        let request = Request::get(uri).body(Empty::new());
        let request = request.map_err(|error| broken(&error))?;
        let asked = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| broken(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY).collect().await;
            let body = body
                .map_err(|error| GetError::Broken(error.to_string()))?
                .to_bytes();
            Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
        };
        let asked = tokio::time::timeout(time, asked).await;
        asked.unwrap_or(Err(GetError::TooLate(time)))
    }
}

/// An error with what is below it: hyper's own text is only "client error (Connect)".
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        text = format!("{text}: {error}");
        below = error.source();
    }
    text
}
