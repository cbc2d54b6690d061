//! Row `audit`: `kubectl streamway audit` beside rbac-tool and kubectl-who-can: what each finds of what is
//! planted, and how long and with how much memory each looks at 10,000 roles and 60,000 bindings.

mod found;

use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use streamway_e2e::cluster::Cluster;
use streamway_e2e::rbac_objects::{self, Size};
use streamway_e2e::{audit_tools, run};

pub(super) const NAME: &str = "audit";

/// How often the memory of a program is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// What a run of a program took.
struct Run {
    time: Duration,
    /// The most memory that was resident.
    bytes: u64,
    errors: String,
}

/// The longest that anything is waited for.
const LONG: Duration = Duration::from_secs(30);

/// Programs that are compared.
struct Tools {
    ours: PathBuf,
    rbac_tool: PathBuf,
    who_can: PathBuf,
}

impl Tools {
    fn ours(&self, cluster: &Cluster, args: &[&str]) -> Command {
        let mut command = Command::new(&self.ours);
        command.arg("audit").args(args).arg("--kubeconfig");
        command.arg(cluster.kubeconfig());
        command.args(["--context", "admin", "--fail-on", "never", "-v"]);
        command
    }
}

pub(super) fn run(program: PathBuf, rounds: usize, quick: bool) -> Result<()> {
    let tools = Tools {
        ours: program,
        rbac_tool: audit_tools::rbac_tool()?,
        who_can: audit_tools::kubectl_who_can()?,
    };
    found::run(&tools)?;
    at_scale(&tools, rounds, quick)
}

fn at_scale(tools: &Tools, rounds: usize, quick: bool) -> Result<()> {
    let size = if quick { Size::SMALL } else { Size::LARGE };
    let cluster = Cluster::builder("bench-audit").up()?;
    let what = format!(
        "making {} roles and {} bindings",
        size.roles + size.cluster_roles,
        size.bindings + size.cluster_bindings
    );
    let runtime = tokio::runtime::Runtime::new()?;
    run::step(&what, || {
        runtime.block_on(rbac_objects::create(&cluster, size))
    })?;
    let rbac_tool = |args: &[&str]| {
        let mut command = Command::new(&tools.rbac_tool);
        command.args(args).env("KUBECONFIG", cluster.kubeconfig());
        command.args(["--cluster-context", "admin"]);
        command
    };
    let who_can = || {
        let mut command = Command::new(&tools.who_can);
        command.args(["get", "pods", "--subresource", "exec", "-A"]);
        command.args(["--context", "admin", "--kubeconfig"]);
        command.arg(cluster.kubeconfig());
        command
    };
    println!(
        "\n{:28} {:>9} {:>9}   told by the program",
        "program", "s", "MiB"
    );
    let mut best: Vec<f64> = Vec::new();
    let table = || tools.ours(&cluster, &[]);
    let json = || tools.ours(&cluster, &["-o", "json"]);
    let rbac_who_can = || rbac_tool(&["who-can", "get", "pods/exec"]);
    let analysis = || rbac_tool(&["analysis"]);
    let programs: [(_, _, &dyn Fn() -> Command); 5] = [
        ("audit -o table", rounds, &table),
        ("audit -o json", rounds, &json),
        ("rbac-tool who-can", rounds, &rbac_who_can),
        ("rbac-tool analysis", rounds, &analysis),
        // It asks about every namespace, five times a second.
        ("kubectl-who-can -A", 1, &who_can),
    ];
    for (name, rounds, command) in programs {
        let runs: Result<Vec<Run>> = (0..rounds).map(|_| measured(&mut command())).collect();
        let mut runs = runs.with_context(|| name.to_owned())?;
        runs.sort_by_key(|run| run.time);
        let middle = runs.get(runs.len() / 2).context("no round")?;
        let seconds = middle.time.as_secs_f64();
        let told: Vec<_> = middle
            .errors
            .lines()
            .filter(|line| line.starts_with("time:"))
            .collect();
        println!(
            "{name:28} {seconds:>9.2} {:>9}   {}",
            middle.bytes >> 20,
            told.join(", ")
        );
        best.push(seconds);
    }
    if let [table, _, who_can, analysis, ..] = best[..] {
        println!(
            "audit/who-can {:.2}, audit/analysis {:.2}",
            table / who_can,
            table / analysis
        );
    }
    Ok(())
}

/// Runs a program to its end, and throws away what it prints.
fn measured(command: &mut Command) -> Result<Run> {
    let start = Instant::now();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut pipe = child.stderr.take().context("no stderr")?;
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).map(|_| text)
    });
    let status = format!("/proc/{}/status", child.id());
    let mut bytes = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        // Gone between the two looks.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        bytes = bytes.max(most_resident(&text).unwrap_or_default());
        #[allow(
            clippy::disallowed_methods,
            reason = "a look every few milliseconds, until it ends"
        )]
        std::thread::sleep(LOOK);
    };
    let time = start.elapsed();
    let errors = errors.join().unwrap_or_else(|_| Ok(String::new()))?;
    ensure!(
        ended.success(),
        "{command:?}: {ended}: {}",
        run::tail(&errors, 5)
    );
    Ok(Run {
        time,
        bytes,
        errors,
    })
}

/// `VmHWM:     1234 kB`.
fn most_resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib << 10)
}
