//! A webhook configuration whose caBundles are kept as the CA is.

use std::fmt::Debug;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::Stream;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher, watcher::watch_object};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use streamway_crds::names;

use super::keeper::Seen;
use super::material::Material;

/// Either kind of webhook configurations.
pub(super) trait Configuration:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// Its webhooks' names, and how each is reached.
    fn webhooks(&self) -> impl Iterator<Item = (&str, &WebhookClientConfig)>;
}

impl Configuration for MutatingWebhookConfiguration {
    fn webhooks(&self) -> impl Iterator<Item = (&str, &WebhookClientConfig)> {
        let webhooks = self.webhooks.iter().flatten();
        webhooks.map(|webhook| (&*webhook.name, &webhook.client_config))
    }
}

impl Configuration for ValidatingWebhookConfiguration {
    fn webhooks(&self) -> impl Iterator<Item = (&str, &WebhookClientConfig)> {
        let webhooks = self.webhooks.iter().flatten();
        webhooks.map(|webhook| (&*webhook.name, &webhook.client_config))
    }
}

/// A configuration that is watched by its name.
pub(super) struct Watched<K> {
    api: Api<K>,
    name: String,
    seen: Seen<K>,
}

impl<K: Configuration> Watched<K> {
    pub(super) fn new(api: Api<K>, name: String) -> Self {
        let seen = Seen::NotYet;
        Self { api, name, seen }
    }

    /// What it is, and becomes.
    pub(super) fn events(
        &self,
    ) -> impl Stream<Item = Result<Option<K>, watcher::Error>> + Send + use<K> {
        watch_object(self.api.clone(), &self.name).default_backoff()
    }

    /// What an event said.
    pub(super) fn seen(&mut self, event: Result<Option<K>, watcher::Error>) {
        match event {
            Ok(seen) => self.seen = Seen::new(seen),
            Err(error) => {
                let (kind, name) = (K::kind(&()), &self.name);
                tracing::warn!(%error, %kind, name, "a webhook configuration cannot be watched");
            }
        }
    }

    /// Whether every caBundle is as `material` has it, as far as was seen. Where there is no
    /// configuration, nobody asks us.
    pub(super) fn is_current(&self, material: &Material) -> bool {
        match &self.seen {
            Seen::NotYet => false,
            Seen::Absent => true,
            Seen::There(configuration) => wrong(&**configuration, material).is_empty(),
        }
    }

    /// Writes the caBundles that are not as `material` has them. False where none was.
    pub(super) async fn write(&mut self, material: &Material) -> Result<bool, kube::Error> {
        let Seen::There(configuration) = &self.seen else {
            return Ok(false);
        };
        let wrong = wrong(&**configuration, material);
        if wrong.is_empty() {
            return Ok(false);
        }
        let bundle = STANDARD.encode(material.bundle());
        let webhooks: Vec<_> = wrong
            .into_iter()
            .map(|name| json!({"name": name, "clientConfig": {"caBundle": bundle}}))
            .collect();
        let patch = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()),
            "metadata": {"name": self.name},
            "webhooks": webhooks,
        });
        let params = PatchParams::apply(names::WEBHOOK_MANAGER).force();
        let patch = Patch::Apply(patch);
        let written = self.api.patch(&self.name, &params, &patch).await?;
        self.seen = Seen::There(Box::new(written));
        tracing::info!(kind = %K::kind(&()), configuration = self.name, "caBundle written");
        Ok(true)
    }
}

/// The webhooks whose caBundle is not `material`'s.
fn wrong<'a>(configuration: &'a impl Configuration, material: &Material) -> Vec<&'a str> {
    let wanted = material.bundle();
    let wrong = configuration.webhooks().filter(|(_, client)| {
        let bundle = client.ca_bundle.as_ref();
        bundle.is_none_or(|bundle| bundle.0 != wanted.as_bytes())
    });
    wrong.map(|(name, _)| name).collect()
}
