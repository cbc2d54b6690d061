//! An installation of the gateway in a cluster, made as `docs/gateway.md` says.

use std::time::Duration;

use anyhow::Result;
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::{document, product, wait};

pub(crate) const NAMESPACE: &str = "streamway-gateway";
pub(crate) const DEPLOYMENT: &str = "deployment/streamway-gateway";

/// Into a node's containerd.
pub(crate) fn import_image(cluster: &Cluster, node: &str) -> Result<()> {
    let archive = product::archive(&cluster.file(""))?;
    cluster.import(cluster.node(node)?, &archive)
}

/// Puts the sample and what it builds on into a folder, and does what the document says there.
pub(crate) fn install(cluster: &Cluster) -> Result<()> {
    document::prepare(cluster)?;
    write_site(cluster, "site", &[])?;
    as_documented(cluster, "Install")
}

/// Runs the shell of a chapter of the document.
pub(crate) fn as_documented(cluster: &Cluster, chapter: &str) -> Result<()> {
    document::typed(cluster, "docs/gateway.md", chapter)
}

/// An administrator's copy of a sample, with this cluster's API server and names.
pub(crate) fn write_site(cluster: &Cluster, sample: &str, names: &[(&str, &str)]) -> Result<()> {
    let addresses = "https://192.0.2.11:6443,https://192.0.2.12:6443,https://192.0.2.13:6443";
    let url = cluster.url();
    let changes = [names, &[(addresses, url.as_str())]].concat();
    document::copied(cluster, sample, "site", &changes)
}

/// Addresses of the pods that the Service sends clients to.
pub(crate) fn ready(kubectl: &Kubectl) -> Result<Vec<String>> {
    let label = "kubernetes.io/service-name=streamway-gateway";
    let path =
        "jsonpath={range .items[*].endpoints[?(@.conditions.ready==true)]}{.addresses[0]} {end}";
    let args = [
        "get",
        "endpointslices",
        "-n",
        NAMESPACE,
        "-l",
        label,
        "-o",
        path,
    ];
    let told = kubectl.ok(&args)?;
    Ok(told.split_whitespace().map(str::to_owned).collect())
}

/// Waits until the Deployment has two new pods, and none of the pods before is sent clients any more.
pub(crate) fn replaced(kubectl: &Kubectl, before: &[String]) -> Result<()> {
    kubectl.ok(&[
        "rollout",
        "status",
        "-n",
        NAMESPACE,
        DEPLOYMENT,
        "--timeout=55s",
    ])?;
    wait::until("all pods are new", Duration::from_secs(30), || {
        let now = ready(kubectl)?;
        let new = now.len() == 2 && !now.iter().any(|pod| before.contains(pod));
        Ok(new.then_some(()))
    })
}

/// kubectl's flags to go through a pod, by the name that its certificate holds.
pub(crate) fn through(pod: &str) -> [String; 2] {
    [
        format!("--server=https://{pod}:6443"),
        "--tls-server-name=gateway.example.com".to_owned(),
    ]
}
