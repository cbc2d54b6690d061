//! What kubelets write, and what becomes of it while the webhook changes.

mod faults;
pub(crate) mod kubelets;
pub(crate) mod load;
mod switches;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use streamway_crds::names;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::webhook;
pub(crate) use streamway_e2e::webhook::{CONFIGURATION, Replica, SOON, apply, base};

/// Shortest certificates, so that rotations can be watched.
pub(crate) const FLAGS: [&str; 4] = ["--certificate-duration", "1m", "--ca-duration", "4m"];

/// What the webhook needs, and its configuration.
pub(crate) fn install(kubectl: &Kubectl) -> Result<()> {
    webhook::install(kubectl)?;
    apply(kubectl, CONFIGURATION).map(drop)
}

/// Whether the caBundle holds every CA of the Secret, and nothing else.
pub(crate) fn announced(kubectl: &Kubectl) -> Result<bool> {
    let path = "jsonpath={.webhooks[0].clientConfig.caBundle}";
    let configuration = [
        "get",
        "mutatingwebhookconfiguration",
        names::WEBHOOK_CONFIGURATION,
    ];
    let bundle = kubectl.ok(&[&configuration[..], &["-o", path]].concat())?;
    let secret = secret(kubectl)?;
    let authorities = ["ca.crt", "next-ca.crt", "old-ca.crt"].map(|key| secret.get(key));
    let mut wanted = Vec::new();
    for authority in authorities.into_iter().flatten().filter_map(Value::as_str) {
        wanted.extend(STANDARD.decode(authority)?);
    }
    Ok(!wanted.is_empty() && STANDARD.decode(bundle)? == wanted)
}

/// The Secret's data, in base64.
pub(crate) fn secret(kubectl: &Kubectl) -> Result<Value> {
    let target = [
        "get",
        "secret",
        names::WEBHOOK_SECRET,
        "-n",
        names::SYSTEM_NAMESPACE,
    ];
    let secret = kubectl.ok(&[&target[..], &["-o", "jsonpath={.data}"]].concat())?;
    Ok(serde_json::from_str(&secret)?)
}
