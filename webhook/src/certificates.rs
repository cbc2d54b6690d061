//! The serving certificate, and how API servers come to trust it.
//!
//! Either files (cert-manager's, with its injector for the caBundle), or a CA of our own in a Secret
//! that all replicas share. Each replica does all that is to be done: it fills the Secret where that is
//! empty, renews what is due, and writes the caBundle when it is not what the Secret says, be it by a
//! rotation or because somebody applied the configuration anew. Two that do so at once are told apart by
//! the API server (optimistic concurrency), so none needs to lead.
//!
//! The Secret itself is made by the manifests, empty. Who may create Secrets in a namespace can have the token
//! of any ServiceAccount there, the controller's too.
//!
//! Rights that it needs:
//!
//! | verbs | on |
//! |---|---|
//! | get, list, watch, update | the Secret, by its name, in the webhook's namespace |
//! | get, list, watch, patch | the MutatingWebhookConfiguration, by its name; where there is one, the
//! ValidatingWebhookConfiguration too |

mod configuration;
mod issued;
mod keeper;
mod material;
mod rotation;
mod served;

use std::sync::Arc;

use kube::Client;
use rustls::ServerConfig;
use rustls::server::ResolvesServerCert;
use streamway_daemon::admin::Condition;
use streamway_daemon::exit::ExitError;
use streamway_daemon::metrics::CertificateExpiry;
use streamway_daemon::tls::{AnyClientCert, OwnCert};
use tokio_rustls::TlsAcceptor;

use crate::args::CertificateArgs;
use crate::metrics::Metrics;
use keeper::{Keeper, Parts};
use rotation::Rotation;
use served::Served;

/// Begins to keep the certificates; `condition` is met once there is one to serve. `validating` is the
/// ValidatingWebhookConfiguration whose caBundle is kept as well.
///
/// # Errors
/// [`ExitError`] (64) for files that cannot be used.
pub(crate) fn start(
    args: &CertificateArgs,
    validating: Option<String>,
    client: Client,
    condition: Condition,
    expiry: CertificateExpiry,
    metrics: Metrics,
) -> Result<TlsAcceptor, ExitError> {
    if let Some((certificate, key)) = args
        .tls_cert_file
        .as_ref()
        .zip(args.tls_private_key_file.as_ref())
    {
        let own = OwnCert::serving(certificate, key)?;
        condition.met();
        let watched = own.clone();
        tokio::spawn(async move { watched.watch("serving", expiry).await });
        return Ok(acceptor(Arc::new(own)));
    }
    let served = Served::default();
    let keeper = Keeper::new(Parts {
        client,
        namespace: args.namespace.clone(),
        secret_name: args.certificate_secret.clone(),
        mutating: args.webhook_configuration.clone(),
        validating,
        rotation: Rotation {
            hosts: args.hosts(),
            certificate: args.certificate_duration,
            authority: args.ca_duration,
        },
        served: served.clone(),
        condition,
        expiry,
        metrics,
    });
    tokio::spawn(keeper.run());
    Ok(acceptor(Arc::new(served)))
}

fn acceptor(certificate: Arc<dyn ResolvesServerCert>) -> TlsAcceptor {
    let mut config = ServerConfig::builder()
        // Whose it is, a path that asks for one looks at.
        .with_client_cert_verifier(Arc::new(AnyClientCert::new()))
        .with_cert_resolver(certificate);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
