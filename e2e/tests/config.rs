//! What `config/` says, on real API servers: every object is taken as it is, means what it should, and
//! goes again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::kubectl::Kubectl;
use streamway_e2e::suite::Suite;
use streamway_e2e::{CURRENT, OLD_API_SERVER};

const OVERLAYS: [&str; 4] = [
    "gateway-cert-manager",
    "gateway-impersonation",
    "gateway-tokens",
    "gateway",
];
const NAMESPACE: &str = "streamway-gateway";
const ACCOUNT: &str = "system:serviceaccount:streamway-gateway:streamway-gateway";

#[test]
fn manifests_are_applied_and_deleted() {
    for version in [OLD_API_SERVER, CURRENT] {
        let cluster = Cluster::builder("test-config")
            .api_server(version)
            .up()
            .unwrap();
        let kubectl = cluster.kubectl().unwrap();
        let mut suite = Suite::default();
        // On top of each other: an administrator changes from one to another this way.
        for overlay in OVERLAYS {
            suite.check(
                &format!("{version}: {overlay} is applied, the second time to no effect"),
                || applied(&kubectl, overlay),
            );
        }
        suite.check(&format!("{version}: samples are taken"), || {
            samples(&kubectl)
        });
        suite.check("a component for kubelets' rotated certificates", || {
            rotated(&cluster, &kubectl)
        });
        suite.check(
            &format!("{version}: the gateway's account has no right"),
            || no_right(&kubectl),
        );
        suite.check(
            &format!("{version}: it impersonates whom it is told, and nobody else"),
            || impersonates(&kubectl),
        );
        suite.check(&format!("{version}: everything goes again"), || {
            deleted(&kubectl)
        });
        suite.verdict();
    }
}

fn config(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../config")
        .join(path)
}

/// An overlay as it is rendered, without the kinds of cert-manager, which is not here.
fn rendered(overlay: &str) -> Result<String> {
    let path = config(&format!("rendered/{overlay}.yaml"));
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let objects: Vec<&str> = text
        .split("\n---\n")
        .filter(|object| !object.contains("apiVersion: cert-manager.io/"))
        .collect();
    Ok(objects.join("\n---\n"))
}

/// Server-side apply that the API server has nothing to remark on.
fn apply(kubectl: &Kubectl, manifest: &str, flags: &[&str]) -> Result<()> {
    let args = [&["apply", "--server-side", "-f", "-"], flags].concat();
    let ended = kubectl.run(&args, manifest.as_bytes())?;
    ensure!(ended.code == 0, "{}", ended.stderr);
    // A pod that is not `restricted`, a field that is to go.
    ensure!(!ended.stderr.contains("Warning"), "{}", ended.stderr);
    Ok(())
}

/// Name and version of every object of a manifest.
fn versions(kubectl: &Kubectl, manifest: &str) -> Result<String> {
    let path = "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}";
    kubectl.ok_with(&["get", "-f", "-", "-o", path], manifest.as_bytes())
}

fn applied(kubectl: &Kubectl, overlay: &str) -> Result<()> {
    let manifest = rendered(overlay)?;
    apply(kubectl, &manifest, &[])?;
    let first = versions(kubectl, &manifest)?;
    ensure!(first.contains("Deployment/streamway-gateway"), "{first}");
    apply(kubectl, &manifest, &[])?;
    let second = versions(kubectl, &manifest)?;
    ensure!(first == second, "{first}became\n{second}");
    Ok(())
}

fn samples(kubectl: &Kubectl) -> Result<()> {
    let mut taken = 0;
    for entry in fs::read_dir(config("samples"))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path).unwrap_or_default();
        if !text.contains("kind: Ingress") && !text.contains("kind: Service") {
            continue;
        }
        apply(kubectl, &text, &["--dry-run=server"]).with_context(|| path.display().to_string())?;
        taken += 1;
    }
    ensure!(taken == 5, "{taken} samples are objects");

    for site in ["samples/site", "samples/site-impersonation"] {
        let text = kubectl.ok(&["kustomize", &config(site).to_string_lossy()])?;
        ensure!(text.contains("registry.example.com/"), "{text}");
        apply(kubectl, &text, &["--dry-run=server"]).context(site)?;
    }
    Ok(())
}

/// The agents' certificate files with the component and without.
fn rotated(cluster: &Cluster, kubectl: &Kubectl) -> Result<()> {
    let folder = cluster.file("rotated");
    fs::create_dir_all(&folder)?;
    let up = "../".repeat(20);
    let path = |part: &str| config(part).canonicalize();
    let overlay = path("overlays/default")?;
    let component = path("components/kubelet-rotated-certificate")?;
    let text = format!(
        "resources: [{up}{}]\ncomponents: [{up}{}]\n",
        overlay.display(),
        component.display()
    );
    fs::write(folder.join("kustomization.yaml"), text)?;
    let files = |folder: &Path| -> Result<Vec<String>> {
        let rendered = kubectl.ok(&["kustomize", &folder.to_string_lossy()])?;
        let lines = rendered
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- --tls-"));
        Ok(lines.map(str::to_owned).collect())
    };
    let pki = "/var/lib/kubelet/pki";
    let own = [
        format!("cert-file={pki}/kubelet.crt"),
        format!("private-key-file={pki}/kubelet.key"),
    ];
    ensure!(files(&overlay)? == own, "{:?}", files(&overlay)?);
    let both = ["cert-file", "private-key-file"];
    let current = both.map(|flag| format!("{flag}={pki}/kubelet-server-current.pem"));
    ensure!(files(&folder)? == current, "{:?}", files(&folder)?);
    Ok(())
}

/// The account may do what any account may, in the namespace and out of it.
fn no_right(kubectl: &Kubectl) -> Result<()> {
    // What an overlay before had is not in this one, and apply leaves it.
    let name = "streamway-gateway-impersonation";
    kubectl.ok(&["delete", "clusterrole,clusterrolebinding", name])?;
    let rights = |account: &str| {
        let account = format!("--as={account}");
        kubectl.ok(&["auth", "can-i", "--list", "-n", NAMESPACE, &account])
    };
    let any = rights("system:serviceaccount:streamway-gateway:any")?;
    ensure!(any.contains("selfsubjectaccessreviews"), "{any}");
    let own = rights(ACCOUNT)?;
    ensure!(own == any, "{own}instead of\n{any}");
    Ok(())
}

/// With the account's own token: what the API server makes of `Impersonate-*`.
fn impersonates(kubectl: &Kubectl) -> Result<()> {
    apply(kubectl, &rendered("gateway-impersonation")?, &[])?;
    let token = kubectl.ok(&["create", "token", "-n", NAMESPACE, "streamway-gateway"])?;
    let token = format!("--token={token}");
    let run = |command: &[&str], user: &str, groups: &[&str]| {
        let mut args = command.to_vec();
        let user = format!("--as={user}");
        let groups: Vec<String> = groups.iter().map(|g| format!("--as-group={g}")).collect();
        args.extend([token.as_str(), user.as_str()]);
        args.extend(groups.iter().map(String::as_str));
        kubectl.run(&args, b"")
    };
    let told = run(&["auth", "whoami"], "jane", &["developers"])?;
    let text = String::from_utf8_lossy(&told.stdout);
    let is = text.contains("jane") && text.contains("developers");
    ensure!(is, "{told:?}");
    for (user, groups) in [
        ("jane", &["system:masters"][..]),
        ("jane", &["developers", "system:masters"]),
        ("jane", &["system:nodes"]),
        ("admin", &[]),
        ("system:kube-controller-manager", &[]),
    ] {
        let refused = run(&["get", "--raw", "/version"], user, groups)?;
        let forbidden = refused.code != 0 && refused.stderr.contains("cannot impersonate");
        ensure!(forbidden, "{user} {groups:?}: {refused:?}");
    }
    Ok(())
}

fn deleted(kubectl: &Kubectl) -> Result<()> {
    for overlay in OVERLAYS {
        let manifest = rendered(overlay)?;
        // No controller takes the namespace apart here, so nobody waits for that.
        let delete = ["delete", "--ignore-not-found", "--wait=false", "-f", "-"];
        kubectl.ok_with(&delete, manifest.as_bytes())?;
        let get = ["get", "--ignore-not-found", "-o", "name", "-f", "-"];
        let left = kubectl.ok_with(&get, manifest.as_bytes())?;
        ensure!(left.trim() == format!("namespace/{NAMESPACE}"), "{left}");
    }
    Ok(())
}
