//! Processes: run to the end, or started and written down.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

/// Runs a command to its end. What it printed to stdout, or an error with what it said.
pub fn output(command: &mut Command) -> Result<String> {
    let output = complete(command)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{}: {}: {}",
            describe(command),
            output.status,
            tail(&text, 20)
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end, whatever that is.
pub fn complete(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null());
    command
        .output()
        .with_context(|| format!("starting {}", describe(command)))
}

/// A command of `program` with `args`.
pub fn command<'a>(program: impl AsRef<Path>, args: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(program.as_ref());
    command.args(args);
    command
}

/// Starts a long-running process whose output goes to the end of `log`. It lives in a process group of its own,
/// so that a Ctrl-C does not take it before its cluster is taken down.
pub fn start(command: &mut Command, log: &Path) -> Result<Child> {
    let file = File::options().create(true).append(true).open(log);
    let file = file.with_context(|| format!("opening {}", log.display()))?;
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0);
    command
        .spawn()
        .with_context(|| format!("starting {}", describe(command)))
}

/// The last `lines` lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..)
        .unwrap_or_default()
        .join("\n")
}

/// The last lines of a file, for an error's text.
pub fn tail_of(path: &Path, lines: usize) -> String {
    std::fs::read(path)
        .map(|bytes| tail(&String::from_utf8_lossy(&bytes), lines))
        .unwrap_or_default()
}

/// Whether a program is on the path.
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin".into(), "/sbin".into()];
    std::env::split_paths(&path)
        .chain(extra)
        .any(|folder| folder.join(program).is_file())
}

fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let args = command.get_args().take(6).map(|arg| arg.to_string_lossy());
    std::iter::once(name.into())
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

/// A step of a long job: says what it does, and how long it took.
pub fn step<T>(what: &str, job: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    print!("  {what} … ");
    let _ = io::stdout().flush();
    let result = job();
    let time = start.elapsed().as_secs_f64();
    match &result {
        Ok(_) => println!("{time:.1}s"),
        Err(_) => println!("failed after {time:.1}s"),
    }
    result.with_context(|| format!("{what} failed"))
}
