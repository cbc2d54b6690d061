//! `streamproxy gateway`: API servers' whole API in front of API servers that cannot speak WebSockets.
//!
//! The API server authenticates, authorizes and answers. The gateway adds nothing to a caller's
//! rights: what a caller says in headers goes on over connections that show no credential, so it
//! counts for what it is; what the gateway says itself, for users of client certificates, goes over
//! connections of its own, and only once the API server was seen to take it for what it is.

mod apiserver;
mod body;
mod credential;
mod handler;
mod health;
mod identity;
mod metrics;
mod review;
mod route;
mod speaks;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderName;
use streamway_daemon::exit::ExitError;
use streamway_daemon::tls::{ClientCa, OwnCert};

use crate::args::GatewayArgs;
use crate::reply;
use crate::serve::{self, Host};
use crate::upstream::{Tls, verifier};
use apiserver::{ApiServer, ApiServers, NOUN};
use credential::Credential;
use handler::Gateway;
use health::Follower;
use identity::{Identities, RequestHeaders, Telling};
use metrics::GatewayMetrics;

/// A pod's own view of its cluster.
const IN_POD_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// Runs until a signal.
///
/// # Errors
///
/// Wrong flags and files end with 64, what fails at run time with 1.
pub fn run(args: GatewayArgs) -> Result<(), ExitError> {
    let common = args.serve.clone();
    serve::run(&common, serve(args))
}

async fn serve(args: GatewayArgs) -> Result<(), ExitError> {
    // Everything that can be wrong is looked at before anything is bound.
    let mut host = Host::new(&args.serve, false)?;
    let authority = authority(&args)?;
    let verifier =
        verifier(Some(("--certificate-authority", &authority))).map_err(ExitError::usage)?;
    let plain = Tls::new(Arc::clone(&verifier), None, args.tls_server_name.clone());
    let client_ca = args
        .client_ca_file
        .as_ref()
        .map(|path| ClientCa::from_file("--client-ca-file", path).map(Arc::new))
        .transpose()?;
    let (telling, own) = telling(&args, &host, verifier).await?;
    let urls = urls(&args)?;
    let servers = urls
        .iter()
        .map(|url| ApiServer::new(url, &plain, own.as_ref()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(ExitError::usage)?;
    let servers = Arc::new(ApiServers::new(servers));
    let listen = args.listen.ip().to_string();
    let hosts = ["localhost", "127.0.0.1", &listen].map(str::to_owned);
    let tls = host.tls(&args.serve, &hosts, client_ca.is_some())?;
    if let Some(ca) = &client_ca {
        let (ca, expiry) = (Arc::clone(ca), host.expiry.clone());
        tokio::spawn(async move { ca.watch("client-ca", expiry).await });
    }
    let metrics = GatewayMetrics::register(&mut host.registry);
    let told = match &telling {
        Telling::FrontProxy(names) => Some(names.clone()),
        Telling::Impersonation(_) => {
            // Whom an API server lets impersonate is never in doubt.
            servers
                .all()
                .iter()
                .for_each(|server| server.set_believes(true));
            None
        }
        Telling::Nobody => None,
    };
    Follower {
        servers: Arc::clone(&servers),
        believed: told
            .as_ref()
            .map(|_| host.readiness.condition("front-proxy")),
        told,
        metrics: metrics.clone(),
        reachable: host.readiness.condition("apiserver"),
    }
    .start();
    let gateway = Gateway {
        servers,
        identities: Identities { client_ca, telling },
        streams: host.streams(NOUN, reply::status),
        metrics,
    };
    host.serve((args.listen, args.metrics_listen), None, tls, gateway)
        .await
}

/// How users of client certificates are told to the API server, and the connections for it.
async fn telling(
    args: &GatewayArgs,
    host: &Host,
    verifier: Arc<dyn rustls::client::danger::ServerCertVerifier>,
) -> Result<(Telling, Option<Tls>), ExitError> {
    let server_name = args.tls_server_name.clone();
    if args.client_ca_file.is_none() {
        return Ok((Telling::Nobody, None));
    }
    let files = args
        .proxy_client_cert_file
        .as_ref()
        .zip(args.proxy_client_key_file.as_ref());
    if let Some((certificate, key)) = files {
        let certificate = OwnCert::client(
            ("--proxy-client-cert-file", certificate),
            ("--proxy-client-key-file", key),
        )?;
        host.watch("front-proxy-client", &certificate);
        let tls = Tls::new(verifier, Some(certificate), server_name);
        return Ok((Telling::FrontProxy(request_headers(args)?), Some(tls)));
    }
    if args.kubeconfig.is_none() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        return Err(ExitError::usage(
            "users of client certificates could not be told to the API server: give \
             --proxy-client-cert-file (best) or --kubeconfig, or leave --client-ca-file out",
        ));
    }
    let (credential, tls) = Credential::load(args.kubeconfig.as_deref(), server_name).await?;
    Ok((Telling::Impersonation(credential), Some(tls)))
}

fn request_headers(args: &GatewayArgs) -> Result<RequestHeaders, ExitError> {
    let names = |flag: &str, names: &[String]| {
        names
            .iter()
            .map(|name| {
                name.trim().parse::<HeaderName>().map_err(|_| {
                    ExitError::usage(format_args!("{flag}: {name:?} is no header's name"))
                })
            })
            .collect::<Result<Vec<_>, _>>()
    };
    let user = names(
        "--requestheader-username-headers",
        &args.requestheader_username_headers,
    )?;
    if user.is_empty() {
        return Err(ExitError::usage(
            "--requestheader-username-headers is empty; give the API server's",
        ));
    }
    let prefixes = args.requestheader_extra_headers_prefix.iter();
    Ok(RequestHeaders {
        user,
        uid: names(
            "--requestheader-uid-headers",
            &args.requestheader_uid_headers,
        )?,
        group: names(
            "--requestheader-group-headers",
            &args.requestheader_group_headers,
        )?,
        extra_prefix: prefixes
            .map(|prefix| prefix.trim().to_ascii_lowercase())
            .filter(|prefix| !prefix.is_empty())
            .collect(),
    })
}

fn authority(args: &GatewayArgs) -> Result<PathBuf, ExitError> {
    match &args.certificate_authority {
        Some(path) => Ok(path.clone()),
        None if Path::new(IN_POD_CA).exists() => Ok(IN_POD_CA.into()),
        None => Err(ExitError::usage(
            "the API servers' certificates cannot be checked, and tokens must not go to strangers: \
             give --certificate-authority",
        )),
    }
}

fn urls(args: &GatewayArgs) -> Result<Vec<String>, ExitError> {
    if !args.apiserver.is_empty() {
        return Ok(args
            .apiserver
            .iter()
            .map(|url| url.trim().to_owned())
            .collect());
    }
    let variable = |name| std::env::var(name).ok();
    match (
        variable("KUBERNETES_SERVICE_HOST"),
        variable("KUBERNETES_SERVICE_PORT"),
    ) {
        (Some(host), Some(port)) => {
            let host = if host.contains(':') {
                format!("[{host}]")
            } else {
                host
            };
            Ok(vec![format!("https://{host}:{port}")])
        }
        _ => Err(ExitError::usage(
            "there is no API server to stand before; give --apiserver https://HOST:PORT",
        )),
    }
}
