//! An installation of the gateway in a cluster, made as `docs/gateway.md` says.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::install::Kubectl as Which;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::product::{self, repository};
use streamway_e2e::{image, run, wait};

pub(crate) const NAMESPACE: &str = "streamway-gateway";
pub(crate) const DEPLOYMENT: &str = "deployment/streamway-gateway";

/// Into a node's containerd.
pub(crate) fn import_image(cluster: &Cluster, node: &str) -> Result<()> {
    let archive = product::archive(&cluster.file(""))?;
    cluster.import(cluster.node(node)?, &archive)
}

/// Puts the sample and what it builds on into a folder, and does what the document says there.
pub(crate) fn install(cluster: &Cluster) -> Result<()> {
    let folder = cluster.file("install");
    write_site(cluster, "site", "gateway", &[])?;
    std::os::unix::fs::symlink(repository().join("config"), folder.join("config"))?;
    let kubectl = streamway_e2e::install::kubectl(Which::Current)?;
    std::os::unix::fs::symlink(kubectl, folder.join("kubectl"))?;
    as_documented(cluster, "Install")
}

/// Runs the shell of a chapter of the document.
pub(crate) fn as_documented(cluster: &Cluster, chapter: &str) -> Result<()> {
    let document = fs::read_to_string(repository().join("docs/gateway.md"))?;
    let text = document
        .split("\n## ")
        .find(|text| text.starts_with(chapter))
        .with_context(|| format!("docs/gateway.md has no chapter {chapter}"))?;
    let blocks = text.split("```sh\n").skip(1);
    let blocks: Vec<&str> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    ensure!(!blocks.is_empty(), "{chapter} has no shell");
    let script = blocks
        .join("\n")
        .replace("/etc/kubernetes/pki", &cluster.file("").to_string_lossy());
    let folder = cluster.file("install");
    let mut shell = Command::new("timeout");
    shell.args(["120", "bash", "-euc", &script]);
    shell.current_dir(&folder);
    shell.env("KUBECONFIG", cluster.kubeconfig());
    let path = std::env::var("PATH")?;
    shell.env("PATH", format!("{}:{path}", folder.display()));
    run::output(&mut shell).map(drop)
}

/// An administrator's copy of a sample, with this cluster's paths and names.
pub(crate) fn write_site(
    cluster: &Cluster,
    sample: &str,
    overlay: &str,
    names: &[(&str, &str)],
) -> Result<()> {
    let file = "kustomization.yaml";
    let mut text = fs::read_to_string(repository().join("config/samples").join(sample).join(file))?;
    let theirs = format!("../../overlays/{overlay}");
    let ours = repository().join("config/overlays").join(overlay);
    // Kustomize takes no absolute path. There is nothing above the root, so this is one.
    let ours = format!("{}{}", "../".repeat(20), ours.canonicalize()?.display());
    let addresses = "https://192.0.2.11:6443,https://192.0.2.12:6443,https://192.0.2.13:6443";
    let own = [
        (theirs.as_str(), ours.as_str()),
        ("registry.example.com/streamway/streamway", image::STREAMWAY),
        (addresses, &cluster.url()),
    ];
    for (theirs, ours) in own.iter().chain(names) {
        ensure!(text.contains(theirs), "no {theirs} in sample {sample}");
        text = text.replace(theirs, ours);
    }
    let folder = cluster.file("install/site");
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(file), text)?)
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
