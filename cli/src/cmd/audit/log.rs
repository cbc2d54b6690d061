//! Audit logs of the API server, read for evidence.

use std::path::PathBuf;

use anyhow::{Context, Result};
use streamway_audit::log::AuditLog;

use crate::files;
use crate::progress::Progress;

pub(super) fn read(paths: &[PathBuf]) -> Result<Option<AuditLog>> {
    if paths.is_empty() {
        return Ok(None);
    }
    let progress = Progress::new("audit logs");
    let mut log = AuditLog::default();
    for path in paths {
        let name = path.display().to_string();
        let read = log.read(&name, files::open(path)?);
        read.with_context(|| format!("{name} cannot be read"))?;
        progress.add(1);
    }
    Ok(Some(log))
}
