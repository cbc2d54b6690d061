//! Runs kubectl, and tells what it said.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::access::AccessLog;
use crate::cluster::MARK;
use crate::install::{self, Kubectl as Which};
use crate::pki::Pair;
use crate::{run, wait};

/// A kubectl that talks to one cluster as one user.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    context: String,
    certificate: Option<Pair>,
    gateway: Option<AccessLog>,
}

/// How a kubectl ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its exit code; -1 for a signal.
    pub code: i32,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained of and logged.
    pub stderr: String,
}

/// The context of a cluster's kubeconfig that has no user.
pub(crate) const NO_USER: &str = "no-user";

/// The longest that one kubectl may take.
const DEADLINE: Duration = Duration::from_secs(60);

impl Kubectl {
    /// `which` kubectl, with a kubeconfig's context.
    pub fn new(which: Which, kubeconfig: PathBuf, context: &str) -> Result<Self> {
        let program = install::kubectl(which)?;
        Ok(Self {
            program,
            kubeconfig,
            context: context.to_owned(),
            certificate: None,
            gateway: None,
        })
    }

    /// The same, as the user of a client certificate.
    pub fn with_certificate(self, certificate: Pair) -> Self {
        Self {
            context: NO_USER.to_owned(),
            certificate: Some(certificate),
            ..self
        }
    }

    /// The same, and its kubeconfig leads to a gateway that has this access log.
    pub(crate) fn through(self, gateway: AccessLog) -> Self {
        Self {
            gateway: Some(gateway),
            ..self
        }
    }

    /// The access log of the gateway that it talks to, if it is one.
    pub fn gateway(&self) -> Option<&AccessLog> {
        self.gateway.as_ref()
    }

    /// Waits until every CustomResourceDefinition that is there is taken.
    pub fn wait_for_crds(&self) -> Result<()> {
        let args = [
            "--for=condition=Established",
            "--timeout=90s",
            "crd",
            "--all",
        ];
        self.ok(&[&["wait"][..], &args].concat()).map(drop)
    }

    /// The command, to be run by the caller.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env_remove("HTTPS_PROXY");
        // One that outlives its caller ends with its cluster.
        if let Some(folder) = self.kubeconfig.parent() {
            command.env(MARK, folder);
            // Clusters that take turns on one address are not the same: none's discovery is another's.
            command.env("KUBECACHEDIR", folder.join("kubectl-cache"));
        }
        command.arg("--context").arg(&self.context);
        if let Some(pair) = &self.certificate {
            command.arg("--client-certificate").arg(&pair.certificate);
            command.arg("--client-key").arg(&pair.key);
        }
        command.args(args);
        command
    }

    /// Runs it to its end, with `input` on stdin. It is killed where it takes too long.
    pub fn run(&self, args: &[&str], input: &[u8]) -> Result<Ended> {
        use std::io::{Read, Write};
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {command:?}"))?;
        let (mut stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // A command that does not read to the end closes early; that is no error here.
                let _ = stdin.take().map(|mut pipe| pipe.write_all(input));
            });
            fn read(pipe: Option<impl Read>) -> Vec<u8> {
                let mut bytes = Vec::new();
                let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
                bytes
            }
            let stdout = scope.spawn(move || read(stdout));
            let stderr = scope.spawn(move || read(stderr));
            let status = wait::until("kubectl ends", DEADLINE, || Ok(child.try_wait()?));
            if status.is_err() {
                let _ = child.kill();
                let _ = child.wait();
            }
            let join = |thread: std::thread::ScopedJoinHandle<'_, Vec<u8>>| {
                thread.join().unwrap_or_default()
            };
            let (stdout, stderr) = (join(stdout), join(stderr));
            let stderr = String::from_utf8_lossy(&stderr).into_owned();
            let status = status.with_context(|| format!("{args:?}: {}", run::tail(&stderr, 10)))?;
            Ok(Ended {
                code: status.code().unwrap_or(-1),
                stdout,
                stderr,
            })
        })
    }

    /// Runs it; an error where it ends with another code than 0.
    pub fn ok(&self, args: &[&str]) -> Result<String> {
        self.ok_with(args, b"")
    }

    /// The same, with `input` on stdin.
    pub fn ok_with(&self, args: &[&str], input: &[u8]) -> Result<String> {
        let ended = self.run(args, input)?;
        if ended.code != 0 {
            bail!(
                "kubectl {args:?} ended with {}: {}",
                ended.code,
                run::tail(&ended.stderr, 10)
            );
        }
        Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
    }

    /// Applies a manifest.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        self.ok_with(&["apply", "-f", "-"], manifest.as_bytes())
            .map(drop)
    }
}
