//! How a cluster is reached: kubectl's flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ConnectionArgs {
    /// The kubeconfig; otherwise $KUBECONFIG, ~/.kube/config, or the pod's service account
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context in it
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The cluster in it, instead of the context's
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// The user in it, instead of the context's
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Somebody else to act as
    #[arg(long = "as", value_name = "USER")]
    pub(crate) impersonate: Option<String>,
    /// A group to act as a member of; more than once for several
    #[arg(long = "as-group", value_name = "GROUP", requires = "impersonate")]
    pub(crate) impersonate_groups: Vec<String>,
    /// How long the API server may be silent: 30s, 2m; 0 for as long as it likes
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = timeout)]
    pub(crate) request_timeout: Duration,
}

/// A number of seconds, or a number with a unit.
fn timeout(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let span: jiff::SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from(span).map_err(|_| "it is less than nothing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        let table = [
            ("0", 0),
            ("30", 30),
            ("30s", 30),
            ("2m", 120),
            ("1h30m", 5400),
        ];
        for (text, seconds) in table {
            assert_eq!(timeout(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "soon", "-1s"] {
            assert!(timeout(text).is_err(), "{text}");
        }
    }
}
