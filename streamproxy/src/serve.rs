//! What both roles do from start to end: flags looked at, sockets bound, requests served, drained.

use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use rustls::ServerConfig;
use streamway_daemon::admin::{Admin, Condition, Readiness};
use streamway_daemon::exit::ExitError;
use streamway_daemon::gates::FeatureGates;
use streamway_daemon::metrics::CertificateExpiry;
use streamway_daemon::shutdown::{Phase, Shutdown};
use streamway_daemon::tls::{AnyClientCert, OwnCert};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::args::ServeArgs;
use crate::beats::Beats;
use crate::listen::{self, Handler};
use crate::metrics::Metrics;
use crate::port::Port;
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

/// How often it is looked whether the threads live.
const LOOK: Duration = Duration::from_millis(500);

/// The process around a role.
pub(crate) struct Host {
    pub(crate) registry: Registry,
    /// The registry, once it is served.
    served: Option<Arc<Registry>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) gates: FeatureGates,
    pub(crate) expiry: CertificateExpiry,
    pub(crate) readiness: Readiness,
    liveness: Readiness,
    /// Of the threads that serve.
    pub(crate) beats: Beats,
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
            served: None,
            metrics,
            gates,
            expiry,
            readiness: Readiness::new(),
            liveness: Readiness::new(),
            beats: Beats::new(),
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

    /// Serves metrics and health on a Unix socket from now on. `--metrics-listen` then may be another
    /// process's too, and is served only while requests are. What is registered later is not served.
    ///
    /// # Errors
    ///
    /// A socket that cannot be bound.
    pub(crate) fn admin_socket(&mut self, path: &Path) -> Result<(), ExitError> {
        let registry = Arc::new(std::mem::take(&mut self.registry));
        self.served = Some(Arc::clone(&registry));
        let admin = Admin::bind_socket(path)?;
        self.admin(admin, registry, Phase::Ended);
        Ok(())
    }

    fn admin(&self, admin: Admin, registry: Arc<Registry>, until: Phase) {
        let (shutdown, readiness) = (self.shutdown.clone(), self.readiness.clone());
        let admin = admin.alive_while(self.liveness.clone());
        let until = async move { shutdown.reached(until).await };
        tokio::spawn(admin.serve(registry, readiness, until));
    }

    /// Binds, serves until a signal, drains. `own` is one more port of requests.
    ///
    /// # Errors
    ///
    /// Sockets that cannot be bound, signals that cannot be listened to.
    pub(crate) async fn serve<H: Handler>(
        mut self,
        (listen, metrics_listen): (SocketAddr, SocketAddr),
        own: Option<Port>,
        tls: Arc<ServerConfig>,
        handler: H,
    ) -> Result<(), ExitError> {
        let busy = |error: &std::io::Error| ExitError::bind("--listen", listen, error);
        let port = Port::share(listen, threads()).map_err(|error| busy(&error))?;
        let mut ports = vec![port];
        ports.extend(own);
        let metrics = match self.served.clone() {
            None => {
                let registry = Arc::new(std::mem::take(&mut self.registry));
                self.admin(Admin::bind(metrics_listen)?, registry, Phase::Ended);
                None
            }
            Some(registry) => {
                let busy = |error| ExitError::bind("--metrics-listen", metrics_listen, &error);
                let port = Port::share(metrics_listen, 1).map_err(busy)?;
                Some((port, registry))
            }
        };
        let shutdown = self.shutdown.clone();
        let handler = (TlsAcceptor::from(tls), Arc::new(handler));
        let open = async {
            // Where another process serves the same ports, it does so until this one can.
            if metrics.is_some() {
                self.readiness.ready().await;
            }
            let mut listeners: Vec<Vec<StdListener>> = Vec::new();
            listeners.resize_with(threads(), Vec::new);
            for port in ports {
                let sockets = port.listen().map_err(|error| busy(&error))?;
                for (thread, listener) in listeners.iter_mut().zip(sockets) {
                    thread.push(listener);
                }
            }
            self.start_threads(listeners, &handler)?;
            if let Some((port, registry)) = metrics {
                let busy = |error| ExitError::bind("--metrics-listen", metrics_listen, &error);
                for listener in port.listen().map_err(busy)? {
                    let admin = Admin::on(listener).map_err(busy)?;
                    self.admin(admin, Arc::clone(&registry), Phase::Draining);
                }
            }
            tracing::info!(%listen, threads = threads(), "serving");
            Ok::<_, ExitError>(())
        };
        let mut signals = pin!(shutdown.on_signals());
        tokio::select! {
            opened = open => {
                opened?;
                signals.await?;
            }
            ended = &mut signals => ended?,
        }
        self.cut.cancel();
        if timeout(FAREWELL, shutdown.tracker().wait()).await.is_err() {
            tracing::warn!(
                open = shutdown.tracker().len(),
                "sessions left without a farewell"
            );
        }
        Ok(())
    }

    /// Starts a thread for each of these, and the conditions that depend on them.
    fn start_threads<H: Handler>(
        &self,
        listeners: Vec<Vec<StdListener>>,
        (tls, handler): &(TlsAcceptor, Arc<H>),
    ) -> Result<(), ExitError> {
        for listeners in listeners {
            let handler = (tls.clone(), Arc::clone(handler));
            let started = worker(listeners, handler, self.shutdown.clone(), &self.beats);
            started.map_err(|error| {
                ExitError::failure(format_args!(
                    "a thread cannot start: {error}; check the limits on threads"
                ))
            })?;
        }
        tokio::spawn(self.beats.thread());
        let living = [&self.liveness, &self.readiness].map(|health| health.condition("threads"));
        living.iter().for_each(Condition::met);
        tokio::spawn(watch_threads(self.beats.clone(), living));
        let running = self.readiness.condition("running");
        running.met();
        let draining = self.shutdown.clone();
        tokio::spawn(async move {
            draining.reached(Phase::Draining).await;
            running.unmet("draining");
        });
        Ok(())
    }
}

/// Threads that serve: one for each core.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Keeps the conditions true, for ever.
async fn watch_threads(beats: Beats, living: [Condition; 2]) {
    loop {
        for condition in &living {
            if beats.are_fresh() {
                condition.met();
            } else {
                condition.unmet("a thread that serves does not answer");
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Starts a thread that serves listeners' connections, from their first byte to their last: what a
/// connection's bytes wake is on the thread that read them. It ends with the process.
fn worker<H: Handler>(
    listeners: Vec<StdListener>,
    (tls, handler): (TlsAcceptor, Arc<H>),
    shutdown: Shutdown,
    beats: &Beats,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let beats = beats.thread();
    let serve = async move {
        tokio::spawn(beats);
        for listener in listeners {
            let (tls, handler, shutdown) = (tls.clone(), Arc::clone(&handler), shutdown.clone());
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    tokio::spawn(listen::serve(listener, tls, handler, shutdown));
                }
                Err(error) => tracing::error!(%error, "a listener cannot be used"),
            }
        }
        // Its connections and sessions run on.
        std::future::pending::<()>().await;
    };
    let thread = std::thread::Builder::new().name("serve".to_owned());
    thread.spawn(move || runtime.block_on(serve)).map(drop)
}
