//! The webhook: what the API server asks before it takes a write, or opens a session.
//!
//! | path | asked when | what it does |
//! |---|---|---|
//! | `/mutate/node-status` ([`node_status`]) | a Node's status is updated | keeps what a rollout switched from being undone |
//! | `/admit/connect/…` (`connect`) | a session in a pod is opened | notes, warns of or refuses one without `create` |
//! | `/authorize` (`authorize`) | somebody wants to `get` what opens sessions | the same, before RBAC |
//!
//! The first answers from memory, never denies, and changes nothing but what the NodeStreaming of the
//! Node's name asks for. It switches nothing itself: the controller does, and patches the Node. The others
//! (`access`) ask the API server, and are served where `--access-check` says so.
//!
//! ```text
//!  kubelet ──PATCH nodes/status──▶ API server ──AdmissionReview──▶ listen ─▶ a path's module
//!                                       ▲                            ▲           ▲
//!                      Secret, caBundle │ ◀── certificates ──────────┘     wishes (a cache of
//!                                       └──────────── watch ─────────────  NodeStreamings)
//!  kubectl ────GET pods/exec──────▶ API server ──AdmissionReview────▶ connect ──┐
//!                                       │  ────SubjectAccessReview──▶ authorize ┴─▶ access
//!                                       ◀──────SubjectAccessReview, create?────────┘
//! ```
//!
//! Every replica does all of this; nothing waits for a leader.
//!
//! # What the MutatingWebhookConfiguration must hold
//!
//! `config/base/webhook/mutatingwebhookconfiguration.yaml` is one that does.
//!
//! | field | value | why |
//! |---|---|---|
//! | `failurePolicy` | `Ignore` | a kubelet that cannot write its status is a node that is lost |
//! | `timeoutSeconds` | 1 | the same, and the answer takes microseconds |
//! | `rules` | UPDATE of `nodes/status` v1, `matchPolicy: Exact` | patches of the status are updates |
//! | `matchConditions` | not by the controller; only what changes the declared features or the port | the controller's own switching must pass; all other updates are not worth a call |
//! | `reinvocationPolicy` | `IfNeeded` | what another webhook puts back is taken away again |
//! | `sideEffects` | `None` | a dry run is answered like any other |
//! | `clientConfig.caBundle` | left out | the webhook writes it, and what applies the manifest again must not take it away |
//!
//! # Not here
//!
//! What a node should do (controller), what an agent does (streamproxy). A second path is a module of
//! its own with a `routes()` that [`run`] merges.
#![forbid(unsafe_code)]

mod access;
pub mod args;
mod authorize;
mod body;
mod callers;
mod certificates;
mod client;
mod connect;
mod listen;
mod metrics;
pub mod node_status;
mod review;
mod wishes;

pub use body::Refusal;
pub use wishes::Wish;

use std::sync::Arc;

use axum::Router;
use prometheus_client::registry::Registry;
use streamway_daemon::admin::{Admin, Readiness};
use streamway_daemon::exit::ExitError;
use streamway_daemon::gates::{FeatureGate, FeatureGates};
use streamway_daemon::metrics::CertificateExpiry;
use streamway_daemon::shutdown::{Phase, Shutdown};
use streamway_daemon::tls::ClientCa;
use tokio::net::TcpListener;

use access::{AccessMetrics, Guard};
use args::Cli;
use authorize::{Authorize, Guarded};
use callers::Callers;
use connect::Connect;
use metrics::Metrics;
use node_status::NodeStatus;
use node_status::decide::Policy;
use wishes::Wishes;

/// Runs until a signal.
///
/// # Errors
/// Wrong flags and files end with 64, what fails at run time with 1.
pub fn run(args: Cli) -> Result<(), ExitError> {
    streamway_daemon::install_crypto_provider();
    args.logs.init()?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| {
        ExitError::failure(format_args!(
            "the runtime cannot start: {error}; check the limits on threads"
        ))
    })?;
    runtime.block_on(serve(args))
}

async fn serve(args: Cli) -> Result<(), ExitError> {
    // Everything that can be wrong is looked at before anything is bound.
    let gates = FeatureGates::parse(&args.feature_gates)?;
    args.certificates.check()?;
    let callers = args.access.callers()?;
    let client = client::connect(args.kubeconfig.as_deref()).await?;
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let expiry = CertificateExpiry::register(&mut registry);
    gates.register(&mut registry);
    let readiness = Readiness::new();
    let access = &args.access;
    let validating = access.validating_webhook_configuration.clone();
    let tls = certificates::start(
        &args.certificates,
        access.access_check.then_some(validating),
        client.clone(),
        readiness.condition("certificate"),
        expiry.clone(),
        metrics.clone(),
    )?;
    let serving = readiness.condition("serving");
    let listener = listen::bind(args.listen)
        .and_then(TcpListener::from_std)
        .map_err(|error| ExitError::bind("--listen", args.listen, &error))?;
    let admin = Admin::bind(args.metrics_listen)?;

    let mut routes = Router::new();
    if access.access_check {
        let guard = Guard::new(
            client.clone(),
            access.rbac_answers_first,
            readiness.condition("exemptions"),
            AccessMetrics::register(&mut registry),
        );
        let pods = gates.enabled(FeatureGate::AuthorizePodWebsocketUpgradeCreatePermission);
        let guarded = Guarded {
            pods,
            nodes_proxy: access.guard_nodes_proxy,
        };
        routes = routes.merge(access_routes(guard, guarded, callers, &expiry, &metrics));
    }
    let wishes = Wishes::watch(client, readiness.condition("cache"), metrics.clone());
    let policy = Policy {
        agent_port: args.agent_port,
        features: gates.enabled(FeatureGate::ExtendWebSocketsToKubelet),
    };
    let node_status = Arc::new(NodeStatus::new(wishes, policy, metrics));
    let routes = routes
        .merge(node_status::routes(node_status))
        .fallback(body::not_found)
        .method_not_allowed_fallback(body::not_allowed);

    let shutdown = Shutdown::new(args.shutdown_delay_duration, args.shutdown_grace_period);
    let ended = shutdown.clone();
    let admin = tokio::spawn(admin.serve(registry, readiness, async move {
        ended.reached(Phase::Ended).await;
    }));
    let accepting = tokio::spawn(listen::serve(listener, tls, routes, shutdown.clone()));
    tracing::info!(address = %args.listen, metrics = %args.metrics_listen, "serving");
    serving.met();
    let draining = async {
        shutdown.reached(Phase::Draining).await;
        serving.unmet("draining");
    };
    let (signals, ()) = tokio::join!(shutdown.on_signals(), draining);
    signals?;
    accepting.abort();
    // An admin server that ended early has said why; one that was served ends with the process.
    match admin.await {
        Ok(ended) => ended,
        Err(_) => Ok(()),
    }
}

/// The paths that ask for `create`; `/authorize` only where somebody may ask there.
fn access_routes(
    guard: Guard,
    guarded: Guarded,
    callers: Option<(Callers, ClientCa)>,
    expiry: &CertificateExpiry,
    metrics: &Metrics,
) -> Router {
    let guard = Arc::new(guard);
    let connect = Connect {
        guard: Arc::clone(&guard),
        guarded: guarded.pods,
        metrics: metrics.clone(),
    };
    let routes = connect::routes(&Arc::new(connect));
    let Some((callers, authorities)) = callers else {
        return routes;
    };
    let expiry = expiry.clone();
    tokio::spawn(async move { authorities.watch("client-ca", expiry).await });
    let authorize = Authorize {
        callers,
        guard,
        guarded,
        metrics: metrics.clone(),
    };
    routes.merge(authorize::routes(&Arc::new(authorize)))
}
