//! What a cluster has made on the machine, written down before it is made, and how it is unmade.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::run::{self, command};
use crate::wait;

/// The ledger of one cluster, in its folder.
#[derive(Debug, Clone)]
pub struct Ledger {
    folder: PathBuf,
}

/// Something on the machine outside the folder.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item<'a> {
    /// A process, by its number.
    Process(u32),
    /// A network namespace.
    Namespace(&'a str),
    /// A network device.
    Link(&'a str),
    /// A cgroup, of this name under each controller.
    Cgroup(&'a str),
}

impl Ledger {
    /// Of the cluster in `folder`.
    pub fn of(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Writes an item down.
    pub(super) fn note(&self, item: Item<'_>) -> Result<()> {
        let line = match item {
            Item::Process(pid) => format!("process {pid} {}", started(pid).unwrap_or_default()),
            Item::Namespace(name) => format!("namespace {name}"),
            Item::Link(name) => format!("link {name}"),
            Item::Cgroup(name) => format!("cgroup {name}"),
        };
        let path = self.folder.join("ledger");
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        writeln!(file, "{line}").with_context(|| format!("writing {}", path.display()))
    }

    fn lines(&self, kind: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("ledger")).unwrap_or_default();
        let rest = |line: &str| {
            line.strip_prefix(kind)?
                .strip_prefix(' ')
                .map(str::to_owned)
        };
        text.lines().filter_map(rest).collect()
    }

    /// Unmakes everything, in an order that works, and the folder last. Can be repeated.
    pub fn unmake(&self) -> Result<()> {
        wait::until(
            "the cluster's processes end",
            Duration::from_secs(20),
            || {
                let alive = self.processes();
                for pid in &alive {
                    let _ = run::complete(&mut command("kill", ["-9", &pid.to_string()]));
                }
                Ok(alive.is_empty().then_some(()))
            },
        )?;
        for mount in self.mounts() {
            let _ = run::complete(&mut command("umount", ["-l", &mount]));
        }
        for name in self.lines("namespace") {
            let _ = run::complete(&mut command("ip", ["netns", "del", &name]));
        }
        for name in self.lines("link") {
            let _ = run::complete(&mut command("ip", ["link", "del", &name]));
        }
        for path in self.lines("cgroup").iter().flat_map(|name| cgroups(name)) {
            remove_cgroup(&path);
        }
        self.remove_cni_results();
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)
                .with_context(|| format!("removing {}", self.folder.display()))?;
        }
        Ok(())
    }

    /// What is still on the machine.
    pub fn left_over(&self) -> Vec<String> {
        let mut left = Vec::new();
        left.extend(self.processes().iter().map(|pid| format!("process {pid}")));
        left.extend(self.mounts().iter().map(|mount| format!("mount {mount}")));
        for name in self.lines("namespace") {
            if Path::new("/var/run/netns").join(&name).exists() {
                left.push(format!("network namespace {name}"));
            }
        }
        for name in self.lines("link") {
            if Path::new("/sys/class/net").join(&name).exists() {
                left.push(format!("network device {name}"));
            }
        }
        for path in self.lines("cgroup").iter().flat_map(|name| cgroups(name)) {
            left.push(format!("cgroup {}", path.display()));
        }
        left
    }

    /// The processes that were started, those in the cluster's cgroups, and those whose command line
    /// names the folder (containerd's shims).
    fn processes(&self) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        for line in self.lines("process") {
            let (pid, since) = line.split_once(' ').unwrap_or((&line, ""));
            if let Ok(pid) = pid.parse()
                && started(pid).is_some_and(|now| now == since)
            {
                found.insert(pid);
            }
        }
        for path in self.lines("cgroup").iter().flat_map(|name| cgroups(name)) {
            members(&path, &mut found);
        }
        let folder = self.folder.to_string_lossy().into_owned();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
                continue;
            };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            if line.contains("containerd-shim") && line.contains(&folder) {
                found.insert(pid);
            }
        }
        found.remove(&std::process::id());
        found
    }

    /// Mounts in the folder, the innermost first.
    fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let folder = format!("{}/", self.folder.display());
        let points = table.lines().filter_map(|line| line.split(' ').nth(1));
        let mut mounts: Vec<String> = points
            .filter(|point| point.starts_with(&folder))
            .map(str::to_owned)
            .collect();
        mounts.sort();
        mounts.reverse();
        mounts
    }

    /// The CNI library keeps two files for each sandbox: `NETWORK-SANDBOX-eth0`, and
    /// `cni-loopback-SANDBOX-lo`.
    fn remove_cni_results(&self) {
        let folder = Path::new("/var/lib/cni/results");
        for network in self.lines("namespace") {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let rest = name
                    .strip_prefix(&network)
                    .and_then(|rest| rest.strip_prefix('-'));
                let Some(sandbox) = rest.and_then(|rest| rest.strip_suffix("-eth0")) else {
                    continue;
                };
                let _ = fs::remove_file(folder.join(format!("cni-loopback-{sandbox}-lo")));
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// When a process was started, in ticks since boot: with its number, that is one process for ever.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    // A zombie is no process any more.
    if fields.next() == Some("Z") {
        return None;
    }
    fields.nth(18).map(str::to_owned)
}

/// Where the cgroup `name` is, under each controller of version 1, or in version 2's one tree.
pub(super) fn cgroups(name: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let folders = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let places = folders
        .filter(|path| !path.is_symlink())
        .chain([root.to_owned()]);
    places
        .map(|path| path.join(name))
        .filter(|path| path.is_dir())
        .collect()
}

fn members(path: &Path, found: &mut BTreeSet<u32>) {
    let procs = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    found.extend(procs.lines().filter_map(|pid| pid.parse::<u32>().ok()));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            members(&entry.path(), found);
        }
    }
}

fn remove_cgroup(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}
