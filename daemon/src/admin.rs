//! `/metrics`, `/livez`, `/readyz` (and `/healthz`) over plain HTTP, on `--metrics-listen`.
//!
//! Health answers as kube-apiserver does: 200 `ok`, or 500 with one line for each check; with
//! `?verbose` the lines come in either case (`k8s.io/apiserver@v0.36.3/pkg/server/healthz`).

mod readiness;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;
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
    listener: Listener,
    liveness: Readiness,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Admin {
    /// Binds `addr`; port 0 takes a free one.
    ///
    /// # Errors
    /// [`ExitError`] (1) where the address cannot be bound; it names `--metrics-listen`.
    pub fn bind(addr: SocketAddr) -> Result<Self, ExitError> {
        let listener = TcpListener::bind(addr)
            .map_err(|error| ExitError::bind("--metrics-listen", addr, &error))?;
        Self::on(listener).map_err(|error| ExitError::bind("--metrics-listen", addr, &error))
    }

    /// On a listener that somebody else bound.
    ///
    /// # Errors
    /// What the operating system says; none is known.
    pub fn on(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self::new(Listener::Tcp(listener)))
    }

    /// Binds the Unix socket `path`. One that a process before left there is removed.
    ///
    /// # Errors
    /// [`ExitError`] (1) where it cannot be bound; it names `--admin-socket`.
    pub fn bind_socket(path: &Path) -> Result<Self, ExitError> {
        let bind = || {
            if let Err(error) = std::fs::remove_file(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
            let listener = UnixListener::bind(path)?;
            listener.set_nonblocking(true)?;
            Ok(Self::new(Listener::Unix(listener)))
        };
        bind().map_err(|error: io::Error| {
            let path = path.display();
            ExitError::failure(format_args!(
                "cannot listen on {path}: {error}; give --admin-socket a path in a folder that is there"
            ))
        })
    }

    fn new(listener: Listener) -> Self {
        Self {
            listener,
            liveness: Readiness::new(),
        }
    }

    /// `/livez` answers by these conditions; without them a process that answers is alive.
    #[must_use]
    pub fn alive_while(self, liveness: Readiness) -> Self {
        Self { liveness, ..self }
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// A Unix socket has none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.listener {
            Listener::Tcp(listener) => listener.local_addr(),
            Listener::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Serves until `until` is done. Metrics are those that `registry` holds now.
    ///
    /// # Errors
    /// [`ExitError`] (1) where the listener cannot be used.
    pub async fn serve(
        self,
        registry: impl Into<Arc<Registry>>,
        readiness: Readiness,
        until: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ExitError> {
        let app = router(registry.into(), readiness, self.liveness);
        let serve = async {
            match self.listener {
                Listener::Tcp(listener) => {
                    let listener = tokio::net::TcpListener::from_std(listener)?;
                    let serve = axum::serve(listener, app);
                    serve.with_graceful_shutdown(until).await
                }
                Listener::Unix(listener) => {
                    let listener = tokio::net::UnixListener::from_std(listener)?;
                    let serve = axum::serve(listener, app);
                    serve.with_graceful_shutdown(until).await
                }
            }
        };
        serve.await.map_err(|error: io::Error| {
            ExitError::failure(format_args!("cannot serve metrics and health: {error}"))
        })
    }
}

fn router(registry: Arc<Registry>, readiness: Readiness, liveness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(scrape).with_state(registry))
        .route("/livez", get(live).with_state(liveness))
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

async fn live(State(liveness): State<Readiness>, query: RawQuery) -> Response {
    health("livez", &liveness.checks(), query)
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
