//! The tests on real clusters, a few at once: each has clusters of its own, and mostly waits for them.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use cargo_metadata::Message;

use crate::binary;

/// The longest, which begin first.
const LONG: [&str; 8] = [
    "rollout_faults",
    "webhook",
    "rollout",
    "agent",
    "gateway_verbs",
    "left_behind",
    "promises",
    "install",
];

/// Those that load the machine by themselves, with 500 watches and 200 streams, or 1,150 sessions: others
/// would not be in time beside them. They run after the others, one by one.
const ALONE: [&str; 2] = ["gateway_outages", "rollout_sessions"];

/// The feature that the tests on real clusters are behind.
pub(super) const CLUSTERS: &str = "streamway-e2e/clusters";

/// Lines of a failed test that are told once more at the end.
const TOLD: usize = 40;

/// A file of tests, built.
struct Tests {
    name: String,
    program: PathBuf,
}

/// Runs them all, whatever fails.
pub(super) fn run(root: &Path, lanes: usize) -> Result<()> {
    let all = built(root)?;
    let count = all.len();
    let alone = |tests: &Tests| ALONE.contains(&&*tests.name);
    let (alone, beside): (VecDeque<_>, VecDeque<_>) = all.into_iter().partition(alone);
    let failed = Mutex::new(Vec::new());
    let logs = tempfile::tempdir()?;
    let folder = root.join("e2e");
    let lane = |queue: &Mutex<VecDeque<Tests>>| {
        loop {
            // On its own, or the queue would stay locked while the tests run.
            let next = lock(queue).pop_front();
            let Some(tests) = next else { break };
            println!("running {}", tests.name);
            let log = logs.path().join(&tests.name);
            let start = Instant::now();
            let passed = one(&tests, &folder, &log);
            let time = start.elapsed().as_secs();
            match passed {
                Ok(told) => println!("passed  {} ({time} s): {told}", tests.name),
                Err(error) => {
                    let text = fs::read(&log).unwrap_or_default();
                    let text = String::from_utf8_lossy(&text);
                    let what = format!("FAILED  {} ({time} s): {error:#}", tests.name);
                    println!("{text}\n{what}");
                    lock(&failed).push((what, checks(&text)));
                }
            }
        }
    };
    let (beside, alone) = (Mutex::new(beside), Mutex::new(alone));
    std::thread::scope(|scope| {
        for _ in 0..lanes.max(1) {
            scope.spawn(|| lane(&beside));
        }
    });
    lane(&alone);
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Once more at the end, where whoever reads a log begins.
    for (what, told) in &failed {
        println!("{what}\n{told}");
    }
    ensure!(failed.is_empty(), "{} of {count} failed", failed.len());
    println!("{count} of {count} files of tests on real clusters passed");
    Ok(())
}

/// Runs one as cargo would, with what it prints in a file. Its counts.
fn one(tests: &Tests, folder: &Path, log: &Path) -> Result<String> {
    let output = File::create(log)?;
    let status = Command::new(&tests.program)
        .current_dir(folder)
        // A check that fails says what it saw; where in the test tells nothing more.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stderr(output.try_clone()?)
        .stdout(output)
        .status()
        .with_context(|| tests.program.display().to_string())?;
    ensure!(status.success(), "{status}");
    let text = fs::read_to_string(log)?;
    let counts = text.lines().rfind(|line| line.starts_with("test result: "));
    let counts = counts.context("it tells no result")?;
    Ok(counts.trim_start_matches("test result: ok. ").to_owned())
}

/// Of a test's output, what its checks said, but for those that passed. No more than [`TOLD`] lines.
fn checks(text: &str) -> String {
    let logs = text.find("the ends of its cluster's logs");
    let text = text.get(..logs.unwrap_or(text.len())).unwrap_or(text);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with("  ok ") && !line.trim().is_empty())
        .collect();
    lines
        .split_at(lines.len().saturating_sub(TOLD))
        .1
        .join("\n")
}

/// Builds them, and tells where they are: the long ones first.
fn built(root: &Path) -> Result<Vec<Tests>> {
    let mut build = binary::command(root)
        .args(["test", "--workspace", "--features", CLUSTERS])
        .args(["--no-run", "--quiet"])
        .args(["--message-format", "json-render-diagnostics"])
        .stdout(Stdio::piped())
        .spawn()
        .context("starting cargo")?;
    let output = build.stdout.take().context("cargo has no output")?;
    let folder = root.join("e2e");
    let mut all = Vec::new();
    for message in Message::parse_stream(std::io::BufReader::new(output)) {
        let Message::CompilerArtifact(artifact) = message? else {
            continue;
        };
        let ours = artifact.manifest_path == folder.join("Cargo.toml");
        if let (true, true, Some(program)) = (ours, artifact.profile.test, artifact.executable) {
            all.push(Tests {
                name: artifact.target.name,
                program: program.into(),
            });
        }
    }
    ensure!(build.wait()?.success(), "the tests cannot be built");
    ensure!(!all.is_empty(), "there are no tests on real clusters");
    let place = |tests: &Tests| {
        let place = LONG.iter().position(|name| *name == tests.name);
        (place.unwrap_or(LONG.len()), tests.name.clone())
    };
    all.sort_by_key(place);
    Ok(all)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A lane that panics ends the run.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
