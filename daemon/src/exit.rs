//! How a process ends: an exit code, and one line that says what failed and what to do about it.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// Exit code of wrong flags, files and configuration: `EX_USAGE` of BSD's `sysexits.h`.
pub const USAGE: u8 = 64;
/// Exit code of a failure at run time.
pub const FAILURE: u8 = 1;

/// Why a process ends before its time, ready to be shown to whoever started it.
///
/// The message is one line, starts in lower case, and has the form "what failed; what to do".
#[derive(Debug)]
pub struct ExitError {
    code: u8,
    message: String,
}

impl ExitError {
    /// Wrong flags, files or configuration: exit code 64.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self {
            code: USAGE,
            message: message.to_string(),
        }
    }

    /// A failure at run time, with flags that may be right: exit code 1.
    pub fn failure(message: impl fmt::Display) -> Self {
        Self {
            code: FAILURE,
            message: message.to_string(),
        }
    }

    /// The exit code: 64, 1, or 0 for `--help` and `--version`, which clap hands over as errors.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// A socket that could not be bound: `flag` names the way to another address.
    pub fn bind(flag: &str, addr: std::net::SocketAddr, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let fix = match error.kind() {
            ErrorKind::AddrInUse => format!("stop what listens there, or give {flag} another port"),
            ErrorKind::AddrNotAvailable => {
                format!("give {flag} an address that this machine has")
            }
            ErrorKind::PermissionDenied => {
                format!("give {flag} a port of 1024 or more, or the process CAP_NET_BIND_SERVICE")
            }
            _ => format!("check {flag}"),
        };
        Self::failure(format_args!(
            "cannot listen on {addr}: {}; {fix}",
            reason(error)
        ))
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ExitError {}

impl From<clap::Error> for ExitError {
    /// Keeps `--help` and `--version` as they are, and puts an error into one line.
    fn from(error: clap::Error) -> Self {
        let text = error.render().to_string();
        if !error.use_stderr() {
            return Self {
                code: 0,
                message: text,
            };
        }
        let mut line = String::new();
        let said = text
            .lines()
            .map(str::trim)
            .take_while(|part| !part.starts_with("Usage:"));
        for part in said.filter(|part| !part.is_empty()) {
            let part = part.strip_prefix("error: ").unwrap_or(part);
            match line.chars().last() {
                None => {}
                Some(':') => line.push(' '),
                Some(_) => line.push_str("; "),
            }
            line.push_str(part);
        }
        if !line.contains("--help") {
            line.push_str("; see --help");
        }
        Self::usage(line)
    }
}

/// What the operating system said, in lower case and without "(os error N)".
pub(crate) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(chars).collect()
    })
}

/// Runs a program and says how it ended: `error: …` on stderr and the error's code, or 0.
pub fn main(run: impl FnOnce() -> Result<(), ExitError>) -> ExitCode {
    let Err(error) = run() else {
        return ExitCode::SUCCESS;
    };
    // A closed stdout or stderr is no reason to end otherwise.
    let _ = if error.code == 0 {
        write!(std::io::stdout(), "{error}")
    } else {
        writeln!(
            std::io::stderr(),
            "error: {}",
            error.message.replace('\n', " ")
        )
    };
    ExitCode::from(error.code)
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    fn command() -> Command {
        Command::new("it")
            .arg(Arg::new("kubelet").long("kubelet").required(true))
            .arg(
                Arg::new("mode")
                    .long("mode")
                    .value_parser(["Webhook", "AlwaysAllow"]),
            )
    }

    fn refused(args: &[&str]) -> ExitError {
        let args = std::iter::once("it").chain(args.iter().copied());
        command()
            .try_get_matches_from(args)
            .expect_err("refused")
            .into()
    }

    #[test]
    fn wrong_flags_are_one_line() {
        let error = refused(&[]);
        assert_eq!(error.code(), USAGE);
        assert_eq!(
            error.to_string(),
            "the following required arguments were not provided: --kubelet <kubelet>; see --help"
        );
        let error = refused(&["--kubelt", "x"]).to_string();
        assert!(
            error.starts_with("unexpected argument '--kubelt' found; tip:"),
            "{error}"
        );
        assert!(!error.contains('\n'));
        let error = refused(&["--kubelet", "x", "--mode", "Webhok"]).to_string();
        assert!(
            error.contains("[possible values: Webhook, AlwaysAllow]"),
            "{error}"
        );
    }

    #[test]
    fn help_is_no_error() {
        let help = refused(&["--help"]);
        assert_eq!(help.code(), 0);
        assert!(help.to_string().contains("Usage: it"));
    }

    #[test]
    fn a_busy_port_says_which_flag() {
        let addr = ([127, 0, 0, 1], 10351).into();
        let error = std::io::Error::from_raw_os_error(98);
        assert_eq!(
            ExitError::bind("--metrics-listen", addr, &error).to_string(),
            "cannot listen on 127.0.0.1:10351: address already in use; stop what listens there, \
             or give --metrics-listen another port"
        );
    }
}
