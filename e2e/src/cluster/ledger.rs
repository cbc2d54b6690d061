//! What a cluster has made on the machine, written down before it is made, and how it is unmade.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::run::{self, command};
use crate::wait;

/// The variable in the environment of a cluster's processes that names the cluster's folder.
pub(crate) const MARK: &str = "STREAMWAY_CLUSTER";

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

    /// Unmakes everything, and the folder last. What cannot be unmade is told, and the folder stays
    /// for the next try.
    pub fn unmake(&self) -> Result<()> {
        let what = format!("the cluster in {} is gone", self.folder.display());
        wait::until(&what, Duration::from_secs(20), || {
            for pid in self.processes() {
                let _ = run::complete(&mut command("kill", ["-9", &pid.to_string()]));
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
            let left = self.left_over();
            ensure!(left.is_empty(), "left behind: {}", left.join(", "));
            Ok(Some(()))
        })?;
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)
                .with_context(|| format!("removing {}", self.folder.display()))?;
        }
        Ok(())
    }

    /// What is still on the machine. Mounts are in the nodes' own mount namespaces, and go with
    /// their processes; routes go with the bridge.
    pub fn left_over(&self) -> Vec<String> {
        let mut left = Vec::new();
        left.extend(self.processes().iter().map(|pid| format!("process {pid}")));
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

    /// The processes that were started, those that were started by them (their environment says so,
    /// also where the maker was killed before it could write them down), and those in the cluster's
    /// cgroups (containers have an environment of their own).
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
        let mark = format!("{MARK}={}", self.folder.display());
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
                continue;
            };
            // A process that ended meanwhile, or a zombie, has none.
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes())
            {
                found.insert(pid);
            }
        }
        found.remove(&std::process::id());
        found
    }
}

/// When a process was started, in ticks since boot: with its number, that is one process for ever.
pub(super) fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    // A zombie is no process any more, but for threads that still hold its files and ports.
    let threads = || fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    if fields.next() == Some("Z") && threads() <= 1 {
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
