//! Who the agent is: a client certificate of its own node's, asked for as the pod's service account,
//! kept in files, renewed in time, and thrown away where the API server does not know it.
//!
//! The rights of that user are those of its own node only, so the certificate is worth nothing on
//! another; the service account has no right but to ask for it.

mod credential;
mod request;
mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Api, PostParams};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustls_pki_types::UnixTime;
use streamway_crds::names;
use streamway_daemon::exit::ExitError;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::backoff::{Backoff, chance};
use super::metrics::{AgentMetrics, Asked};
use crate::args::AgentArgs;
use credential::Credential;
use store::Store;

/// How long the API server may take to say who one is.
const WHO: Duration = Duration::from_secs(10);

/// The longest that the time of renewal is slept for at once: clocks are set.
const NAP: Duration = Duration::from_secs(3600);

/// A doubt is looked into this much later, and the next not before.
const DOUBT: Duration = Duration::from_secs(5);

/// The agent's identity; it stays current by itself.
#[derive(Clone)]
pub(crate) struct Identity {
    client: Client,
    file: PathBuf,
    not_after: watch::Receiver<i64>,
    doubt: Arc<Notify>,
}

/// What the API server takes a credential for.
#[derive(Debug, PartialEq, Eq)]
enum Known {
    /// What it is.
    Yes,
    /// Nothing, or somebody else.
    No(String),
    /// It could not be asked.
    Perhaps(String),
}

impl Identity {
    /// A good one of `--cert-dir`, or a new one, however long that takes.
    ///
    /// # Errors
    ///
    /// Flags and files that cannot be used.
    pub(crate) async fn obtain(
        args: &AgentArgs,
        node: &str,
        metrics: AgentMetrics,
    ) -> Result<Self, ExitError> {
        let bootstrap = bootstrap(args).await?;
        let asking = Client::try_from(bootstrap.clone()).map_err(|error| wrong(args, &error))?;
        let folder = &args.cert_dir;
        let store = Store::new(folder).map_err(|error| {
            let folder = folder.display();
            ExitError::usage(format_args!(
                "--cert-dir {folder}: {error}; it must be writable"
            ))
        })?;
        let keeper = Keeper {
            user: names::agent_user(node),
            bootstrap,
            asking,
            store,
            metrics,
        };
        let credential = match keeper.stored().await {
            Some(credential) => credential,
            None => keeper.new_one().await,
        };
        let made = keeper.client(&credential);
        let made = made.map_err(|error| wrong(args, &error))?;
        let current = Arc::new(ArcSwap::from_pointee(made));
        let (told, not_after) = watch::channel(credential.validity.not_after);
        let doubt = Arc::new(Notify::new());
        let identity = Self {
            client: following(Arc::clone(&current)),
            file: keeper.store.current(),
            not_after,
            doubt: Arc::clone(&doubt),
        };
        tokio::spawn(async move { keeper.keep(credential, &current, &told, &doubt).await });
        Ok(identity)
    }

    /// The API server, as this user. It goes on with the certificate in force.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The file that holds certificate and key, and is replaced.
    pub(crate) fn file(&self) -> &std::path::Path {
        &self.file
    }

    /// When the certificate in force ends, in seconds since 1970.
    pub(crate) fn not_after(&self) -> watch::Receiver<i64> {
        self.not_after.clone()
    }

    /// The API server did not know us: it is looked into.
    pub(crate) fn doubt(&self) {
        self.doubt.notify_one();
    }
}

/// What keeps it current.
struct Keeper {
    user: String,
    /// Of the service account.
    bootstrap: Config,
    asking: Client,
    store: Store,
    metrics: AgentMetrics,
}

impl Keeper {
    /// The one in the files, if it is any good.
    async fn stored(&self) -> Option<Credential> {
        let path = self.store.current();
        let path = path.display();
        let credential = match self.store.load(&self.user, UnixTime::now()) {
            Ok(credential) => credential?,
            Err(error) => {
                tracing::warn!(%path, %error, "the stored client certificate is not used");
                return None;
            }
        };
        match self.is_known(&credential).await {
            Known::Yes => {}
            Known::No(why) => {
                tracing::warn!(%path, why, "the API server does not know the stored client certificate");
                return None;
            }
            // It was good once, and a kubelet may know it.
            Known::Perhaps(why) => {
                tracing::warn!(
                    why,
                    "whether the API server knows the stored client certificate is not clear"
                );
            }
        }
        let not_after = credential.validity.not_after;
        tracing::info!(%path, not_after, "the stored client certificate is used");
        Some(credential)
    }

    /// A new one, saved.
    async fn new_one(&self) -> Credential {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(120));
        loop {
            let asked = request::certificate(&self.asking, &self.user).await;
            self.metrics.asked(match &asked {
                Ok(_) => Asked::Signed,
                Err(request::RequestError::Denied { .. }) => Asked::Denied,
                Err(_) => Asked::Error,
            });
            let saved = match asked {
                Ok(credential) => {
                    let now = jiff::Timestamp::now();
                    let name = now.strftime("%Y-%m-%d-%H-%M-%S-%6f").to_string();
                    let saved = self.store.save(&credential, &name);
                    saved
                        .map(|()| credential)
                        .map_err(|error| error.to_string())
                }
                Err(error) => Err(error.to_string()),
            };
            match saved {
                Ok(credential) => {
                    let not_after = credential.validity.not_after;
                    tracing::info!(
                        user = self.user,
                        not_after,
                        "a client certificate was signed"
                    );
                    return credential;
                }
                Err(error) => {
                    tracing::warn!(error, "there is no client certificate yet; asking again")
                }
            }
            backoff.pause().await;
        }
    }

    /// For ever.
    async fn keep(
        self,
        mut credential: Credential,
        current: &ArcSwap<Client>,
        not_after: &watch::Sender<i64>,
        doubt: &Notify,
    ) {
        loop {
            self.until_rotation(&credential, doubt).await;
            credential = self.new_one().await;
            match self.client(&credential) {
                // Connections of the old one end with the requests that run on them.
                Ok(client) => current.store(Arc::new(client)),
                Err(error) => tracing::error!(%error, "the new client certificate cannot be used"),
            }
            not_after.send_replace(credential.validity.not_after);
        }
    }

    /// Waits until the credential is old, or turns out to be unknown.
    async fn until_rotation(&self, credential: &Credential, doubt: &Notify) {
        let at = credential.rotation(chance());
        loop {
            let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
            let Some(left) = u64::try_from(at - now).ok().filter(|left| *left > 0) else {
                return;
            };
            let nap = NAP.min(Duration::from_secs(left));
            tokio::select! {
                () = tokio::time::sleep(nap) => continue,
                () = doubt.notified() => {}
            }
            tokio::time::sleep(DOUBT).await;
            if let Known::No(why) = self.is_known(credential).await {
                tracing::warn!(
                    why,
                    "the API server does not know the client certificate any more"
                );
                return;
            }
        }
    }

    async fn is_known(&self, credential: &Credential) -> Known {
        let client = match self.client(credential) {
            Ok(client) => client,
            Err(error) => return Known::No(error.to_string()),
        };
        let api: Api<SelfSubjectReview> = Api::all(client);
        let (params, review) = (PostParams::default(), SelfSubjectReview::default());
        let answered = timeout(WHO, api.create(&params, &review)).await;
        match answered {
            Ok(Ok(review)) => {
                let user = review.status.and_then(|status| status.user_info?.username);
                if user.as_deref() == Some(&self.user) {
                    Known::Yes
                } else {
                    Known::No(format!("it takes it for {user:?}"))
                }
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 401 => Known::No(status.message),
            Ok(Err(error)) => Known::Perhaps(error.to_string()),
            Err(_) => Known::Perhaps("no answer within 10 s".to_owned()),
        }
    }

    /// The API server, as the credential's user.
    fn client(&self, credential: &Credential) -> Result<Client, kube::Error> {
        let mut config = self.bootstrap.clone();
        config.auth_info = AuthInfo {
            client_certificate_data: Some(STANDARD.encode(&credential.certificate)),
            client_key_data: Some(STANDARD.encode(&credential.key).into()),
            ..AuthInfo::default()
        };
        Client::try_from(config)
    }
}

/// A client that is always the current one.
fn following(current: Arc<ArcSwap<Client>>) -> Client {
    let service = tower::service_fn(move |request| {
        let client = current.load_full();
        async move { client.send(request).await }
    });
    Client::new(service, "default")
}

/// How the API server is asked as the pod.
async fn bootstrap(args: &AgentArgs) -> Result<Config, ExitError> {
    let mut config = match &args.bootstrap_kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(|error| wrong(args, &error))?;
            let options = KubeConfigOptions::default();
            let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
            config.map_err(|error| wrong(args, &error))?
        }
        None => Config::incluster().map_err(|error| wrong(args, &error))?,
    };
    // Tries are ours to count.
    config.default_retry = false;
    Ok(config)
}

fn wrong(args: &AgentArgs, error: &dyn std::fmt::Display) -> ExitError {
    match &args.bootstrap_kubeconfig {
        Some(path) => ExitError::usage(format_args!(
            "--bootstrap-kubeconfig {}: {error}; is it a kubeconfig?",
            path.display()
        )),
        None => ExitError::usage(format_args!(
            "--rotate-certificates: the pod's service account cannot be used: {error}; give \
             --bootstrap-kubeconfig"
        )),
    }
}

#[cfg(test)]
mod tests;
