//! What a document of ours says to type, typed; and the samples that it says to copy.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::install::{self, Kubectl as Which};
use crate::product::repository;
use crate::{image, run};

/// Where a cluster's administrator types.
fn folder(cluster: &Cluster) -> PathBuf {
    cluster.file("install")
}

/// Makes that folder, with `config/` and `kubectl` in it.
pub fn prepare(cluster: &Cluster) -> Result<()> {
    let folder = folder(cluster);
    fs::create_dir_all(&folder)?;
    symlink(repository().join("config"), folder.join("config"))?;
    symlink(install::kubectl(Which::Current)?, folder.join("kubectl"))?;
    Ok(())
}

/// Runs the shell of a chapter of a document. Paths of a control plane node are the cluster's.
pub fn typed(cluster: &Cluster, document: &str, chapter: &str) -> Result<()> {
    let text = fs::read_to_string(repository().join(document))?;
    let text = text
        .split("\n## ")
        .find(|text| text.starts_with(&format!("{chapter}\n")))
        .with_context(|| format!("{document} has no chapter {chapter}"))?;
    let blocks = text.split("```sh\n").skip(1);
    let blocks: Vec<&str> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    ensure!(!blocks.is_empty(), "{chapter} has no shell");
    let script = blocks
        .join("\n")
        .replace("/etc/kubernetes/pki", &cluster.file("").to_string_lossy());
    let folder = folder(cluster);
    let mut shell = Command::new("timeout");
    shell.args(["150", "bash", "-euc", &script]);
    shell.current_dir(&folder);
    shell.env("KUBECONFIG", cluster.kubeconfig());
    shell.env("KUBECACHEDIR", cluster.file("kubectl-cache"));
    let path = std::env::var("PATH")?;
    shell.env("PATH", format!("{}:{path}", folder.display()));
    run::output(&mut shell).map(drop)
}

/// An administrator's copy of a sample (a folder in `config/samples`) in `site`, where `changes` tell
/// what is another on this cluster, each by what the sample says.
pub fn copied(cluster: &Cluster, sample: &str, site: &str, changes: &[(&str, &str)]) -> Result<()> {
    let file = "kustomization.yaml";
    let original = repository().join("config/samples").join(sample);
    let mut text = fs::read_to_string(original.join(file))?;
    let registry = ("registry.example.com/streamway/streamway", image::STREAMWAY);
    for (theirs, ours) in [&registry].into_iter().chain(changes) {
        ensure!(text.contains(theirs), "no {theirs} in sample {sample}");
        text = text.replace(theirs, ours);
    }
    // Kustomize takes no absolute path. There is nothing above the root, so these are.
    let config = repository().join("config").canonicalize()?;
    let config = format!("- {}{}/", "../".repeat(20), config.display());
    let up = "../".repeat(2 + Path::new(sample).components().count() - 1);
    text = text.replace(&format!("- {up}"), &config);
    let folder = folder(cluster).join(site);
    fs::create_dir_all(&folder)?;
    Ok(fs::write(folder.join(file), text)?)
}
