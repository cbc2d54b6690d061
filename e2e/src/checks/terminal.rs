//! kubectl in a terminal that changes its size.

use anyhow::{Result, ensure};

use crate::kubectl::Kubectl;
use crate::run::{self, command};

/// Prints the terminal's size until it is 44 by 122, and ends with 3.
const WATCH: &str =
    "while true; do s=$(stty size); echo \"$s\"; [ \"$s\" = '44 122' ] && exit 3; sleep 0.1; done";

/// Runs it in a pod, from a terminal of another size. kubectl's log.
pub(super) fn resized(kubectl: &Kubectl, pod: &str) -> Result<String> {
    let inner = kubectl.command(&["-v=6", "exec", "-it", pod, "--", "sh", "-c", WATCH]);
    let mut outer = command("python3", ["-c", include_str!("../../data/terminal.py")]);
    outer.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            outer.env(name, value);
        }
    }
    let ended = run::complete(&mut outer)?;
    let seen = String::from_utf8_lossy(&ended.stdout).into_owned();
    ensure!(
        seen.contains("33 101"),
        "the first size did not arrive: {seen}"
    );
    ensure!(
        seen.contains("44 122"),
        "the second size did not arrive: {seen}"
    );
    ensure!(
        seen.contains("exit code 3"),
        "the exit code did not arrive: {seen}"
    );
    Ok(seen)
}
