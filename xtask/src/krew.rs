//! `cargo xtask krew`: the manifest by which krew installs `kubectl streamway`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Print krew's manifest of a release: `cargo xtask krew --version v0.1.0 --url https://… linux/amd64=FILE …`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The release: v0.1.0
    #[arg(long)]
    version: String,
    /// Where its archives are; their file names follow
    #[arg(long)]
    url: String,
    /// The project's page
    #[arg(long)]
    homepage: String,
    /// A .tar.gz with kubectl-streamway and LICENSE at its root, for each platform: linux/amd64=FILE
    #[arg(required = true, value_name = "PLATFORM=FILE")]
    archives: Vec<String>,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let manifest = manifest(&args)?;
    print!("{}", serde_saphyr::to_string(&manifest)?);
    Ok(())
}

fn manifest(args: &Args) -> Result<Value> {
    // krew's index takes nothing else.
    let semantic = args.version.strip_prefix('v').is_some_and(|rest| {
        let numbers = rest.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = numbers.split('.').map(str::parse::<u32>);
        numbers.clone().count() == 3 && numbers.all(|number| number.is_ok())
    });
    ensure!(semantic, "{:?} is no version like v0.1.0", args.version);
    let platforms: Result<Vec<_>> = args
        .archives
        .iter()
        .map(|own| platform(own, args))
        .collect();
    Ok(json!({
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "streamway"},
        "spec": {
            "version": args.version,
            "homepage": args.homepage,
            // krew's index takes 50 characters at most.
            "shortDescription": "Audit who may exec, attach and port-forward",
            "description": "Finds who may open sessions in pods with get alone, who will break when SPDY \
                goes, and who reaches kubelets by nodes/proxy: on the cluster's own version and gates, in \
                manifests, in CI. Says what enforces the create check, and what to do.\n",
            "caveats": "The audit needs list on roles, clusterroles, rolebindings and \
                clusterrolebindings, and reads nothing else.\n",
            "platforms": platforms?,
        },
    }))
}

fn platform(text: &str, args: &Args) -> Result<Value> {
    let parts = text.split_once('=').and_then(|(platform, file)| {
        let (os, arch) = platform.split_once('/')?;
        Some((os, arch, PathBuf::from(file)))
    });
    let Some((os, arch, file)) = parts else {
        bail!("{text:?} is not of the form linux/amd64=FILE");
    };
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{} names no file", file.display()))?;
    ensure!(name.ends_with(".tar.gz"), "{name} is no .tar.gz");
    let content = std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    let digest = Sha256::digest(&content);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(json!({
        "selector": {"matchLabels": {"os": os, "arch": arch}},
        "uri": format!("{}/{name}", args.url.trim_end_matches('/')),
        "sha256": digest,
        "bin": "kubectl-streamway",
        "files": [{"from": "kubectl-streamway", "to": "."}, {"from": "LICENSE", "to": "."}],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(version: &str, archives: &[&str]) -> Args {
        Args {
            version: version.to_owned(),
            url: "https://example.org/v0.1.0/".to_owned(),
            homepage: "https://example.org".to_owned(),
            archives: archives.iter().map(|&own| own.to_owned()).collect(),
        }
    }

    #[test]
    fn what_krew_needs() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("streamway-linux-amd64.tar.gz");
        std::fs::write(&file, b"abc").unwrap();
        let archive = format!("linux/amd64={}", file.display());
        let manifest = manifest(&args("v0.1.0", &[&archive])).unwrap();
        let platform = &manifest["spec"]["platforms"][0];
        assert_eq!(
            platform["uri"],
            "https://example.org/v0.1.0/streamway-linux-amd64.tar.gz"
        );
        // Of "abc", by FIPS 180-4.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(platform["sha256"], digest);
        assert_eq!(
            platform["selector"]["matchLabels"],
            json!({"os": "linux", "arch": "amd64"})
        );
        // Its lint: the name is the file's, the description is short, the program is in the files.
        let short = manifest["spec"]["shortDescription"].as_str().unwrap();
        assert!(short.len() <= 50, "{short}");
        assert_eq!(platform["bin"], platform["files"][0]["from"]);
    }

    #[test]
    fn mistakes() {
        for (version, archive) in [
            ("0.1.0", "linux/amd64=x.tar.gz"),
            ("v1", "linux/amd64=x.tar.gz"),
            ("v0.1.0", "linux=x.tar.gz"),
            ("v0.1.0", "linux/amd64=x.zip"),
            ("v0.1.0", "linux/amd64=/nowhere/x.tar.gz"),
        ] {
            assert!(
                manifest(&args(version, &[archive])).is_err(),
                "{version} {archive}"
            );
        }
    }
}
