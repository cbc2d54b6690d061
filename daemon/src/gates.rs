//! Feature gates, in Kubernetes' own syntax: `--feature-gates=Name=true,Other=false`.
//!
//! Rules as in `k8s.io/component-base@v0.36.3/featuregate/feature_gate.go`: the last value of a name
//! wins, `AllAlpha` and `AllBeta` set the gates of their stage that are not set by name, a gate that
//! is on needs those that it depends on.

mod spec;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::{family::Family, gauge::Gauge};
use prometheus_client::registry::Registry;
use thiserror::Error;

use crate::exit::ExitError;

pub use spec::{FeatureGate, Spec, Stage};

/// Which gates are on. Small and `Copy`: hand it to whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureGates {
    /// Bit `gate as u32` is set where the gate is on.
    on: u32,
}

impl FeatureGates {
    /// The values of `--feature-gates`, which may be given several times.
    ///
    /// # Errors
    /// [`GateError`] for a name that is unknown, a value that is no boolean, or a gate that is on
    /// while one that it depends on is off.
    pub fn parse<S: AsRef<str>>(flags: &[S]) -> Result<Self, GateError> {
        let mut named: Vec<(FeatureGate, bool)> = Vec::new();
        let mut stages: Vec<(Stage, bool)> = Vec::new();
        let settings = flags.iter().flat_map(|flag| flag.as_ref().split(','));
        for setting in settings
            .map(str::trim)
            .filter(|setting| !setting.is_empty())
        {
            let (name, value) = setting
                .split_once('=')
                .ok_or_else(|| GateError::MissingValue {
                    name: setting.to_owned(),
                })?;
            let (name, value) = (name.trim(), value.trim());
            let on = parse_bool(value).ok_or_else(|| GateError::BadValue {
                name: name.to_owned(),
                value: value.to_owned(),
            })?;
            match name {
                ALL_ALPHA => stages.push((Stage::Alpha, on)),
                ALL_BETA => stages.push((Stage::Beta, on)),
                _ => match FeatureGate::ALL
                    .into_iter()
                    .find(|gate| gate.name() == name)
                {
                    Some(gate) => named.push((gate, on)),
                    None => return Err(unknown(name)),
                },
            }
        }
        let mut gates = Self::default();
        for (stage, on) in stages {
            for gate in FeatureGate::ALL
                .into_iter()
                .filter(|gate| gate.spec().stage == stage)
            {
                gates.set(gate, on);
            }
        }
        for (gate, on) in named {
            gates.set(gate, on);
        }
        gates.check_dependencies()?;
        Ok(gates)
    }

    /// Whether `gate` is on.
    pub fn enabled(self, gate: FeatureGate) -> bool {
        self.on & (1 << gate as u32) != 0
    }

    /// Registers `streamway_feature_enabled{name,stage}`, 1 for a gate that is on and 0 for one that
    /// is off, like Kubernetes' `kubernetes_feature_enabled`.
    pub fn register(self, registry: &mut Registry) {
        let enabled = Family::<GateLabels, Gauge>::default();
        for gate in FeatureGate::ALL {
            let labels = GateLabels {
                name: gate.name(),
                stage: gate.spec().stage.as_str(),
            };
            enabled
                .get_or_create(&labels)
                .set(self.enabled(gate).into());
        }
        registry.register(
            "streamway_feature_enabled",
            "Feature gates: 1 on, 0 off",
            enabled,
        );
    }

    fn set(&mut self, gate: FeatureGate, on: bool) {
        let bit = 1 << gate as u32;
        self.on = if on { self.on | bit } else { self.on & !bit };
    }

    fn check_dependencies(self) -> Result<(), GateError> {
        for gate in FeatureGate::ALL
            .into_iter()
            .filter(|gate| self.enabled(*gate))
        {
            if let Some(&needs) = gate
                .spec()
                .depends_on
                .iter()
                .find(|gate| !self.enabled(**gate))
            {
                return Err(GateError::Dependency {
                    gate: gate.name(),
                    needs: needs.name(),
                });
            }
        }
        Ok(())
    }
}

impl Default for FeatureGates {
    fn default() -> Self {
        let mut gates = Self { on: 0 };
        for gate in FeatureGate::ALL {
            gates.set(gate, gate.spec().default);
        }
        gates
    }
}

/// Why `--feature-gates` was refused. Messages end in what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GateError {
    /// No gate has this name.
    #[error("unknown feature gate {name:?}; {hint}")]
    Unknown {
        /// What was given.
        name: String,
        /// The nearest name, or where all names stand.
        hint: String,
    },
    /// A name without `=true` or `=false`.
    #[error("feature gate {name:?} has no value; write {name}=true or {name}=false")]
    MissingValue {
        /// What was given.
        name: String,
    },
    /// A value that Go's `strconv.ParseBool` would not take.
    #[error("feature gate {name} cannot be {value:?}; write {name}=true or {name}=false")]
    BadValue {
        /// The gate's name.
        name: String,
        /// What stood after `=`.
        value: String,
    },
    /// A gate is on while one that it depends on is off.
    #[error(
        "feature gate {gate} is on but needs {needs}, which is off; \
         set {needs}=true, or {gate}=false as well"
    )]
    Dependency {
        /// The gate that is on.
        gate: &'static str,
        /// The gate that is off.
        needs: &'static str,
    },
}

impl From<GateError> for ExitError {
    fn from(error: GateError) -> Self {
        Self::usage(format_args!("--feature-gates: {error}"))
    }
}

/// The gates for `--help`: one line each, `Name=default (STAGE) – what it does`.
pub fn help() -> String {
    let mut text = String::new();
    for (name, default, stage, doc) in [
        (
            ALL_ALPHA,
            false,
            Stage::Alpha,
            "every ALPHA gate that is not set by name",
        ),
        (
            ALL_BETA,
            true,
            Stage::Beta,
            "every BETA gate that is not set by name",
        ),
    ] {
        help_line(&mut text, name, default, stage, doc);
    }
    for gate in FeatureGate::ALL {
        let Spec {
            default,
            stage,
            doc,
            ..
        } = *gate.spec();
        help_line(&mut text, gate.name(), default, stage, doc);
    }
    text
}

fn help_line(text: &mut String, name: &str, default: bool, stage: Stage, doc: &str) {
    use std::fmt::Write;
    // Writing to a String does not fail.
    let _ = writeln!(text, "  {name}={default} ({}) – {doc}", stage.as_str());
}

/// Go's `strconv.ParseBool`.
fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn unknown(name: &str) -> GateError {
    let names = FeatureGate::ALL
        .into_iter()
        .map(FeatureGate::name)
        .chain([ALL_ALPHA, ALL_BETA]);
    let nearest = names
        .map(|known| (distance(&name.to_lowercase(), &known.to_lowercase()), known))
        .min()
        // Farther than a third of the name, the nearest is a guess that misleads.
        .filter(|(distance, known)| *distance <= known.len() / 3);
    let hint = nearest.map_or_else(
        || "--help lists the names".to_owned(),
        |(_, known)| format!("did you mean {known}?"),
    );
    GateError::Unknown {
        name: name.to_owned(),
        hint,
    }
}

/// Levenshtein's distance in characters, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut diagonal = i;
        for (slot, to) in row
            .iter_mut()
            .zip(std::iter::once(None).chain(b.chars().map(Some)))
        {
            let Some(to) = to else {
                *slot = left;
                continue;
            };
            let above = *slot;
            left = (left + 1)
                .min(above + 1)
                .min(diagonal + usize::from(from != to));
            diagonal = above;
            *slot = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GateLabels {
    name: &'static str,
    stage: &'static str,
}

const ALL_ALPHA: &str = "AllAlpha";
const ALL_BETA: &str = "AllBeta";

#[cfg(test)]
mod tests;
