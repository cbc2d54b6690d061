//! Reports as text.

mod table;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use anyhow::{Context, Result};
use serde::Serialize;
use streamway_audit::{Report, Warning};

use crate::args::Output;

const WARNING: Style = AnsiColor::Yellow.on_default();

/// Writes a report, to a file or to standard output.
pub(crate) fn write(report: &Report, output: Output, path: Option<&Path>) -> Result<()> {
    to(path, |out| match output {
        Output::Table => Ok(table::write(report, false, out)?),
        Output::Wide => Ok(table::write(report, true, out)?),
        Output::Json => json(report, out),
        Output::Yaml => yaml(report, out),
        Output::Sarif => json(&streamway_audit::sarif(report), out),
        Output::Html => Ok(out.write_all(streamway_audit::html(report).as_bytes())?),
    })
}

/// Writes to a file or to standard output, without colours where nobody sees them.
pub(crate) fn to(
    path: Option<&Path>,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let Some(path) = path else {
        let mut out = BufWriter::new(anstream::AutoStream::auto(io::stdout().lock()));
        write(&mut out)?;
        return Ok(out.flush()?);
    };
    let named = || format!("{} cannot be written", path.display());
    let file = File::create(path).with_context(named)?;
    let mut file = BufWriter::new(anstream::StripStream::new(file));
    write(&mut file).with_context(named)?;
    file.flush().with_context(named)
}

pub(crate) fn json(value: &impl Serialize, out: &mut dyn Write) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}

pub(crate) fn yaml(value: &impl Serialize, out: &mut dyn Write) -> Result<()> {
    Ok(out.write_all(serde_saphyr::to_string(value)?.as_bytes())?)
}

/// Something to know, on standard error.
pub(crate) fn note(text: &str) {
    anstream::eprintln!("{WARNING}note{WARNING:#}: {}", Clean(text));
}

/// What could not be read, on standard error.
pub(crate) fn warning(warning: &Warning) {
    let word = if warning.incomplete {
        "incomplete"
    } else {
        "warning"
    };
    let text = Clean(&warning.text);
    match &warning.location {
        Some(place) => {
            let place = place.to_string();
            anstream::eprintln!("{WARNING}{word}{WARNING:#}: {}: {text}", Clean(&place));
        }
        None => anstream::eprintln!("{WARNING}{word}{WARNING:#}: {text}"),
    }
}

/// A text from a cluster or a file: what would control a terminal is written out.
pub(crate) struct Clean<'a>(pub(crate) &'a str);

impl std::fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for part in self.0.split_inclusive(char::is_control) {
            let mut rest = part;
            let last = part.chars().next_back().filter(|c| c.is_control());
            if let Some(last) = last {
                rest = part.strip_suffix(last).unwrap_or_default();
            }
            f.write_str(rest)?;
            if let Some(last) = last {
                write!(f, "{}", last.escape_default())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_controls_the_terminal() {
        let table = [
            ("jane", "jane"),
            ("a\x1b[2Jb", "a\\u{1b}[2Jb"),
            ("a\nb\r", "a\\nb\\r"),
            ("ü→\u{9b}1m", "ü→\\u{9b}1m"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(Clean(text).to_string(), expected);
        }
    }
}
