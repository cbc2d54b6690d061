//! Kubernetes' own binaries, built from its published Go module.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::install::place;
use crate::run::{self, command};

/// What can be built; `go mod tidy` keeps the modules of these.
const PROGRAMS: [&str; 5] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubelet",
];

/// The metrics server's version: what `kubectl top` asks.
const METRICS_SERVER: &str = "0.9.0";

/// A binary of a version, from the cache or built: minutes the first time.
pub fn kubernetes(version: &str, program: &str) -> Result<PathBuf> {
    built("kubernetes", version, program, |source, built| {
        module(source, version)?;
        let package = format!("k8s.io/kubernetes/cmd/{program}");
        go_build(source, built, &ldflags(version), &package)
    })
}

/// The metrics server, from the cache or built.
pub fn metrics_server() -> Result<PathBuf> {
    let version = METRICS_SERVER;
    built(
        "metrics-server",
        version,
        "metrics-server",
        |source, built| {
            let module = format!("sigs.k8s.io/metrics-server@v{version}");
            for args in [
                &["mod", "init", "streamway.dev/tools"][..],
                &["get", &module],
            ] {
                run::output(command("go", args.iter().copied()).current_dir(source))?;
            }
            go_build(
                source,
                built,
                "-s -w",
                "sigs.k8s.io/metrics-server/cmd/metrics-server",
            )
        },
    )
}

/// The program of a Go module, from the cache or built: `main` is its main package's folder, beginning with
/// a slash, or empty for the module's own.
pub(crate) fn go_module(program: &str, version: &str, path: &str, main: &str) -> Result<PathBuf> {
    built(program, version, program, |source, built| {
        let module = format!("{path}{main}@v{version}");
        for args in [
            &["mod", "init", "streamway.dev/tools"][..],
            &["get", &module],
        ] {
            run::output(command("go", args.iter().copied()).current_dir(source))?;
        }
        go_build(source, built, "-s -w", &format!("{path}{main}"))
    })
}

/// A program of a project in a version; where the cache lacks it, `build` makes it in an empty
/// folder, at the path that it is given.
fn built(
    project: &str,
    version: &str,
    program: &str,
    build: impl FnOnce(&Path, &Path) -> Result<()>,
) -> Result<PathBuf> {
    let folder = cache::root().join(project).join(format!("v{version}"));
    let path = folder.join(program);
    if path.exists() {
        return Ok(path);
    }
    let _lock = cache::lock(&format!("{project}-{version}"))?;
    if path.exists() {
        return Ok(path);
    }
    if !run::installed("go") {
        bail!(
            "{program} {version} is built from source, and there is no go: install Go 1.26 or later"
        );
    }
    run::step(
        &format!("building {program} {version} (minutes, once)"),
        || {
            fs::create_dir_all(&folder)?;
            let source = tempfile::tempdir()?;
            let built = source.path().join(program);
            build(source.path(), &built)?;
            place(&built, &path)
        },
    )?;
    Ok(path)
}

fn go_build(source: &Path, built: &Path, ldflags: &str, package: &str) -> Result<()> {
    let mut go = command("go", ["build", "-mod=mod", "-o"]);
    go.arg(built).args(["-ldflags", ldflags, package]);
    run::output(go.current_dir(source).env("CGO_ENABLED", "0")).map(drop)
}

/// What `kubectl version` and the version skew checks read.
fn ldflags(version: &str) -> String {
    let package = "k8s.io/component-base/version";
    let mut numbers = version.split('.');
    let (major, minor) = (numbers.next().unwrap_or("1"), numbers.next().unwrap_or("0"));
    format!(
        "-s -w -X {package}.gitVersion=v{version} -X {package}.gitMajor={major} \
         -X {package}.gitMinor={minor}"
    )
}

/// Makes `folder` a module that requires Kubernetes as a tool. Its staging modules are published beside it, as
/// v0.MINOR.PATCH; its own `go.mod` replaces them by folders, which the published module lacks.
fn module(folder: &Path, version: &str) -> Result<()> {
    let kubernetes = format!("k8s.io/kubernetes@v{version}");
    let mut download = command("go", ["mod", "download", "-json", &kubernetes]);
    let told = run::output(download.current_dir(folder))
        .with_context(|| format!("downloading {kubernetes}; is a Go module proxy reachable?"))?;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    let path = told
        .get("GoMod")
        .and_then(|path| path.as_str())
        .context("go mod download did not say where go.mod is")?;
    let upstream = fs::read_to_string(path)?;
    fs::write(folder.join("go.mod"), go_mod(&upstream, version))?;
    let imports: String = PROGRAMS
        .iter()
        .map(|program| format!("\t_ \"k8s.io/kubernetes/cmd/{program}\"\n"))
        .collect();
    let tools = format!("//go:build tools\n\npackage tools\n\nimport (\n{imports})\n");
    write(&folder.join("tools.go"), &tools)?;
    run::output(command("go", ["mod", "tidy", "-e"]).current_dir(folder))?;
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

fn go_mod(upstream: &str, version: &str) -> String {
    let go = upstream
        .lines()
        .find(|line| line.starts_with("go "))
        .unwrap_or("go 1.24");
    let staged = version.strip_prefix("1.").unwrap_or(version);
    let mut text = format!(
        "module streamway.dev/tools\n\n{go}\n\nrequire k8s.io/kubernetes v{version}\n\nreplace (\n"
    );
    let mut modules: Vec<&str> = upstream
        .lines()
        .filter_map(|line| {
            line.trim()
                .trim_start_matches("replace ")
                .split_once(" => ./staging")
        })
        .map(|(module, _)| module.trim())
        .collect();
    modules.sort_unstable();
    modules.dedup();
    for module in modules {
        let _ = writeln!(text, "\t{module} => {module} v0.{staged}");
    }
    text.push_str(")\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staging_modules_are_the_published_ones() {
        let upstream = "module k8s.io/kubernetes\n\ngo 1.26.0\n\nreplace (\n\
            \tk8s.io/api => ./staging/src/k8s.io/api\n\
            \tk8s.io/kubelet => ./staging/src/k8s.io/kubelet\n)\n";
        assert_eq!(
            go_mod(upstream, "1.36.3"),
            "module streamway.dev/tools\n\ngo 1.26.0\n\nrequire k8s.io/kubernetes v1.36.3\n\n\
             replace (\n\tk8s.io/api => k8s.io/api v0.36.3\n\
             \tk8s.io/kubelet => k8s.io/kubelet v0.36.3\n)\n"
        );
    }
}
