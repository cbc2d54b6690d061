//! Conditions with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How many times as long as on a machine with nothing else to do something may take: tests run beside each
/// other, and on machines that others use too.
const BUSY: u32 = 3;

/// Asks until `condition` gives a value: for `BUSY` times `time`, which is what it would take at most on an
/// idle machine. So that it is no measurement of time. An error is a "not yet"; the last one is told if time
/// runs out.
pub fn until<T>(
    what: &str,
    time: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let time = time * BUSY;
    let deadline = Instant::now() + time;
    loop {
        match condition() {
            Ok(Some(value)) => return Ok(value),
            answer if Instant::now() > deadline => {
                let last = answer
                    .err()
                    .map(|error| format!(": {error:#}"))
                    .unwrap_or_default();
                bail!("waited {}s in vain: {what}{last}", time.as_secs())
            }
            // Between two looks at a condition, not instead of one.
            #[allow(clippy::disallowed_methods)]
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
