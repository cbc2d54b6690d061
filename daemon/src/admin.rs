//! `/metrics`, `/livez`, `/readyz` (and `/healthz`) over plain HTTP, on `--metrics-listen`.
//!
//! Health answers as kube-apiserver does: 200 `ok`, or 500 with one line for each check; with
//! `?verbose` the lines come in either case (`k8s.io/apiserver@v0.36.3/pkg/server/healthz`).

mod readiness;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;

use crate::exit::ExitError;
use crate::metrics;

pub use readiness::{Condition, Readiness};

/// The admin listener, bound and not yet served, so that a busy port ends the start.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
}

impl Admin {
    /// Binds `addr`; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ExitError`] (1) where the address cannot be bound; it names `--metrics-listen`.
    pub fn bind(addr: SocketAddr) -> Result<Self, ExitError> {
        let listener = TcpListener::bind(addr)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .map_err(|error| ExitError::bind("--metrics-listen", addr, &error))?;
        Ok(Self { listener })
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// What the operating system says; none is known.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `until` is done. Metrics are those that `registry` holds now.
    ///
    /// # Errors
    /// [`ExitError`] (1) where the listener cannot be used.
    pub async fn serve(
        self,
        registry: Registry,
        readiness: Readiness,
        until: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ExitError> {
        let failed = |error: std::io::Error| {
            ExitError::failure(format_args!("cannot serve metrics and health: {error}"))
        };
        let listener = tokio::net::TcpListener::from_std(self.listener).map_err(failed)?;
        let app = router(Arc::new(registry), readiness);
        axum::serve(listener, app)
            .with_graceful_shutdown(until)
            .await
            .map_err(failed)
    }
}

fn router(registry: Arc<Registry>, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(scrape).with_state(registry))
        .route(
            "/livez",
            get(|query: RawQuery| async { health("livez", &[], query) }),
        )
        .route(
            "/healthz",
            get(|query: RawQuery| async { health("healthz", &[], query) }),
        )
        .route("/readyz", get(ready).with_state(readiness))
}

async fn scrape(State(registry): State<Arc<Registry>>) -> Response {
    match metrics::encode(&registry) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn ready(State(readiness): State<Readiness>, query: RawQuery) -> Response {
    health("readyz", &readiness.checks(), query)
}

/// A check's name and, where it failed, why.
type Check = (&'static str, Option<String>);

fn health(endpoint: &str, checks: &[Check], RawQuery(query): RawQuery) -> Response {
    let verbose = query.is_some_and(|query| {
        query
            .split('&')
            .any(|pair| pair.split('=').next() == Some("verbose"))
    });
    let failed = checks.iter().any(|(_, failure)| failure.is_some());
    if !failed && !verbose {
        return "ok".into_response();
    }
    let mut text = "[+]ping ok\n".to_owned();
    for (name, failure) in checks {
        text.push_str(&match failure {
            None => format!("[+]{name} ok\n"),
            Some(reason) => format!("[-]{name} failed: {reason}\n"),
        });
    }
    let (status, verdict) = if failed {
        (StatusCode::INTERNAL_SERVER_ERROR, "failed")
    } else {
        (StatusCode::OK, "passed")
    };
    text.push_str(&format!("{endpoint} check {verdict}\n"));
    (status, text).into_response()
}
