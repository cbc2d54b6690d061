//! `cargo xtask bench`: ours, upstream's translator and haproxy, side by side.

mod servers;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use streamway_e2e::run::{self, command};

use crate::binary;
use servers::{Servers, Target};

/// Measure ours, upstream's translator and haproxy side by side; bench/README.md explains the rows.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rounds; the median of each figure is told
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One round of a quarter of the load, to see that it works
    #[arg(long)]
    quick: bool,
    /// Only these rows, by comma
    #[arg(long, value_delimiter = ',', value_name = "ROWS")]
    rows: Vec<String>,
    /// Another build of streamproxy to measure
    #[arg(long, value_name = "FILE")]
    ours: Option<PathBuf>,
    /// Also write every figure of every round to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A row of the table: what is loaded, and which figure is told.
struct Row {
    name: &'static str,
    unit: &'static str,
    mode: &'static str,
    mib: u32,
    sessions: u32,
    rounds: u32,
    figure: fn(&Value) -> f64,
}

fn number(measured: &Value, name: &str) -> f64 {
    measured.get(name).and_then(Value::as_f64).unwrap_or(0.0)
}

fn cpu_per_gib(measured: &Value) -> f64 {
    number(measured, "cpu_seconds") * 1024.0 / number(measured, "mib")
}

const fn row(
    name: &'static str,
    unit: &'static str,
    mode: &'static str,
    (mib, sessions, rounds): (u32, u32, u32),
    figure: fn(&Value) -> f64,
) -> Row {
    Row {
        name,
        unit,
        mode,
        mib,
        sessions,
        rounds,
        figure,
    }
}

const ROWS: [Row; 8] = [
    row("stdout-8", "CPU s/GiB", "stdout", (512, 8, 0), cpu_per_gib),
    row("stdout-1", "CPU s/GiB", "stdout", (256, 1, 0), cpu_per_gib),
    row("stdin-8", "CPU s/GiB", "stdin", (512, 8, 0), cpu_per_gib),
    row(
        "forward-8",
        "CPU s/GiB",
        "forward",
        (512, 8, 0),
        cpu_per_gib,
    ),
    row("session", "CPU ms", "rate", (0, 4, 800), |measured| {
        number(measured, "cpu_seconds") * 1000.0 / number(measured, "sessions")
    }),
    row("echo-p50", "µs", "echo", (0, 1, 4000), |measured| {
        number(measured, "p50_us")
    }),
    row("echo-p99", "µs", "echo", (0, 1, 4000), |measured| {
        number(measured, "p99_us")
    }),
    row("idle", "KiB/session", "idle", (0, 1000, 0), |measured| {
        number(measured, "kib_per_session")
    }),
];

pub(crate) fn run(args: Args) -> Result<()> {
    let (root, target) = binary::workspace()?;
    let ours = match args.ours {
        Some(path) => path,
        None => binary::streamproxy(true)?,
    };
    let peer = target.join("bench-peer");
    run::step("building upstream's parts", || {
        let mut go = command("go", ["build", "-o"]);
        go.arg(&peer)
            .arg(".")
            .current_dir(root.join("bench/peer"))
            .env("CGO_ENABLED", "0");
        run::output(&mut go).map(drop)
    })?;
    install_haproxy()?;
    let servers = Servers::start(ours, peer)?;
    let rounds = if args.quick { 1 } else { args.rounds.max(1) };
    let rows: Vec<&Row> = ROWS
        .iter()
        .filter(|row| {
            args.rows.is_empty() || args.rows.iter().any(|name| row.name.starts_with(name))
        })
        .collect();
    if rows.is_empty() {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        bail!("--rows names none of {}", names.join(", "));
    }
    let mut figures: BTreeMap<(&str, Target), Vec<f64>> = BTreeMap::new();
    let mut raw = Vec::new();
    for round in 1..=rounds {
        println!("round {round} of {rounds}");
        let mut measured: BTreeMap<(&str, Target), Value> = BTreeMap::new();
        for row in &rows {
            // In turn, so that a machine whose speed drifts treats all alike.
            for target in Target::ALL {
                if row.mode == "forward" && target == Target::Haproxy {
                    continue;
                }
                // Rows of one mode share its load.
                let key = (row.mode_key(), target);
                if row.mode != "echo" || !measured.contains_key(&key) {
                    let share = if args.quick { 4 } else { 1 };
                    let answer = servers.load(
                        target,
                        row.mode,
                        row.mib / share,
                        row.sessions,
                        row.rounds / share,
                    )?;
                    measured.insert(key, answer);
                }
                let answer = measured.get(&key).cloned().unwrap_or_default();
                figures
                    .entry((row.name, target))
                    .or_default()
                    .push((row.figure)(&answer));
                raw.push(json!({"round": round, "row": row.name, "target": target.name(), "measured": answer}));
            }
        }
    }
    table(&rows, &figures);
    if let Some(path) = args.json {
        std::fs::write(&path, serde_json::to_vec_pretty(&raw)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

impl Row {
    fn mode_key(&self) -> &'static str {
        if self.mode == "echo" {
            "echo"
        } else {
            self.name
        }
    }
}

fn install_haproxy() -> Result<()> {
    if run::installed("haproxy") {
        return Ok(());
    }
    run::step("installing haproxy", || {
        let apt = |args: &[&str]| {
            let mut apt = command("apt-get", args.iter().copied());
            run::output(
                apt.env("DEBIAN_FRONTEND", "noninteractive")
                    .env("RUNLEVEL", "1"),
            )
        };
        apt(&["update", "-q"])?;
        apt(&["install", "-y", "-q", "--no-install-recommends", "haproxy"]).map(drop)
    })
}

fn table(rows: &[&Row], figures: &BTreeMap<(&str, Target), Vec<f64>>) {
    println!(
        "\n{:12} {:12} {:>10} {:>12} {:>10} {:>10} {:>12}",
        "row", "unit", "ours", "translator", "haproxy", "ours/Go", "ours/haproxy"
    );
    for row in rows {
        let middle = |target| figures.get(&(row.name, target)).map(|all| median(all));
        let ours = middle(Target::Ours);
        let show = |figure: Option<f64>| {
            figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.2}"))
        };
        let ratio = |other: Option<f64>| match (ours, other) {
            (Some(ours), Some(other)) if other > 0.0 => format!("{:.2}", ours / other),
            _ => "-".to_owned(),
        };
        let (go, haproxy) = (middle(Target::Translator), middle(Target::Haproxy));
        println!(
            "{:12} {:12} {:>10} {:>12} {:>10} {:>10} {:>12}",
            row.name,
            row.unit,
            show(ours),
            show(go),
            show(haproxy),
            ratio(go),
            ratio(haproxy)
        );
    }
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
