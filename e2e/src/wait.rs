//! Conditions with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How much longer than on a machine that has nothing else to do: tests run beside each other, and on
/// machines that others use too.
const BUSY: u32 = 3;

/// Asks until `condition` gives a value, for `time` at most on an idle machine and [`BUSY`] times that on
/// any. An error is a "not yet"; the last one is told if time runs out.
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
