//! The flags of `audit`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use jiff::civil::Date;
use streamway_audit::{FixKind, RulePattern, Severity, SubjectPattern, Version};

use super::ConnectionArgs;

/// Who may open sessions in pods with get alone, who will break, and what to do about it
///
/// A WebSocket is opened with GET, which RBAC knows as get. So who may get pods/exec but not create it runs
/// commands in pods, on API servers before 1.35 and on later ones whose create check is off; elsewhere he
/// is refused with 403. Found are also those who may create but not get, who may get nodes/proxy, which
/// opens kubelets, and, with --severity note, ways around.
///
/// Exit codes: 0 nothing as bad as --fail-on; 1 something is; 2 an error, or not all could be read.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct AuditArgs {
    /// Manifests instead of a cluster: a file, a folder with all in it, - for standard input; more than
    /// once for several
    #[arg(short = 'f', long = "filename", value_name = "FILE", conflicts_with_all = ["from", "save", "verify", "pods"])]
    pub(crate) filenames: Vec<PathBuf>,
    /// A snapshot instead of a cluster
    #[arg(long, value_name = "FILE", conflicts_with_all = ["save", "verify", "pods"])]
    pub(crate) from: Option<PathBuf>,
    /// Also write what was read of the cluster to a snapshot
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// The version of the API server that severities are for, such as 1.34; asked of the cluster otherwise
    #[arg(long, value_name = "VERSION")]
    pub(crate) server_version: Option<Version>,
    /// Its feature gates, as its own flag has them: Name=true|false,…
    #[arg(long, value_name = "GATES", default_value = "")]
    pub(crate) feature_gates: Gates,
    /// Audit logs of the API server: who really used what was found, and when last; - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_log: Vec<PathBuf>,
    /// Ask the API server about each finding, by SubjectAccessReviews
    #[arg(long)]
    pub(crate) verify: bool,
    /// How many of them a second
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) verify_qps: u32,
    /// Also look which pods run as the service accounts that were found
    #[arg(long)]
    pub(crate) pods: bool,

    /// Only what reaches something in this namespace; more than once for several
    #[arg(short, long, value_name = "NAMESPACE", help_heading = "Filters")]
    pub(crate) namespace: Vec<String>,
    /// Only this subject: jane, Group/dev, ServiceAccount/web/runner, web/runner, jan*
    #[arg(long, value_name = "SUBJECT", help_heading = "Filters")]
    pub(crate) subject: Vec<SubjectPattern>,
    /// Only what is found by this rule, by id, name or how either begins: SW001, get-without-create
    #[arg(long, value_name = "RULE", help_heading = "Filters")]
    pub(crate) kind: Vec<RulePattern>,
    /// Show what is at least as bad
    #[arg(long, value_name = "SEVERITY", default_value = "low", value_parser = severity, help_heading = "Filters")]
    pub(crate) severity: Severity,

    /// How the report is written
    #[arg(short, long, value_enum, default_value_t = Output::Table, help_heading = "Output")]
    pub(crate) output: Output,
    /// Where to write it, instead of standard output
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(crate) output_file: Option<PathBuf>,
    /// Also tell, on standard error, how long each part took
    #[arg(short, long, help_heading = "Output")]
    pub(crate) verbose: bool,
    /// The least severity of a finding that makes the exit code 1; never for none
    #[arg(
        long,
        value_name = "SEVERITY",
        default_value = "medium",
        help_heading = "Output"
    )]
    pub(crate) fail_on: FailOn,
    /// Findings that are accepted, each with a reason, and perhaps an end
    #[arg(long, value_name = "FILE", help_heading = "Baseline")]
    pub(crate) baseline: Option<PathBuf>,
    /// Write all that is found to a baseline; what --baseline accepts stays as it is there
    #[arg(
        long,
        value_name = "FILE",
        requires = "reason",
        help_heading = "Baseline"
    )]
    pub(crate) write_baseline: Option<PathBuf>,
    /// Why that is accepted
    #[arg(long, value_name = "TEXT", help_heading = "Baseline")]
    pub(crate) reason: Option<String>,
    /// The last day on which it is: 2027-01-31
    #[arg(long, value_name = "DATE", help_heading = "Baseline")]
    pub(crate) until: Option<Date>,

    /// Print what would mend the findings, and all whom it would affect, instead of the report
    #[arg(long, value_name = "FIX", value_parser = fix, help_heading = "Fixes")]
    pub(crate) fix: Option<FixKind>,
    /// Have the API server try the fix without keeping it
    #[arg(long, value_enum, value_name = "WHERE", requires = "fix", conflicts_with_all = ["filenames", "from"], help_heading = "Fixes")]
    pub(crate) dry_run: Option<TryOn>,

    #[command(flatten)]
    pub(crate) connection: ConnectionArgs,
}

const EXAMPLES: &str = "\
Examples:
  # The cluster of the current context
  kubectl streamway audit

  # Manifests in CI, for the version that they are for; 1 ends the job
  kubectl kustomize deploy | kubectl streamway audit -f - --server-version 1.34 --fail-on high
  kubectl streamway audit -f deploy/ -o json --output-file audit.json

  # Who really used it, and would get 403
  kubectl streamway audit --audit-log /var/log/kubernetes/audit.log

  # Accept what is there for a quarter; later runs tell what is new
  kubectl streamway audit --write-baseline audit-baseline.yaml --reason 'moving to create' --until 2027-03-31
  kubectl streamway audit --baseline audit-baseline.yaml

  # What to give to those who need the sessions, and what else that does
  kubectl streamway audit --kind get-without-create --fix add-create --dry-run=server

  # Read once, look often, elsewhere
  kubectl streamway audit --save cluster.jsonl
  kubectl streamway audit --from cluster.jsonl --namespace web -o wide";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// One line each
    Table,
    /// The same with more columns
    Wide,
    Json,
    Yaml,
    /// SARIF 2.1.0, for code hosts
    Sarif,
    /// One page, for a browser
    Html,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TryOn {
    Server,
}

/// A severity, or never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FailOn(Option<Severity>);

impl FailOn {
    pub(crate) fn fails(self, worst: Option<Severity>) -> bool {
        self.0
            .zip(worst)
            .is_some_and(|(least, worst)| worst >= least)
    }
}

impl FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self(None));
        }
        let severity = severity(text).map_err(|error| format!("{error}, never"))?;
        Ok(Self(Some(severity)))
    }
}

fn severity(text: &str) -> Result<Severity, String> {
    let found = Severity::ALL.into_iter().find(|own| own.as_str() == text);
    found.ok_or_else(|| format!("expected one of {}", words(&Severity::ALL)))
}

fn fix(text: &str) -> Result<FixKind, String> {
    let found = FixKind::ALL.into_iter().find(|own| own.as_str() == text);
    found.ok_or_else(|| format!("expected one of {}", words(&FixKind::ALL)))
}

fn words<T: ToString>(all: &[T]) -> String {
    let words: Vec<_> = all.iter().map(T::to_string).collect();
    words.join(", ")
}

/// `--feature-gates`, in Kubernetes' own syntax.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Gates(pub(crate) Vec<(String, bool)>);

impl FromStr for Gates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty());
        let gates = parts.map(|part| {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is not of the form Name=true|false"))?;
            let value = match value.to_ascii_lowercase().as_str() {
                "true" | "t" | "1" => true,
                "false" | "f" | "0" => false,
                _ => return Err(format!("{value:?} of {name} is neither true nor false")),
            };
            Ok((name.to_owned(), value))
        });
        gates.collect::<Result<_, String>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates() {
        let gates: Gates = "A=true, B=0,".parse().unwrap();
        assert_eq!(gates.0, [("A".to_owned(), true), ("B".to_owned(), false)]);
        assert!("A".parse::<Gates>().unwrap_err().contains("\"A\""));
        assert!(
            "A=maybe"
                .parse::<Gates>()
                .unwrap_err()
                .contains("\"maybe\" of A")
        );
    }

    #[test]
    fn when_to_fail() {
        let fails = |text: &str, worst| text.parse::<FailOn>().unwrap().fails(worst);
        assert!(fails("medium", Some(Severity::Medium)));
        assert!(fails("medium", Some(Severity::Critical)));
        assert!(!fails("medium", Some(Severity::Low)));
        assert!(!fails("medium", None) && !fails("never", Some(Severity::Critical)));
        assert!(
            "bad"
                .parse::<FailOn>()
                .unwrap_err()
                .contains("critical, high")
        );
    }
}
