//! Logs: to stderr, as text or JSON, with klog's verbosity.

use clap::{Args, ValueEnum};
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::exit::ExitError;

/// Flags of logging, named as in Kubernetes' components.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// How log lines are written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LoggingFormat::Text)]
    pub logging_format: LoggingFormat,

    /// How much is logged: 0 to 3 what happens, 4 and more each step
    #[arg(short = 'v', long = "v", value_name = "N", default_value_t = 0)]
    pub verbosity: u8,

    /// Log filter in the notation of tracing's EnvFilter, instead of -v
    #[arg(
        long,
        env = "STREAMWAY_LOG",
        value_name = "FILTER",
        hide_short_help = true
    )]
    pub log_filter: Option<String>,
}

/// `--logging-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LoggingFormat {
    /// One line for a person
    Text,
    /// One JSON object a line
    Json,
}

impl LogArgs {
    /// Installs the process's subscriber. A second call changes nothing.
    ///
    /// Nothing below INFO of other crates is ever written, whatever the filter says: HTTP libraries
    /// trace headers, and those hold tokens.
    ///
    /// # Errors
    /// [`ExitError`] (64) for a filter that cannot be read.
    pub fn init(&self) -> Result<(), ExitError> {
        let directives = self
            .log_filter
            .as_deref()
            .unwrap_or_else(|| directives(self.verbosity));
        let filter = EnvFilter::try_new(directives).map_err(|error| {
            ExitError::usage(format_args!(
                "--log-filter {directives:?} (or STREAMWAY_LOG) cannot be read: {error}; \
                 write it like info,streamway_streamproxy=debug"
            ))
        })?;
        let writer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let layer = match self.logging_format {
            LoggingFormat::Text => writer.with_ansi(false).boxed(),
            LoggingFormat::Json => writer.json().flatten_event(true).boxed(),
        };
        let layer = layer
            .with_filter(filter)
            .with_filter(FilterFn::new(may_be_written));
        // An error means that a subscriber is installed: a test's, or ours from before.
        let _ = tracing_subscriber::registry().with(layer).try_init();
        Ok(())
    }
}

/// klog's levels: 0 to 3 are for operators, 4 is debugging. 5 and more would be tracing, which nothing of
/// ours does.
fn directives(verbosity: u8) -> &'static str {
    match verbosity {
        0..=3 => "info",
        _ => "debug",
    }
}

fn may_be_written(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO || is_ours(metadata.target())
}

/// Targets are module paths: `streamway_streamproxy::…`, and `streamproxy` for the binary itself.
fn is_ours(target: &str) -> bool {
    target.starts_with("stream")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        logs: LogArgs,
    }

    #[test]
    fn verbosity_is_klogs() {
        for (args, level) in [
            (&["it"][..], "info"),
            (&["it", "--v=2"], "info"),
            (&["it", "-v", "4"], "debug"),
            (&["it", "-v=9"], "debug"),
        ] {
            let cli = Cli::try_parse_from(args).unwrap();
            assert_eq!(directives(cli.logs.verbosity), level, "{args:?}");
        }
        assert!(Cli::try_parse_from(["it", "-v", "-1"]).is_err());
    }

    #[test]
    fn a_broken_filter_is_refused() {
        let args = ["it", "--log-filter", "info,=what=x"];
        let error = Cli::try_parse_from(args).unwrap().logs.init().unwrap_err();
        assert_eq!(error.code(), crate::exit::USAGE);
        assert!(error.to_string().contains("write it like"), "{error}");
    }

    #[test]
    fn other_crates_traces_are_not_ours() {
        assert!(is_ours("streamway_daemon::tls"));
        for target in ["h2::codec", "hyper::proto", "kube_client::client", "rustls"] {
            assert!(!is_ours(target), "{target}");
        }
    }
}
