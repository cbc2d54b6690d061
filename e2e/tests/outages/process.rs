//! What a process holds.

use std::fs;

use anyhow::{Context, Result};

/// A process's memory and descriptors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Footprint {
    /// `RssAnon` in KiB.
    pub(crate) memory: usize,
    /// Entries of `/proc/PID/fd`.
    pub(crate) descriptors: usize,
}

impl Footprint {
    /// Now.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .context("RssAnon")?;
        Ok(Self {
            memory: memory.trim().trim_end_matches(" kB").trim().parse()?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count(),
        })
    }
}

/// Whether it still runs.
pub(crate) fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
