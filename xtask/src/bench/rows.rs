//! The rows of the table: what is loaded, and which figure is told.

use serde_json::Value;

/// What the servers stand before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Before {
    /// A kubelet.
    Kubelet,
    /// An API server that cannot speak WebSockets.
    ApiServer,
}

/// What `peer load` is asked for. Rows of the same load share one run of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Load {
    pub(super) before: Before,
    pub(super) mode: &'static str,
    pub(super) http2: bool,
    pub(super) mib: u32,
    pub(super) sessions: u32,
    pub(super) rounds: u32,
}

/// A row of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) load: Load,
    /// From what the load printed.
    pub(super) figure: fn(&Value) -> f64,
}

pub(super) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |load: Load, figures: &[(&'static str, Figure)]| {
        for (name, (unit, figure)) in figures {
            rows.push(Row {
                name,
                unit,
                load,
                figure: *figure,
            });
        }
    };
    let node = |mode, size| load(Before::Kubelet, mode, false, size);
    add(node("stdout", (512, 8, 0)), &[("stdout-8", CPU_PER_GIB)]);
    add(node("stdout", (256, 1, 0)), &[("stdout-1", CPU_PER_GIB)]);
    add(node("stdin", (512, 8, 0)), &[("stdin-8", CPU_PER_GIB)]);
    add(node("forward", (512, 8, 0)), &[("forward-8", CPU_PER_GIB)]);
    add(node("rate", (0, 4, 800)), &[("session", CPU_MS)]);
    add(
        node("echo", (0, 1, 4000)),
        &[("echo-p50", P50), ("echo-p99", P99)],
    );
    add(node("idle", (0, 1000, 0)), &[("idle", KIB)]);

    let h1 = |mode, size| load(Before::ApiServer, mode, false, size);
    let h2 = |mode, size| load(Before::ApiServer, mode, true, size);
    add(
        h1("stdout", (512, 8, 0)),
        &[("gw-translate-8", CPU_PER_GIB)],
    );
    add(h1("forward", (512, 8, 0)), &[("gw-forward-8", CPU_PER_GIB)]);
    add(h1("rate", (0, 4, 800)), &[("gw-session", CPU_MS)]);
    add(h1("idle", (0, 1000, 0)), &[("gw-session-idle", KIB)]);
    add(h1("list", (1024, 8, 0)), &[("gw-list-h1", CPU_PER_GIB)]);
    add(h2("list", (1024, 8, 0)), &[("gw-list-h2", CPU_PER_GIB)]);
    add(h1("upload", (1024, 8, 0)), &[("gw-upload-h1", CPU_PER_GIB)]);
    add(h2("upload", (1024, 8, 0)), &[("gw-upload-h2", CPU_PER_GIB)]);
    add(
        h1("latency", (0, 1, 8000)),
        &[
            ("gw-get-h1-p50", P50),
            ("gw-get-h1-p99", P99),
            ("gw-get-h1", CPU_US),
        ],
    );
    add(
        h2("latency", (0, 1, 8000)),
        &[
            ("gw-get-h2-p50", P50),
            ("gw-get-h2-p99", P99),
            ("gw-get-h2", CPU_US),
        ],
    );
    add(
        h2("connect", (0, 8, 4000)),
        &[("gw-connect", CPU_MS), ("gw-connect-rate", WALL_MS)],
    );
    add(h1("watch", (0, 1000, 0)), &[("gw-watch-idle-h1", KIB)]);
    add(h2("watch", (0, 1000, 0)), &[("gw-watch-idle-h2", KIB)]);
    add(h1("events", (0, 20, 1000)), &[("gw-event-h1", CPU_US)]);
    add(h2("events", (0, 20, 1000)), &[("gw-event-h2", CPU_US)]);
    rows
}

impl Load {
    /// A part of it. Sessions stay: it is them that a figure is about.
    pub(super) fn divided(self, by: u32) -> Self {
        Self {
            mib: self.mib / by,
            rounds: self.rounds / by,
            ..self
        }
    }
}

const fn load(
    before: Before,
    mode: &'static str,
    http2: bool,
    (mib, sessions, rounds): (u32, u32, u32),
) -> Load {
    Load {
        before,
        mode,
        http2,
        mib,
        sessions,
        rounds,
    }
}

/// A unit, of which less is better, and how to get it.
type Figure = (&'static str, fn(&Value) -> f64);

const CPU_PER_GIB: Figure = ("CPU s/GiB", |told| per(told, "cpu_seconds", "mib", 1024.0));
const CPU_MS: Figure = ("CPU ms", |told| per(told, "cpu_seconds", "sessions", 1e3));
const CPU_US: Figure = ("CPU µs", |told| per(told, "cpu_seconds", "sessions", 1e6));
const WALL_MS: Figure = ("wall ms", |told| per(told, "seconds", "sessions", 1e3));
const P50: Figure = ("µs", |told| number(told, "p50_us"));
const P99: Figure = ("µs", |told| number(told, "p99_us"));
const KIB: Figure = ("KiB each", |told| number(told, "kib_per_session"));

fn per(told: &Value, what: &str, each: &str, unit: f64) -> f64 {
    number(told, what) * unit / number(told, each)
}

fn number(told: &Value, name: &str) -> f64 {
    told.get(name).and_then(Value::as_f64).unwrap_or(0.0)
}
