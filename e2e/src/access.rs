//! The stream proxy's access log, of either role.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use crate::wait;

/// The access log of one stream proxy: lines of its log.
#[derive(Debug, Clone)]
pub struct AccessLog {
    log: PathBuf,
}

impl AccessLog {
    /// In the log of a stream proxy that runs with `--logging-format json`.
    pub fn of(log: PathBuf) -> Self {
        Self { log }
    }

    /// All its lines.
    pub fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines
            .filter(|line: &Value| line["target"] == "access")
            .collect()
    }

    /// Waits until there are `count` ended sessions of a subresource, and tells them.
    pub fn sessions(&self, subresource: &str, count: usize) -> Result<Vec<Value>> {
        let is = |line: &Value, name: &str, value: &str| {
            line.get(name).and_then(Value::as_str) == Some(value)
        };
        wait::until(
            "the access log has the session",
            Duration::from_secs(10),
            || {
                let mut sessions = self.lines();
                sessions.retain(|line| {
                    is(line, "message", "session") && is(line, "subresource", subresource)
                });
                Ok((sessions.len() >= count).then_some(sessions))
            },
        )
    }
}
