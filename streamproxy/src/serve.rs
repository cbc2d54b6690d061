//! What both roles do from start to end: flags looked at, sockets bound, requests served, drained.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use rustls::ServerConfig;
use streamway_daemon::admin::{Admin, Readiness};
use streamway_daemon::exit::ExitError;
use streamway_daemon::gates::FeatureGates;
use streamway_daemon::metrics::CertificateExpiry;
use streamway_daemon::shutdown::{Phase, Shutdown};
use streamway_daemon::tls::OwnCert;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::args::ServeArgs;
use crate::auth::AnyClientCert;
use crate::listen::{self, Handler};
use crate::metrics::Metrics;
use crate::reply::Refuse;
use crate::streaming::Streams;

/// How long cut sessions may take to tell their clients.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs a role until it ends.
///
/// # Errors
///
/// The role's, and a runtime that cannot start.
pub(crate) fn run(
    args: &ServeArgs,
    role: impl Future<Output = Result<(), ExitError>>,
) -> Result<(), ExitError> {
    streamway_daemon::install_crypto_provider();
    args.logs.init()?;
    // Requests have threads of their own: this one has what watches and waits.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            ExitError::failure(format_args!(
                "the runtime cannot start: {error}; check the limits on threads"
            ))
        })?;
    runtime.block_on(role)
}

/// The process around a role.
pub(crate) struct Host {
    pub(crate) registry: Registry,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) gates: FeatureGates,
    pub(crate) expiry: CertificateExpiry,
    pub(crate) readiness: Readiness,
    pub(crate) shutdown: Shutdown,
    /// Cut at the end of the grace period.
    pub(crate) cut: CancellationToken,
}

impl Host {
    /// `kubelets`: whether a kubelet's API is served.
    ///
    /// # Errors
    ///
    /// Wrong feature gates.
    pub(crate) fn new(args: &ServeArgs, kubelets: bool) -> Result<Self, ExitError> {
        let gates = FeatureGates::parse(&args.feature_gates)?;
        let mut registry = Registry::default();
        let metrics = Arc::new(Metrics::register(&mut registry, kubelets));
        gates.register(&mut registry);
        let expiry = CertificateExpiry::register(&mut registry);
        Ok(Self {
            registry,
            metrics,
            gates,
            expiry,
            readiness: Readiness::new(),
            shutdown: Shutdown::new(args.shutdown_delay_duration, args.shutdown_grace_period),
            cut: CancellationToken::new(),
        })
    }

    /// What the role's sessions are run with.
    pub(crate) fn streams(&self, noun: &'static str, refuse: Refuse) -> Streams {
        Streams {
            noun,
            refuse,
            gates: self.gates,
            metrics: Arc::clone(&self.metrics),
            sessions: self.shutdown.tracker().clone(),
            cut: self.cut.clone(),
        }
    }

    /// Keeps a certificate of ours as its files are, and its expiry with it.
    pub(crate) fn watch(&self, name: &'static str, certificate: &OwnCert) {
        let (certificate, expiry) = (certificate.clone(), self.expiry.clone());
        tokio::spawn(async move { certificate.watch(name, expiry).await });
    }

    /// TLS toward clients. Where client certificates are asked for, any is let in; whose it is,
    /// authentication says. A self-signed certificate is for `hosts`.
    ///
    /// # Errors
    ///
    /// Files that cannot be used.
    pub(crate) fn tls(
        &self,
        args: &ServeArgs,
        hosts: &[String],
        client_certificates: bool,
    ) -> Result<Arc<ServerConfig>, ExitError> {
        let files = args
            .tls_cert_file
            .as_ref()
            .zip(args.tls_private_key_file.as_ref());
        let certificate = match files {
            Some((certificate, key)) => OwnCert::serving(certificate, key)?,
            None => OwnCert::self_signed(hosts)?,
        };
        self.watch("serving", &certificate);
        let builder = ServerConfig::builder();
        let builder = if client_certificates {
            builder.with_client_cert_verifier(Arc::new(AnyClientCert::new()))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_cert_resolver(Arc::new(certificate));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Binds, serves until a signal, drains.
    ///
    /// # Errors
    ///
    /// Sockets that cannot be bound, signals that cannot be listened to.
    pub(crate) async fn serve<H: Handler>(
        self,
        (listen, metrics_listen): (SocketAddr, SocketAddr),
        tls: Arc<ServerConfig>,
        handler: H,
    ) -> Result<(), ExitError> {
        let admin = Admin::bind(metrics_listen)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        // Each thread has a socket of its own on the address, and the kernel spreads connections.
        let listeners = (0..threads)
            .map(|_| listen::bind(listen))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| ExitError::bind("--listen", listen, &error))?;
        let shutdown = self.shutdown;
        let running = self.readiness.condition("running");
        running.met();
        let ended = shutdown.clone();
        let admin = tokio::spawn(admin.serve(self.registry, self.readiness, async move {
            ended.reached(Phase::Ended).await;
        }));
        let (tls, handler) = (TlsAcceptor::from(tls), Arc::new(handler));
        for listener in listeners {
            worker(
                listener,
                tls.clone(),
                Arc::clone(&handler),
                shutdown.clone(),
            )?;
        }
        tracing::info!(%listen, threads, "serving");
        let draining = shutdown.clone();
        tokio::spawn(async move {
            draining.reached(Phase::Draining).await;
            running.unmet("draining");
        });
        shutdown.on_signals().await?;
        self.cut.cancel();
        if timeout(FAREWELL, shutdown.tracker().wait()).await.is_err() {
            tracing::warn!(
                open = shutdown.tracker().len(),
                "sessions left without a farewell"
            );
        }
        admin.abort();
        Ok(())
    }
}

/// Starts a thread that serves a listener's connections, from their first byte to their last: what a
/// connection's bytes wake is on the thread that read them. It ends with the process.
fn worker<H: Handler>(
    listener: std::net::TcpListener,
    tls: TlsAcceptor,
    handler: Arc<H>,
    shutdown: Shutdown,
) -> Result<(), ExitError> {
    let failed = |error: std::io::Error| {
        ExitError::failure(format_args!(
            "a thread cannot start: {error}; check the limits on threads"
        ))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let serve = async move {
        match TcpListener::from_std(listener) {
            Ok(listener) => listen::serve(listener, tls, handler, shutdown.clone()).await,
            Err(error) => tracing::error!(%error, "a listener cannot be used"),
        }
        // Its connections and sessions run on.
        std::future::pending::<()>().await;
    };
    let thread = std::thread::Builder::new().name("serve".to_owned());
    thread
        .spawn(move || runtime.block_on(serve))
        .map(drop)
        .map_err(failed)
}
