//! `kubectl streamway doctor`.

use std::io::Write;

use anyhow::Result;
use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::core::v1::Namespace;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use streamway_audit::doctor::{ACCESS_WEBHOOK, Diagnosis, Facts, POLICY};
use streamway_audit::{Origin, Server};

use crate::args::{DoctorArgs, DoctorOutput};
use crate::cluster::{Cluster, Failure};
use crate::exit::Outcome;
use crate::output::{self, Clean};

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const EXEMPTIONS: &str = "/apis/streamway.dev/v1alpha1/accessexemptions";

/// 0 where every namespace denies, 1 where one does not, 2 where not all could be read.
pub(crate) async fn run(args: DoctorArgs) -> Result<Outcome> {
    let cluster = Cluster::connect(&args.connection).await?;
    let mut facts = Facts::default();
    let version = cluster.version().await?;
    if let Err(why) = &version {
        facts.unknown.push(format!("the server's version: {why}"));
    }
    let mut server = Server::of(version.ok());
    match cluster.gates().await {
        Ok(gates) => gates
            .iter()
            .for_each(|(name, enabled)| server.tell(name, *enabled, Origin::Server)),
        // The version's defaults are told as assumed.
        Err(failure) => facts.unknown.push(format!("feature gates: {failure}")),
    }
    read(&cluster, &mut facts).await?;
    let diagnosis = Diagnosis::of(server, facts, Timestamp::now());
    output::to(None, |out| match args.output {
        DoctorOutput::Table => table(&diagnosis, out),
        DoctorOutput::Json => output::json(&diagnosis, out),
        DoctorOutput::Yaml => output::yaml(&diagnosis, out),
    })?;
    Ok(match () {
        () if diagnosis.namespaces.is_empty() => Outcome::Incomplete,
        () if diagnosis.enforced => Outcome::Clean,
        () => Outcome::Findings,
    })
}

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
}

async fn read(cluster: &Cluster, facts: &mut Facts) -> Result<()> {
    let policy = format!("{ADMISSION}/validatingadmissionpolicies/{POLICY}");
    facts.policy = there::<Value>(cluster, &policy, "the policy", facts)
        .await?
        .is_some();
    let bindings = format!("{ADMISSION}/validatingadmissionpolicybindings");
    let bindings: Option<List<ValidatingAdmissionPolicyBinding>> =
        there(cluster, &bindings, "the policy's bindings", facts).await?;
    facts.bindings = bindings.map(|list| list.items).unwrap_or_default();
    let webhook = format!("{ADMISSION}/validatingwebhookconfigurations/{ACCESS_WEBHOOK}");
    facts.webhook = there(cluster, &webhook, "the webhook's configuration", facts).await?;
    let namespaces: Option<List<Namespace>> =
        there(cluster, "/api/v1/namespaces", "namespaces", facts).await?;
    let namespaces = namespaces.into_iter().flat_map(|list| list.items);
    facts.namespaces = namespaces
        .map(|own| {
            let metadata = own.metadata;
            (
                metadata.name.unwrap_or_default(),
                metadata.labels.unwrap_or_default(),
            )
        })
        .collect();
    let exemptions: Option<List<Value>> = there(cluster, EXEMPTIONS, "exemptions", facts).await?;
    let exemptions = exemptions.into_iter().flat_map(|list| list.items);
    facts.exemptions = exemptions
        .filter_map(|own| {
            let text = |pointer| own.pointer(pointer).and_then(Value::as_str);
            let expires = text("/spec/expires")?.parse().ok()?;
            Some((text("/metadata/name")?.to_owned(), expires))
        })
        .collect();
    Ok(())
}

/// An answer; none where there is no such thing. What is refused is told as not known.
async fn there<T: DeserializeOwned>(
    cluster: &Cluster,
    path: &str,
    what: &str,
    facts: &mut Facts,
) -> Result<Option<T>> {
    match cluster.read(path).await {
        Ok(found) => Ok(Some(found)),
        Err(Failure::Refused {
            code: StatusCode::NOT_FOUND,
            ..
        }) => Ok(None),
        Err(failure @ Failure::Refused { .. }) => {
            facts.unknown.push(format!("{what}: {failure}"));
            Ok(None)
        }
        Err(failure) => Err(failure.into()),
    }
}

fn table(diagnosis: &Diagnosis, out: &mut dyn Write) -> Result<()> {
    let server = &diagnosis.server;
    let version = server.version.as_ref().map(ToString::to_string);
    let version = version.unwrap_or_else(|| "of no known version".to_owned());
    writeln!(out, "API server {}", Clean(&version))?;
    for gate in &server.gates {
        let state = if gate.enabled { "on" } else { "off" };
        let origin = match gate.origin {
            Origin::Server => "the server says so",
            Origin::Assumed => "assumed from its version",
            Origin::Flag => "given",
        };
        writeln!(out, "  {} is {state} ({origin})", gate.name)?;
    }
    writeln!(out, "\nThe create check")?;
    for enforcer in &diagnosis.enforcers {
        let mark = if enforcer.active { "active" } else { "-" };
        writeln!(out, "  {mark:6}   {:18} {}", enforcer.name, enforcer.text)?;
    }
    writeln!(out, "\nA session without create, by namespace")?;
    for (action, names) in diagnosis.namespaces.iter().rev() {
        writeln!(
            out,
            "  {:9} {:>5}   {}",
            action.as_str(),
            names.len(),
            some(names)
        )?;
    }
    writeln!(out, "\nNext")?;
    for (place, text) in diagnosis.next.iter().enumerate() {
        writeln!(out, "  {}. {}", place + 1, Clean(text))?;
    }
    if !diagnosis.unknown.is_empty() {
        writeln!(out, "\nNot known")?;
    }
    for text in &diagnosis.unknown {
        writeln!(out, "  {}", Clean(text))?;
    }
    Ok(())
}

/// The first few of many.
fn some(names: &[String]) -> String {
    const MOST: usize = 8;
    let shown: Vec<&str> = names.iter().take(MOST).map(String::as_str).collect();
    let more = names.len().saturating_sub(MOST);
    match more {
        0 => shown.join(", "),
        more => format!("{}, and {more} more", shown.join(", ")),
    }
}
