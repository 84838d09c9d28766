//! A command that is not behind `--`, where its options would be taken for ours.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use clap::error::{Error, ErrorKind};

fn right(program: &str) -> String {
    format!("a command goes behind `--`: tunneld import -- {program} …")
}

/// What is said of a command line that clap does not understand: of `tunneld import autossh -M 0` it
/// says that there is no `-M`, which leads astray.
pub(in crate::cli) fn explained(error: Error) -> Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    let words: Vec<_> = std::env::args_os().collect();
    match misplaced(&words) {
        Some(program) => Error::raw(error.kind(), right(program) + "\n"),
        None => error,
    }
}

/// The program of a command that is not behind `--`.
fn misplaced(words: &[impl AsRef<OsStr>]) -> Option<&str> {
    let words = words.iter().map(AsRef::as_ref);
    let mut words = words.skip_while(|word| *word != "import").skip(1);
    let mut before = words.by_ref().take_while(|word| *word != "--");
    before.find_map(|word| program(word.to_str()?))
}

/// The name of ssh or autossh, if a text begins with it.
fn program(text: &str) -> Option<&str> {
    let first = text.split_whitespace().next()?;
    let name = first.rsplit('/').next()?;
    matches!(name, "ssh" | "autossh").then_some(name)
}

/// What is said of inputs that begin with the name of a program: `tunneld import ssh db`. Alone it may
/// be the name of a unit.
pub(super) fn begun(inputs: &[PathBuf]) -> Option<String> {
    let [first, _, ..] = inputs else {
        return None;
    };
    let program = program(first.to_str()?)?;
    fs::symlink_metadata(first).is_err().then(|| right(program))
}

/// What is said of an input that there is not: where it is a command, how one is given.
pub(super) fn or_missing(input: &Path, error: String) -> String {
    let text = input.to_string_lossy();
    // A unit has no white space in its name, and a file may have it.
    let is_file = text.contains('/') || text.ends_with(".service");
    let first = text.split_whitespace().next().unwrap_or_default();
    let spaced = first.len() < text.trim().len() && !is_file;
    match program(&text).or(spaced.then_some(first)) {
        Some(program) if fs::symlink_metadata(input).is_err() => right(program),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_found_that_is_not_behind_the_dashes() {
        for (line, found) in [
            ("tunneld import autossh -M 0", Some("autossh")),
            ("tunneld import --name db /usr/bin/ssh -N", Some("ssh")),
            ("tunneld --config ssh import -x", None),
            ("tunneld import -x -- ssh -N", None),
            ("tunneld import autossh-db.service -x", None),
            ("ssh -x", None),
        ] {
            let words: Vec<_> = line.split(' ').collect();
            assert_eq!(misplaced(&words), found, "{line}");
        }
    }

    #[test]
    fn an_input_that_begins_with_a_program_or_has_white_space_is_a_command() {
        let said = |input: &str| or_missing(Path::new(input), "no such file".to_owned());
        for (input, program) in [
            ("autossh -L 1:a:2 b", "autossh"),
            ("/usr/bin/ssh -L 1:a:2 b", "ssh"),
            ("autossh", "autossh"),
            ("env A=1 ssh b", "env"),
        ] {
            let wanted = format!("a command goes behind `--`: tunneld import -- {program} …");
            assert_eq!(said(input), wanted);
        }
        for input in ["autossh-db.service", "my unit.service", "./a b", "db"] {
            assert_eq!(said(input), "no such file");
        }
    }
}
