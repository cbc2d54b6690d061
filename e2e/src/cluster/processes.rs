//! Processes of pods, seen from outside of them.

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
        running(command, |process| {
            network(&process.join("ns/net")).is_ok_and(|own| own == wanted)
        })
    }

    /// Sends a signal, such as `-STOP`, to the processes of a node's that
    /// [`processes`](Self::processes) finds, one at least.
    pub fn signal_on(&self, node: &Node, command: &str, signal: &str) -> Result<()> {
        send(signal, &self.processes(node, command)?)
            .with_context(|| format!("{command:?} on {}", node.name))
    }

    /// The same to processes of a pod, by its UID.
    pub fn signal_in_pod(&self, uid: &str, command: &str, signal: &str) -> Result<()> {
        let group = format!("/pod{uid}/");
        let found = running(command, |process| {
            fs::read_to_string(process.join("cgroup")).is_ok_and(|groups| groups.contains(&group))
        })?;
        send(signal, &found).with_context(|| format!("{command:?} in pod {uid}"))
    }
}

/// The processes whose command line begins so, of those that `wanted` says of their folders in `/proc`.
fn running(command: &str, wanted: impl Fn(&Path) -> bool) -> Result<Vec<u32>> {
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
        if line.starts_with(command) && wanted(&path) {
            found.push(pid);
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn send(signal: &str, pids: &[u32]) -> Result<()> {
    ensure!(!pids.is_empty(), "no such process runs");
    let pids = pids.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut kill = run::command("kill", [signal]);
    run::output(kill.args(&pids)).map(drop)
}
