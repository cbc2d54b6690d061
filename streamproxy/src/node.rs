//! `streamproxy node`: puts the parts together, serves, drains.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use rustls::ServerConfig;
use streamway_daemon::admin::{Admin, Readiness};
use streamway_daemon::exit::ExitError;
use streamway_daemon::gates::FeatureGates;
use streamway_daemon::metrics::CertificateExpiry;
use streamway_daemon::shutdown::{Phase, Shutdown};
use streamway_daemon::tls::ServingCert;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::args::NodeArgs;
use crate::handler::Node;
use crate::kubelet::{Kubelet, Tls, TlsOptions};
use crate::metrics::Metrics;
use crate::{auth, listen};

/// How long cut sessions may take to tell their clients.
const FAREWELL: Duration = Duration::from_secs(2);

/// Runs until a signal.
///
/// # Errors
///
/// Wrong flags and files end with 64, what fails at run time with 1.
pub fn run(args: NodeArgs) -> Result<(), ExitError> {
    streamway_daemon::install_crypto_provider();
    args.logs.init()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            ExitError::failure(format_args!(
                "the runtime cannot start: {error}; check the limits on threads"
            ))
        })?;
    runtime.block_on(serve(args))
}

async fn serve(args: NodeArgs) -> Result<(), ExitError> {
    // Everything that can be wrong is looked at before anything is bound.
    let gates = FeatureGates::parse(&args.feature_gates)?;
    let tls = Tls::new(&tls_options(&args)).map_err(ExitError::usage)?;
    let kubelet = Arc::new(Kubelet::new(&args.kubelet, tls).map_err(ExitError::usage)?);
    let name = node_name(&args)?;
    let mut registry = Registry::default();
    let metrics = Arc::new(Metrics::register(&mut registry));
    gates.register(&mut registry);
    let expiry = CertificateExpiry::register(&mut registry);
    let serving = serving(&args, &name, &expiry)?;
    let auth = auth::configure(&args, &name, gates, &expiry).await?;
    let admin = Admin::bind(args.metrics_listen)?;
    let listener = listen::bind(args.listen)
        .map_err(|error| ExitError::bind("--listen", args.listen, &error))?;

    let readiness = Readiness::new();
    let shutdown = Shutdown::new(args.shutdown_delay_duration, args.shutdown_grace_period);
    let running = readiness.condition("running");
    running.met();
    let cut = CancellationToken::new();
    let node = Arc::new(Node {
        authenticator: auth.authenticator,
        authorizer: auth.authorizer,
        kubelet: Arc::clone(&kubelet),
        gates,
        metrics,
        sessions: shutdown.tracker().clone(),
        cut: cut.clone(),
    });

    let ended = shutdown.clone();
    let admin = tokio::spawn(admin.serve(registry, readiness.clone(), async move {
        ended.reached(Phase::Ended).await;
    }));
    let reachable = readiness.condition("kubelet");
    tokio::spawn(async move {
        let mut complained = false;
        kubelet
            .watch_declared(move |asked| match asked {
                Ok(()) => {
                    complained = false;
                    reachable.met();
                }
                Err(error) => {
                    if !std::mem::replace(&mut complained, true) {
                        tracing::warn!(%error, "the kubelet cannot be reached; trying on");
                    }
                    reachable.unmet(error.to_string());
                }
            })
            .await;
    });
    tracing::info!(listen = %args.listen, kubelet = args.kubelet, "serving");
    let serving = tokio::spawn(listen::serve(
        listener,
        TlsAcceptor::from(serving),
        node,
        shutdown.clone(),
    ));
    let draining = shutdown.clone();
    tokio::spawn(async move {
        draining.reached(Phase::Draining).await;
        running.unmet("draining");
    });

    shutdown.on_signals().await?;
    cut.cancel();
    if timeout(FAREWELL, shutdown.tracker().wait()).await.is_err() {
        tracing::warn!(
            open = shutdown.tracker().len(),
            "sessions left without a farewell"
        );
    }
    serving.abort();
    admin.abort();
    Ok(())
}

/// TLS toward clients. Any client certificate is let in; whose it is, authentication says.
fn serving(
    args: &NodeArgs,
    name: &str,
    expiry: &CertificateExpiry,
) -> Result<Arc<ServerConfig>, ExitError> {
    let certificate = match args
        .tls_cert_file
        .as_ref()
        .zip(args.tls_private_key_file.as_ref())
    {
        Some((certificate, key)) => ServingCert::from_files(certificate, key)?,
        None => {
            let hosts = [
                name,
                "localhost",
                "127.0.0.1",
                &args.listen.ip().to_string(),
            ];
            ServingCert::self_signed(&hosts.map(str::to_owned))?
        }
    };
    let certificate = Arc::new(certificate);
    let (watched, expiry) = (Arc::clone(&certificate), expiry.clone());
    tokio::spawn(async move { watched.watch("serving", expiry).await });
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(Arc::new(auth::AnyClientCert::new()))
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn tls_options(args: &NodeArgs) -> TlsOptions {
    TlsOptions {
        certificate_authority: args.kubelet_certificate_authority.clone(),
        insecure_skip_verify: args.kubelet_insecure_skip_tls_verify,
        client: args
            .kubelet_client_certificate
            .clone()
            .zip(args.kubelet_client_key.clone()),
        server_name: args.kubelet_tls_server_name.clone(),
    }
}

/// The node's name in lower case, as kubelet's `--hostname-override` and its default.
fn node_name(args: &NodeArgs) -> Result<String, ExitError> {
    let name = match &args.hostname_override {
        Some(name) => name.clone(),
        None => std::fs::read_to_string("/proc/sys/kernel/hostname").map_err(|error| {
            ExitError::usage(format_args!(
                "the host's name cannot be read: {error}; give --hostname-override"
            ))
        })?,
    };
    let name = name.trim().to_ascii_lowercase();
    if name.is_empty() {
        return Err(ExitError::usage(
            "the node has no name; give --hostname-override",
        ));
    }
    Ok(name)
}
