//! What a user does with kubectl, and which protocol each leg spoke: the demo shows these, the tests
//! assert them.

mod forward;
mod terminal;

use std::fs;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::access::AccessLog;
use crate::cluster::Cluster;
use crate::image;
use crate::kubectl::{Ended, Kubectl};

/// What a check saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What was done.
    pub what: String,
    /// kubectl's leg, by its own log.
    pub client: String,
    /// How many of the API server's streams went to the node as they were
    /// (`apiserver_websocket_streaming_requests_total{proxy_type="proxied_to_kubelet"}`); of no meaning
    /// behind a gateway.
    pub proxied: u64,
    /// The stream proxy's two legs, by its access log: the gateway's where kubectl talks to one, else
    /// the node's.
    pub node: String,
    /// What came of it, by the access log.
    pub outcome: String,
}

/// A node whose sessions are checked; or a gateway, where `kubectl` talks to one.
#[derive(Debug, Clone, Copy)]
pub struct On<'a> {
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The node's name; the pod `box-NODE` runs on it.
    pub node: &'a str,
    /// The kubectl that is used.
    pub kubectl: &'a Kubectl,
}

impl On<'_> {
    fn pod(&self) -> String {
        format!("box-{}", self.node)
    }

    fn access_log(&self) -> AccessLog {
        let gateway = self.kubectl.gateway().cloned();
        gateway.unwrap_or_else(|| self.cluster.node_access_log(self.node))
    }

    /// Runs `action`, and reads from the API server's and the proxy's accounts what it did there.
    fn observe(
        &self,
        subresource: &str,
        what: &str,
        action: impl FnOnce() -> Result<String>,
    ) -> Result<Seen> {
        let access_log = self.access_log();
        let sessions = |count| access_log.sessions(subresource, count);
        let before = self.cluster.streaming_requests("proxied_to_kubelet")?;
        let count = sessions(0)?.len();
        let log = action().with_context(|| what.to_owned())?;
        let last = sessions(count + 1)?.pop().unwrap_or_default();
        let field = |name: &str| {
            last.get(name)
                .and_then(|value| value.as_str())
                .unwrap_or_default()
                .to_owned()
        };
        Ok(Seen {
            what: what.to_owned(),
            client: client_leg(&log),
            proxied: self.cluster.streaming_requests("proxied_to_kubelet")? - before,
            node: format!(
                "{} → {}",
                field("client_protocol"),
                field("upstream_protocol")
            ),
            outcome: field("outcome"),
        })
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Result<Ended> {
        self.kubectl.run(&[&["-v=6"][..], args].concat(), input)
    }

    /// `exec` with output on both channels and an exit code.
    pub fn exit_code(&self) -> Result<Seen> {
        self.observe("exec", "exec, exit code 7", || {
            let script = "echo out; echo err >&2; exit 7";
            let ended = self.run(&["exec", &self.pod(), "--", "sh", "-c", script], b"")?;
            ensure!(
                ended.code == 7,
                "exit code {}: {}",
                ended.code,
                ended.stderr
            );
            ensure!(ended.stdout == b"out\n", "stdout {:?}", ended.stdout);
            ensure!(ended.stderr.contains("\nerr\n"), "stderr {}", ended.stderr);
            Ok(ended.stderr)
        })
    }

    /// `exec -i` with megabytes of stdin, and its end.
    pub fn stdin(&self) -> Result<Seen> {
        self.observe("exec", "exec -i, 8 MiB of stdin", || {
            let data = noise(8 << 20);
            let ended = self.run(&["exec", "-i", &self.pod(), "--", "sha256sum"], &data)?;
            let told = String::from_utf8_lossy(&ended.stdout).into_owned();
            ensure!(told.starts_with(&sha256(&data)), "{told} {}", ended.stderr);
            Ok(ended.stderr)
        })
    }

    /// `exec -it` in a terminal that is resized.
    pub fn terminal(&self) -> Result<Seen> {
        self.observe("exec", "exec -it, resized", || {
            terminal::resized(self.kubectl, &self.pod())
        })
    }

    /// `attach -i` to a process that answers and ends.
    pub fn attach(&self) -> Result<Seen> {
        let name = format!("attached-{}", self.node);
        let pod = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default}}\nspec:\n  \
             nodeName: \"{}\"\n  automountServiceAccountToken: false\n  restartPolicy: Never\n  \
             terminationGracePeriodSeconds: 0\n  tolerations: [{{operator: Exists}}]\n  containers:\n  \
             - {{name: c, image: \"{}\", imagePullPolicy: Never, stdin: true, stdinOnce: true, \
             command: [sh, -c, 'while read line; do echo got $line; done']}}\n",
            self.node,
            image::NAME
        );
        self.kubectl.apply(&pod)?;
        let target = format!("pod/{name}");
        self.kubectl
            .ok(&["wait", &target, "--for=condition=Ready", "--timeout=50s"])?;
        let seen = self.observe("attach", "attach -i", || {
            let ended = self.run(&["attach", "-i", &name], b"one\ntwo\n")?;
            let told = String::from_utf8_lossy(&ended.stdout).into_owned();
            ensure!(
                told.contains("got one\ngot two\n"),
                "{told} {}",
                ended.stderr
            );
            ensure!(
                ended.code == 0,
                "exit code {}: {}",
                ended.code,
                ended.stderr
            );
            Ok(ended.stderr)
        });
        self.kubectl.ok(&["delete", "pod", &name, "--wait=false"])?;
        seen
    }

    /// `cp` to the pod and back.
    pub fn copy(&self) -> Result<[Seen; 2]> {
        let folder = tempfile::tempdir()?;
        let (here, back) = (folder.path().join("here"), folder.path().join("back"));
        let data = noise(16 << 20);
        fs::write(&here, &data)?;
        let there = format!("{}:tmp/there", self.pod());
        let up = self.observe("exec", "cp to the pod, 16 MiB", || {
            let ended = self.run(&["cp", &here.to_string_lossy(), &there], b"")?;
            ensure!(ended.code == 0, "{}", ended.stderr);
            Ok(ended.stderr)
        })?;
        let sum = self
            .kubectl
            .ok(&["exec", &self.pod(), "--", "sha256sum", "/tmp/there"])?;
        ensure!(sum.starts_with(&sha256(&data)), "the copy differs: {sum}");
        let down = self.observe("exec", "cp from the pod, 16 MiB", || {
            let ended = self.run(&["cp", &there, &back.to_string_lossy()], b"")?;
            ensure!(ended.code == 0, "{}", ended.stderr);
            ensure!(
                sha256(&fs::read(&back)?) == sha256(&data),
                "the copy differs"
            );
            Ok(ended.stderr)
        })?;
        Ok([up, down])
    }

    /// Has the pod serve the page that `forward` fetches, on port 8080.
    pub fn serve(&self) -> Result<()> {
        forward::serve(self.kubectl, &self.pod())
    }

    /// `port-forward` as below, on a node with no stream proxy.
    pub fn forward(&self) -> Result<()> {
        self.serve()?;
        forward::connections(self.kubectl, &self.pod()).map(drop)
    }

    /// `port-forward` with several connections at once, and a port that refuses.
    pub fn port_forward(&self) -> Result<Seen> {
        self.serve()?;
        self.observe(
            "portforward",
            "port-forward, 8 connections, 1 refused",
            || forward::connections(self.kubectl, &self.pod()),
        )
    }

    /// All of them.
    pub fn all(&self) -> Result<Vec<Seen>> {
        let [up, down] = self.copy()?;
        Ok(vec![
            self.exit_code()?,
            self.stdin()?,
            self.terminal()?,
            self.attach()?,
            up,
            down,
            self.port_forward()?,
        ])
    }
}

/// What kubectl's log says of its own leg (1.37, `-v=6`).
fn client_leg(log: &str) -> String {
    let told = |words: &str| {
        let line = log.lines().rev().find(|line| line.contains(words))?;
        line.split("protocol=\"").nth(1)?.split('"').next()
    };
    if log.contains("fallback") {
        "SPDY (fallback)".to_owned()
    } else if let Some(protocol) = told("Subprotocol negotiated") {
        format!("WebSocket {protocol}")
    } else if let Some(protocol) = told("Negotiation complete") {
        // client-go leaves the prefix out.
        format!("WebSocket SPDY/3.1+{protocol}")
    } else {
        "SPDY".to_owned()
    }
}

/// Bytes that do not compress and are always the same.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len).collect()
}

/// In hex.
pub fn sha256(data: &[u8]) -> String {
    Sha256::digest(data)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
