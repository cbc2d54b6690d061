//! `streamproxy node`: a kubelet's whole API in front of a kubelet.
//!
//! Nothing of a request reaches the kubelet before its caller is authenticated and authorized as a
//! kubelet would do it; the proxy then speaks to the kubelet as itself.

mod agent;
mod declared;
mod handler;
mod kubelet;
mod route;

use std::sync::Arc;

use streamway_daemon::admin::Condition;
use streamway_daemon::exit::ExitError;
use streamway_daemon::tls::OwnCert;

use crate::args::{NodeArgs, TrafficFrom};
use crate::serve::{self, Host};
use crate::upstream::{Tls, verifier};
use crate::{auth, reply};
use agent::{Agent, AgentMetrics, Identity};
use handler::Node;
use kubelet::Kubelet;

/// Runs until a signal.
///
/// # Errors
///
/// Wrong flags and files end with 64, what fails at run time with 1.
pub fn run(args: NodeArgs) -> Result<(), ExitError> {
    let common = args.serve.clone();
    serve::run(&common, serve(args))
}

async fn serve(args: NodeArgs) -> Result<(), ExitError> {
    // Everything that can be wrong is looked at before requests are taken.
    let mut host = Host::new(&args.serve, true)?;
    let name = node_name(&args)?;
    let listen = args.listen.ip().to_string();
    let hosts = [name.as_str(), "localhost", "127.0.0.1", &listen].map(str::to_owned);
    let serving = host.tls(&args.serve, &hosts, true)?;
    let metrics = AgentMetrics::register(&mut host.registry);
    if let Some(path) = &args.agent.admin_socket {
        host.admin_socket(path)?;
    }
    let mut identity = None;
    if args.agent.rotate_certificates {
        let signed = host.readiness.condition("certificate");
        signed.unmet("a client certificate is asked for and not signed yet");
        // That may take for ever; as the first process of a container it has to listen to signals itself.
        identity = tokio::select! {
            identity = Identity::obtain(&args.agent, &name, metrics.clone()) => Some(identity?),
            ended = host.shutdown.on_signals() => return ended,
        };
        signed.met();
    }
    let tls = tls(&args, &host, identity.as_ref())?;
    let kubelet = Arc::new(Kubelet::new(&args.kubelet, &tls).map_err(ExitError::usage)?);
    let client = match &identity {
        Some(identity) => Some(identity.client()),
        None => auth::client(&args).await?,
    };
    let auth = auth::configure(&args, &name, client.clone(), &host)?;
    let own = match args.agent.traffic {
        TrafficFrom::Unmanaged => None,
        TrafficFrom::NodeStreaming => {
            let agent = Agent {
                args: &args,
                node: &name,
                client,
                identity,
                metrics,
            };
            Some(agent.start(&host)?)
        }
    };
    let node = Node {
        authenticator: auth.authenticator,
        authorizer: auth.authorizer,
        kubelet: Arc::clone(&kubelet),
        streams: host.streams(kubelet::NOUN, reply::text),
    };
    tokio::spawn(follow(kubelet, host.readiness.condition("kubelet")));
    host.serve((args.listen, args.metrics_listen), own, serving, node)
        .await
}

/// Keeps what the kubelet declares true, and tells whether it can be reached.
async fn follow(kubelet: Arc<Kubelet>, reachable: Condition) {
    let mut complained = false;
    let told = move |asked: Result<(), &declared::AskError>| match asked {
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
    };
    kubelet.watch_declared(told).await;
}

/// TLS toward the kubelet.
fn tls(args: &NodeArgs, host: &Host, identity: Option<&Identity>) -> Result<Tls, ExitError> {
    let authority = match (
        &args.kubelet_certificate_authority,
        args.kubelet_insecure_skip_tls_verify,
    ) {
        (Some(path), _) => Some(("--kubelet-certificate-authority", path.as_path())),
        (None, true) => None,
        (None, false) => {
            return Err(ExitError::usage(
                "the kubelet's certificate cannot be checked: give --kubelet-certificate-authority, \
                 or --kubelet-insecure-skip-tls-verify where nobody else can listen on its address",
            ));
        }
    };
    let verifier = verifier(authority).map_err(ExitError::usage)?;
    let files = args
        .kubelet_client_certificate
        .as_ref()
        .zip(args.kubelet_client_key.as_ref());
    let files = match (identity, files) {
        (Some(identity), _) => Some((
            ("--cert-dir", identity.file()),
            ("--cert-dir", identity.file()),
        )),
        (None, Some((certificate, key))) => Some((
            ("--kubelet-client-certificate", certificate.as_path()),
            ("--kubelet-client-key", key.as_path()),
        )),
        (None, None) => None,
    };
    let client = files
        .map(|(certificate, key)| OwnCert::client(certificate, key))
        .transpose()?;
    if let Some(client) = &client {
        host.watch("kubelet-client", client);
    }
    let server_name = args.kubelet_tls_server_name.clone();
    Ok(Tls::new(verifier, client, server_name))
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
