//! Keeps the Secret, the served certificate and the caBundle as they should be.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, stream};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher::watch_object};
use kube::{Api, Client, Resource};
use streamway_crds::names;
use streamway_daemon::admin::Condition;
use streamway_daemon::metrics::CertificateExpiry;

use super::configuration::Watched;
use super::material::Material;
use super::rotation::{Rotation, Step};
use super::served::Served;
use crate::metrics::Metrics;

/// How long until what the API server refused is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Writes of one go. More would be one of somebody who undoes each of them.
const WRITES: usize = 5;

/// The longest wait. Clocks are set, and machines sleep.
const LONGEST: Duration = Duration::from_secs(60);

/// An object that is watched by its name.
pub(super) enum Seen<K> {
    NotYet,
    Absent,
    There(Box<K>),
}

pub(super) struct Keeper {
    secrets: Api<Secret>,
    secret_name: String,
    mutating: Watched<MutatingWebhookConfiguration>,
    validating: Option<Watched<ValidatingWebhookConfiguration>>,
    rotation: Rotation,
    served: Served,
    condition: Condition,
    expiry: CertificateExpiry,
    metrics: Metrics,
    secret: Seen<Secret>,
    /// What is served now.
    in_force: Material,
}

/// What a keeper is made of.
pub(super) struct Parts {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) secret_name: String,
    /// The MutatingWebhookConfiguration.
    pub(super) mutating: String,
    /// The ValidatingWebhookConfiguration, where there is to be one.
    pub(super) validating: Option<String>,
    pub(super) rotation: Rotation,
    pub(super) served: Served,
    pub(super) condition: Condition,
    pub(super) expiry: CertificateExpiry,
    pub(super) metrics: Metrics,
}

impl Keeper {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            secrets: Api::namespaced(parts.client.clone(), &parts.namespace),
            secret_name: parts.secret_name,
            mutating: Watched::new(Api::all(parts.client.clone()), parts.mutating),
            validating: parts
                .validating
                .map(|name| Watched::new(Api::all(parts.client), name)),
            rotation: parts.rotation,
            served: parts.served,
            condition: parts.condition,
            expiry: parts.expiry,
            metrics: parts.metrics,
            secret: Seen::NotYet,
            in_force: Material::default(),
        }
    }

    /// Runs until dropped.
    pub(super) async fn run(mut self) {
        let secrets = watch_object(self.secrets.clone(), &self.secret_name);
        let mut secrets = secrets.default_backoff().boxed();
        let mut mutating = self.mutating.events().boxed();
        let validating = self.validating.as_ref().map(Watched::events);
        let mut validating = validating.map_or_else(|| stream::pending().boxed(), StreamExt::boxed);
        loop {
            let wait = self.keep().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "certificates are not kept; what is served stays");
                RETRY
            });
            tokio::select! {
                Some(seen) = secrets.next() => match seen {
                    Ok(seen) => self.secret = Seen::new(seen),
                    Err(error) => tracing::warn!(%error, "the Secret cannot be watched"),
                },
                Some(event) = mutating.next() => self.mutating.seen(event),
                Some(event) = validating.next() => {
                    if let Some(validating) = &mut self.validating {
                        validating.seen(event);
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Does what is to be done now, and says when to look again.
    async fn keep(&mut self) -> Result<Duration, Failure> {
        for _ in 0..WRITES {
            let held = match &self.secret {
                Seen::NotYet => return Ok(LONGEST),
                Seen::Absent => Material::default(),
                Seen::There(secret) => Material::read(secret),
            };
            let held = match held.signing {
                None => self.in_force.without_signing_key(),
                Some(_) => held,
            };
            let now = now();
            match self.rotation.step(&held, self.announced(&held), now)? {
                Step::Write(material) => self.write(&material).await?,
                Step::Wait(until) => {
                    self.serve(held);
                    if self.announced(&self.in_force) || self.announce().await? {
                        let wait = u64::try_from(until.saturating_sub(now)).unwrap_or_default();
                        return Ok(Duration::from_secs(wait).min(LONGEST));
                    }
                }
            }
        }
        Ok(RETRY)
    }

    /// Writes the Secret; where another replica was faster, what that one wrote is taken over.
    async fn write(&mut self, material: &Material) -> Result<(), Failure> {
        let params = PostParams {
            field_manager: Some(names::WEBHOOK_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let Seen::There(secret) = &self.secret else {
            return Err(Failure::NoSecret(self.secret_name.clone()));
        };
        let mut secret = secret.clone();
        material.write(&mut secret);
        let written = self
            .secrets
            .replace(&self.secret_name, &params, &secret)
            .await;
        match written {
            Ok(secret) => {
                tracing::info!(?material, "certificates written");
                self.secret = Seen::There(Box::new(secret));
                Ok(())
            }
            // Changed or deleted by somebody else meanwhile.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                self.secret = Seen::new(self.secrets.get_opt(&self.secret_name).await?);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Serves what `held` holds.
    fn serve(&mut self, held: Material) {
        if let Some(pair) = &held.serving {
            let before = self.in_force.serving.as_ref();
            if before != Some(pair) {
                if let Err(error) = self.served.replace(pair) {
                    tracing::warn!(%error, "the serving certificate cannot be used");
                    return;
                }
                tracing::info!(certificate = ?pair.certificate, "serving certificate replaced");
                self.expiry.set("serving", pair.certificate.ends());
            }
            self.condition.met();
        }
        if let Some((certificate, _)) = &held.signing {
            self.expiry.set("webhook-ca", certificate.ends());
        }
        self.in_force = held;
    }

    /// Whether every caBundle is as `material` has it, as far as was seen.
    fn announced(&self, material: &Material) -> bool {
        let validating = self.validating.as_ref();
        self.mutating.is_current(material)
            && validating.is_none_or(|validating| validating.is_current(material))
    }

    /// Writes the caBundles. False where the Secret was another by now, so that they were not
    /// written from it.
    async fn announce(&mut self) -> Result<bool, Failure> {
        // A replica that is late must not take away what another has just announced.
        let secret = self.secrets.get_opt(&self.secret_name).await?;
        let version = |secret: &Secret| secret.meta().resource_version.clone();
        let seen = match &self.secret {
            Seen::There(secret) => version(secret),
            Seen::NotYet | Seen::Absent => None,
        };
        if secret.as_ref().and_then(version) != seen {
            self.secret = Seen::new(secret);
            return Ok(false);
        }
        let mut written = usize::from(self.mutating.write(&self.in_force).await?);
        if let Some(validating) = &mut self.validating {
            written += usize::from(validating.write(&self.in_force).await?);
        }
        (0..written).for_each(|_| self.metrics.bundle_written());
        Ok(true)
    }
}

impl<K> Seen<K> {
    pub(super) fn new(object: Option<K>) -> Self {
        object.map_or(Self::Absent, |object| Self::There(Box::new(object)))
    }
}

/// Why nothing could be kept.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The API server's word.
    #[error(transparent)]
    ApiServer(#[from] kube::Error),
    /// Of hosts that are no names and no addresses.
    #[error("no certificate can be made: {0}; check --tls-hosts")]
    Issue(#[from] rcgen::Error),
    /// Somebody deleted it.
    #[error("there is no Secret {0}: apply the manifests again, or create it empty")]
    NoSecret(String),
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
