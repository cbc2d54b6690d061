//! `controller run` as a process beside a cluster, with the rights that `config/` gives it and no more.
//!
//! In a cluster it is a pod; here it is a process with a token of the same ServiceAccount, so that a
//! test needs no node, and can kill it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use streamway_crds::names;

use crate::cluster::Cluster;
use crate::{https, run, wait};

/// Who the controller is to the API server.
pub const USER: &str = "system:serviceaccount:streamway-system:streamway-controller";

/// The controller that the tests run: `$CONTROLLER`, or the one that cargo built beside them.
pub fn program() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("CONTROLLER") {
        return Ok(path.into());
    }
    // target/PROFILE/deps/TEST-HASH
    let test = std::env::current_exe()?;
    let profile = test.ancestors().nth(2).unwrap_or(&test);
    let path = profile.join("controller");
    ensure!(
        path.exists(),
        "there is no {}: cargo build -p streamway-controller, or cargo xtask test",
        path.display()
    );
    Ok(path)
}

/// Everything of `config/` that the controller needs but its pods: kinds, namespaces, rights.
pub fn install(cluster: &Cluster) -> Result<()> {
    let kubectl = cluster.kubectl()?;
    for base in ["system", "controller"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../config/base")
            .join(base);
        kubectl.ok(&[
            "apply",
            "--server-side",
            "--force-conflicts",
            "-k",
            &folder.to_string_lossy(),
        ])?;
    }
    kubectl.wait_for_crds()?;
    let definitions = streamway_crds::definitions()?.len();
    wait::until("the kinds are served", Duration::from_secs(30), || {
        let kinds = kubectl.ok(&["api-resources", "--categories=streamway", "-o", "name"])?;
        Ok((kinds.lines().count() == definitions).then_some(()))
    })
}

/// A kubeconfig with a token of the controller's ServiceAccount.
pub fn kubeconfig(cluster: &Cluster) -> Result<PathBuf> {
    let account = names::CONTROLLER;
    let token = cluster.kubectl()?.ok(&[
        "create",
        "token",
        account,
        "--namespace",
        names::SYSTEM_NAMESPACE,
    ])?;
    let path = cluster.file("controller.kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: \"{}\", certificate-authority: {}}}}}]\n\
         users: [{{name: u, user: {{token: {}}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n",
        cluster.url(),
        cluster.file("ca.crt").display(),
        token.trim()
    );
    fs::write(&path, text)?;
    Ok(path)
}

/// A controller that runs.
#[derive(Debug)]
pub struct Controller<'a> {
    cluster: &'a Cluster,
    name: String,
    pid: u32,
    admin: String,
}

impl<'a> Controller<'a> {
    /// Starts `controller run` with more flags than it needs, and waits until it has seen everything.
    /// `name` is its log's.
    pub fn start(cluster: &'a Cluster, name: &str, flags: &[&str]) -> Result<Self> {
        Self::start_build(cluster, name, program()?, flags)
    }

    /// The same, of another build.
    pub fn start_build(
        cluster: &'a Cluster,
        name: &str,
        program: PathBuf,
        flags: &[&str],
    ) -> Result<Self> {
        // Free now, and nobody else takes ports here in the moment that it takes.
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let mut command = Command::new(program);
        command
            .args(["run", "--metrics-listen", &admin, "--kubeconfig"])
            .arg(kubeconfig(cluster)?)
            .args(flags);
        let pid = cluster.start(name, &mut command)?;
        let started = Self {
            cluster,
            name: name.to_owned(),
            pid,
            admin,
        };
        let ready = wait::until("the controller is ready", Duration::from_secs(60), || {
            // One that ended will not be ready any more.
            let ready = !started.is_alive() || started.get("/readyz")? == "ok";
            Ok(ready.then_some(()))
        });
        let log = || run::tail_of(&cluster.log(name), 10);
        ready.with_context(log)?;
        ensure!(started.is_alive(), "the controller ended: {}", log());
        Ok(started)
    }

    /// Runs it to its end, with these arguments.
    pub fn complete(args: &[&str]) -> Result<Output> {
        run::complete(&mut run::command(program()?, args.iter().copied()))
    }

    /// Whether it leads.
    pub fn leads(&self) -> Result<bool> {
        Ok(self.metric("streamway_leader")? == Some(1.0))
    }

    /// A metric without labels.
    pub fn metric(&self, name: &str) -> Result<Option<f64>> {
        let metrics = self.get("/metrics")?;
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        Ok(metrics.lines().find_map(value))
    }

    /// `/metrics`, whole.
    pub fn metrics(&self) -> Result<String> {
        self.get("/metrics")
    }

    /// Its resident memory, in bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.context("no VmRSS")?.parse::<u64>()? * 1024)
    }

    /// User and system time that it has used.
    pub fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let (_, rest) = stat.rsplit_once(')').context("no stat")?;
        let fields: Vec<u64> = rest
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse().ok())
            .collect();
        // Linux tells them in hundredths of a second.
        Ok(Duration::from_millis(10 * fields.iter().sum::<u64>()))
    }

    /// Kills it as a crash would.
    pub fn kill(self) -> Result<()> {
        self.cluster.kill_named(&self.name)
    }

    /// Asks it to end, and waits until it did.
    pub fn terminate(self) -> Result<()> {
        self.cluster.terminate_named(&self.name)?;
        self.ended(Duration::from_secs(60))
    }

    /// Waits until it ended by itself.
    pub fn ended(&self, time: Duration) -> Result<()> {
        wait::until("the controller ends", time, || {
            Ok((!self.is_alive()).then_some(()))
        })
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.cluster.log(&self.name)).unwrap_or_default()
    }

    fn is_alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // PID (NAME) STATE …; Z is one that ended.
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        state.is_some_and(|state| !state.starts_with('Z'))
    }

    fn get(&self, path: &str) -> Result<String> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(&self.admin)?;
        stream.set_read_timeout(Some(https::PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        Ok(body.to_owned())
    }
}

impl Drop for Controller<'_> {
    fn drop(&mut self) {
        // One that a failed check left behind would go on acting under the next.
        if self.is_alive() {
            let _ = self.cluster.kill_named(&self.name);
        }
    }
}

/// What the API server wrote down of the controller's requests.
#[derive(Debug)]
pub struct Audit {
    folder: tempfile::TempDir,
}

impl Audit {
    /// With the bodies of writes where `bodies` says so.
    pub fn new(bodies: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let level = if bodies { "Request" } else { "Metadata" };
        let policy = format!(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
             - {{level: {level}, users: [\"{USER}\"], verbs: [create, update, patch, delete]}}\n\
             - {{level: Metadata, users: [\"{USER}\"]}}\n\
             - {{level: None}}\n"
        );
        fs::write(folder.path().join("policy.yaml"), policy)?;
        Ok(Self { folder })
    }

    /// Flags of the API server.
    pub fn flags(&self) -> [String; 2] {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        [
            format!("--audit-policy-file={}", path("policy.yaml")),
            format!("--audit-log-path={}", path("audit.log")),
        ]
    }

    /// How long it is, in bytes: it grows with each request.
    pub fn size(&self) -> u64 {
        fs::metadata(self.folder.path().join("audit.log")).map_or(0, |file| file.len())
    }

    /// Everything until now, in the order of their ends.
    pub fn entries(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("audit.log")).unwrap_or_default();
        let lines = text.lines();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}
