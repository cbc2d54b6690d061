//! Completion, for shells and for kubectl.

use std::io::{self, Write};

use anyhow::Result;
use clap::{Arg, Command, CommandFactory};

use crate::args::{Cli, CompleteArgs, CompletionArgs};
use crate::exit::Outcome;

/// A script for a shell.
pub(crate) fn run(args: &CompletionArgs) -> Result<Outcome> {
    // The name of the program, which is what a shell completes.
    let mut command = Cli::command().bin_name("kubectl-streamway");
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "kubectl-streamway", &mut script);
    io::stdout().write_all(&script)?;
    Ok(Outcome::Clean)
}

/// Files are no candidates.
const NO_FILES: &str = ":4";
/// Files are.
const FILES: &str = ":0";

/// Candidates in the form that kubectl reads: a line each, then a directive (cobra's `ShellCompDirective`).
pub(crate) fn candidates(args: &CompleteArgs) -> Result<Outcome> {
    let (candidates, directive) = complete(&args.words);
    let mut out = io::stdout().lock();
    for candidate in candidates {
        writeln!(out, "{candidate}")?;
    }
    writeln!(out, "{directive}")?;
    Ok(Outcome::Clean)
}

fn complete(words: &[String]) -> (Vec<String>, &'static str) {
    let root = Cli::command();
    let (word, before) = match words.split_last() {
        Some((word, before)) => (word.as_str(), before),
        None => ("", words),
    };
    let named = before.iter().find_map(|name| root.find_subcommand(name));
    let command = named.unwrap_or(&root);
    let starting = |all: Vec<String>| -> Vec<String> {
        let all = all.into_iter();
        all.filter(|own| own.starts_with(word)).collect()
    };
    let last = before.last().and_then(|last| flag(command, last));
    if let Some(flag) = last.filter(|flag| flag.get_action().takes_values()) {
        let values = flag.get_possible_values().into_iter();
        let values: Vec<_> = values.map(|value| value.get_name().to_owned()).collect();
        let directive = if values.is_empty() { FILES } else { NO_FILES };
        return (starting(values), directive);
    }
    let flags = command.get_arguments().filter_map(Arg::get_long);
    let flags = flags.map(|long| format!("--{long}"));
    let all = if word.starts_with('-') {
        flags.chain(["--help".to_owned()]).collect()
    } else if named.is_none() {
        subcommands(&root)
    } else {
        let mut positional = command.get_positionals().flat_map(Arg::get_possible_values);
        let values = positional.by_ref().map(|value| value.get_name().to_owned());
        values.collect()
    };
    (starting(all), NO_FILES)
}

fn subcommands(root: &Command) -> Vec<String> {
    let shown = root.get_subcommands().filter(|own| !own.is_hide_set());
    shown.map(|own| own.get_name().to_owned()).collect()
}

/// The flag that a word is.
fn flag<'c>(command: &'c Command, word: &str) -> Option<&'c Arg> {
    let mut flags = command.get_arguments();
    if let Some(long) = word.strip_prefix("--") {
        return flags.find(|flag| flag.get_long() == Some(long));
    }
    let mut letters = word.strip_prefix('-')?.chars();
    let (letter, None) = (letters.next()?, letters.next()) else {
        return None;
    };
    flags.find(|flag| flag.get_short() == Some(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> (Vec<String>, &'static str) {
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        complete(&words)
    }

    #[test]
    fn what_kubectl_asks() {
        let (commands, _) = of(&[""]);
        assert!(
            commands.contains(&"audit".to_owned()) && !commands.contains(&"__complete".to_owned())
        );
        assert_eq!(of(&["au"]), (vec!["audit".to_owned()], NO_FILES));
        assert_eq!(
            of(&["audit", "--verify-q"]),
            (vec!["--verify-qps".to_owned()], NO_FILES)
        );
        assert_eq!(
            of(&["audit", "-o", "j"]),
            (vec!["json".to_owned()], NO_FILES)
        );
        assert_eq!(
            of(&["audit", "--output", "w"]),
            (vec!["wide".to_owned()], NO_FILES)
        );
        assert_eq!(of(&["audit", "-f", ""]), (Vec::new(), FILES));
        assert_eq!(of(&["completion", "z"]), (vec!["zsh".to_owned()], NO_FILES));
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
