//! Baseline files.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use streamway_audit::{Baseline, Report};

pub(super) fn read(path: Option<&Path>) -> Result<Option<Baseline>> {
    let Some(path) = path else { return Ok(None) };
    let named = || format!("the baseline {} cannot be used", path.display());
    let text = fs::read_to_string(path).with_context(named)?;
    let baseline: Baseline = serde_saphyr::from_str(&text).with_context(named)?;
    baseline.check().with_context(named)?;
    Ok(Some(baseline))
}

pub(super) fn write(path: &Path, report: &Report, reason: &str, until: Option<Date>) -> Result<()> {
    let named = || format!("the baseline {} cannot be written", path.display());
    let baseline = Baseline::of(report, reason, until);
    baseline.check().with_context(named)?;
    let text = serde_saphyr::to_string(&baseline).with_context(named)?;
    fs::write(path, text).with_context(named)?;
    crate::output::note(&format!(
        "{} findings are in {}",
        baseline.accepted.len(),
        path.display()
    ));
    Ok(())
}

/// The day it is in UTC, so that an entry ends everywhere at once.
pub(super) fn today() -> Date {
    Timestamp::now().to_zoned(TimeZone::UTC).date()
}
