//! Processes on a node: what runs in its pods on the host's network, seen from outside of them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::{Cluster, Node};
use crate::run;

impl Cluster {
    /// The processes in a node's network whose command line, with spaces between its arguments, begins
    /// so.
    pub fn processes(&self, node: &Node, command: &str) -> Result<Vec<u32>> {
        let namespace = Path::new("/var/run/netns").join(self.namespace(node));
        let network = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
        let wanted = network(&namespace).with_context(|| namespace.display().to_string())?;
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let path = entry?.path();
            let pid = path.file_name().and_then(|name| name.to_str());
            let Some(pid) = pid.and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // One that ends meanwhile is not there.
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let here = network(&path.join("ns/net")).is_ok_and(|own| own == wanted);
            if here && line.starts_with(command) {
                found.push(pid);
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Sends a signal, such as `-STOP`, to the processes of a node's that
    /// [`processes`](Self::processes) finds, one at least.
    pub fn signal_on(&self, node: &Node, command: &str, signal: &str) -> Result<()> {
        let found = self.processes(node, command)?;
        ensure!(!found.is_empty(), "{} runs no {command:?}", node.name);
        let pids = found.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut kill = run::command("kill", [signal]);
        run::output(kill.args(&pids)).map(drop)
    }
}
