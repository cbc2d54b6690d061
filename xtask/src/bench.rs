//! `cargo xtask bench`: ours, upstream's translator and haproxy, side by side.

mod access;
mod audit;
mod rollout;
mod rows;
mod servers;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use streamway_e2e::run::{self, command};

use crate::binary;
use rows::{Load, Row};
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
    /// Only rows whose names begin so, by comma: `gw` is all of the gateway's, `rollout` the controller's,
    /// `access` what a session's `create` costs, `audit` that of kubectl streamway
    #[arg(long, value_delimiter = ',', value_name = "ROWS")]
    rows: Vec<String>,
    /// Another build of streamproxy to measure
    #[arg(long, value_name = "FILE")]
    ours: Option<PathBuf>,
    /// Another build of the controller to measure
    #[arg(long, value_name = "FILE")]
    controller: Option<PathBuf>,
    /// Another build of the webhook to measure
    #[arg(long, value_name = "FILE")]
    webhook: Option<PathBuf>,
    /// Another build of kubectl-streamway to measure
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// Also write every figure of every round to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> Result<()> {
    let wanted = |row: &str| {
        args.rows.is_empty() || args.rows.iter().any(|name| row.starts_with(name.as_str()))
    };
    if wanted(access::NAME) {
        let program = match &args.webhook {
            Some(path) => path.clone(),
            None => binary::program("webhook", true)?,
        };
        access::run(&program, args.quick)?;
    }
    if wanted(rollout::NAME) {
        let program = match &args.controller {
            Some(path) => path.clone(),
            None => binary::program("controller", true)?,
        };
        rollout::run(program, args.quick)?;
    }
    if wanted(audit::NAME) {
        let program = match &args.audit {
            Some(path) => path.clone(),
            None => binary::kubectl_streamway()?,
        };
        let rounds = if args.quick { 1 } else { args.rounds.max(1) };
        audit::run(program, rounds, args.quick)?;
    }
    let alone = [access::NAME, rollout::NAME, audit::NAME];
    let alone = |name: &String| alone.iter().any(|row| row.starts_with(name.as_str()));
    if !args.rows.is_empty() && args.rows.iter().all(alone) {
        return Ok(());
    }
    side_by_side(args)
}

/// Ours, upstream's translator and haproxy.
fn side_by_side(args: Args) -> Result<()> {
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
    let mut rows = rows::all();
    let names: Vec<&str> = rows.iter().map(|row| row.name).collect();
    let wanted = |row: &Row| args.rows.iter().any(|name| row.name.starts_with(name));
    rows.retain(|row| args.rows.is_empty() || wanted(row));
    if rows.is_empty() {
        bail!("--rows names none of {}", names.join(", "));
    }
    let mut figures: BTreeMap<(&str, Target), Vec<f64>> = BTreeMap::new();
    let mut raw = Vec::new();
    for round in 1..=rounds {
        println!("round {round} of {rounds}");
        let mut measured: BTreeMap<(Load, Target), Value> = BTreeMap::new();
        for row in &rows {
            // In turn, so that a machine whose speed drifts treats all alike.
            for target in Target::all(row.load.before) {
                let told = match measured.entry((row.load, *target)) {
                    Entry::Occupied(told) => told.into_mut(),
                    Entry::Vacant(place) => {
                        let share = if args.quick { 4 } else { 1 };
                        place.insert(servers.load(*target, &row.load.divided(share))?)
                    }
                };
                figures
                    .entry((row.name, *target))
                    .or_default()
                    .push((row.figure)(told));
                raw.push(json!({"round": round, "row": row.name, "target": target.name(), "measured": told}));
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

fn table(rows: &[Row], figures: &BTreeMap<(&str, Target), Vec<f64>>) {
    println!(
        "\n{:17} {:10} {:>10} {:>12} {:>10} {:>10} {:>12}",
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
            "{:17} {:10} {:>10} {:>12} {:>10} {:>10} {:>12}",
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
