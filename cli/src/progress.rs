//! Progress on standard error, where that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A line that tells how far something is, and goes away at the end.
#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// indicatif draws nothing where standard error is no terminal.
    pub(crate) fn new(what: &str) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {human_pos} {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        Self(bar)
    }

    pub(crate) fn add(&self, count: usize) {
        self.0.inc(count as u64);
    }

    /// Tells how many are to come.
    pub(crate) fn left(&self, count: usize) {
        self.0.set_message(format!("({count} to come)"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
