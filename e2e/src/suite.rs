//! Several checks on one cluster: bringing one up takes ten seconds, so tests share it.

use std::time::Instant;

use anyhow::Result;

/// Checks that have run.
#[derive(Debug, Default)]
pub struct Suite {
    passed: usize,
    failed: Vec<String>,
}

impl Suite {
    /// Runs a check, and says how it went. The next runs whatever came of it.
    pub fn check(&mut self, name: &str, check: impl FnOnce() -> Result<()>) {
        let start = Instant::now();
        let result = check();
        let time = start.elapsed().as_secs_f64();
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("  ok      {name} ({time:.1}s)");
            }
            Err(error) => {
                println!("  FAILED  {name} ({time:.1}s): {error:#}");
                self.failed.push(name.to_owned());
            }
        }
    }

    /// The end.
    ///
    /// # Panics
    ///
    /// Where a check failed, or none ran.
    #[allow(clippy::panic, reason = "a test's verdict")]
    pub fn verdict(self) {
        println!(
            "  {} checks passed, {} failed",
            self.passed,
            self.failed.len()
        );
        assert!(self.failed.is_empty(), "failed: {}", self.failed.join("; "));
        assert!(self.passed > 0, "no check ran");
    }
}
