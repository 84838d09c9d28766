//! `tunneld completions SHELL`, and what the script that it prints asks for while somebody types.
//!
//! The shell calls this program with [`VARIABLE`] set and the words so far, and shows what it prints.
//! Nobody who presses the tab key wants an error or a wait: there is an answer at once, or none.

mod bash;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, Command, CommandFactory, FromArgMatches, ValueEnum};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{EnvCompleter, Fish, Shells, Zsh};
use hyper::Method;
use serde::Deserialize;
use tunneld_core::status::Phase;

use super::{Cli, Places};
use crate::config_file;
use crate::control::client::ask;
use crate::exit::Exit;
use crate::logging::Verbosity;
use bash::Bash;

/// Names the shell that asks.
const VARIABLE: &str = "_TUNNELD_COMPLETE";
/// Says which of the words is being typed; fish leaves it out, and asks about the last one.
const INDEX: &str = "_CLAP_COMPLETE_INDEX";
/// How long names may take to find out.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long the daemon may take of it: the file is still to be read then.
const DAEMON_PATIENCE: Duration = Duration::from_millis(100);

/// A script of $fpath is run at the first completion, which it has to answer, too.
const AUTOLOADED: &str = r#"
if [[ "${funcstack[1]}" == _tunneld ]]; then
    _clap_dynamic_completer_tunneld "$@"
fi
"#;

/// A shell that has completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Shell {
    /// For ~/.local/share/bash-completion/completions/tunneld
    Bash,
    /// For a folder of $fpath, as _tunneld
    Zsh,
    /// For ~/.config/fish/completions/tunneld.fish
    Fish,
}

/// Prints the script for a shell.
pub(super) fn run(shell: Shell) -> Exit {
    let shell: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    // Writing to a vector does not fail.
    let _ = shell.write_registration(VARIABLE, "tunneld", "tunneld", "tunneld", &mut script);
    let mut script = String::from_utf8_lossy(&script).trim_start().to_owned();
    if shell.name() == Zsh.name() {
        script.push_str(AUTOLOADED);
    }
    super::print(&script)
}

/// Answers a shell; `None` if none asks.
pub(super) fn answered() -> Option<Exit> {
    std::env::var_os(VARIABLE)?;
    let asked = CompleteEnv::with_factory(offered)
        .var(VARIABLE)
        .shells(Shells(&[&Bash, &Fish, &Zsh]));
    let here = std::env::current_dir().ok();
    match asked.try_complete(std::env::args_os(), here.as_deref()) {
        Ok(true) => Some(Exit::Done),
        // Set to nothing.
        Ok(false) => None,
        Err(_) => Some(Exit::Failed),
    }
}

/// What there is to choose from: options only for a word that begins like one.
fn offered() -> Command {
    let (words, index) = words();
    let is_option = words
        .get(index)
        .is_some_and(|word| word.as_encoded_bytes().starts_with(b"-"));
    match is_option {
        true => Cli::command(),
        false => without_options(Cli::command()),
    }
}

/// Hidden is what is offered only where there is nothing else.
fn without_options(command: Command) -> Command {
    let hide = |arg: Arg| match arg.is_positional() {
        true => arg,
        false => arg.hide(true),
    };
    let command = command.mut_args(hide).mut_subcommands(without_options);
    command.disable_help_flag(true).disable_version_flag(true)
}

/// The words of the line, from `tunneld` on, and which of them is being typed.
fn words() -> (Vec<OsString>, usize) {
    let mut words = std::env::args_os().skip_while(|word| word != "--");
    words.next();
    let words: Vec<OsString> = words.collect();
    let index = index().unwrap_or(words.len().saturating_sub(1));
    bash::joined(words, index)
}

fn index() -> Option<usize> {
    std::env::var(INDEX).ok()?.parse().ok()
}

/// The names of tunnels.
pub(super) fn names() -> ArgValueCandidates {
    ArgValueCandidates::new(candidates)
}

/// The levels of the log, and those of single tunnels after a comma.
pub(super) fn levels() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let levels = Verbosity::value_variants().iter();
        let levels = levels.filter_map(ValueEnum::to_possible_value);
        let named = levels.map(|level| {
            CompletionCandidate::new(level.get_name()).help(level.get_help().cloned())
        });
        named.collect()
    })
}

fn candidates() -> Vec<CompletionCandidate> {
    let Some(named) = Named::of_line() else {
        return Vec::new();
    };
    let (send, receive) = mpsc::sync_channel(1);
    // What hangs there ends with the process, and that is soon.
    std::thread::spawn(move || send.send(known(&named)));
    receive.recv_timeout(PATIENCE).unwrap_or_default()
}

/// What the words so far and the environment say.
struct Named {
    places: Places,
    /// Whether somebody has said which file.
    file: bool,
}

impl Named {
    fn of_line() -> Option<Self> {
        let command = Cli::command().ignore_errors(true);
        let matches = command.try_get_matches_from(words().0).ok()?;
        let source = matches.value_source("config");
        let file = source.is_some_and(|source| source != ValueSource::DefaultValue);
        let mut places = Places::from_arg_matches(&matches).ok()?;
        // The shell has not put the home directory there yet.
        places.config = below_home(places.config);
        places.socket = places.socket.map(below_home);
        Some(Named { places, file })
    }
}

fn below_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(below), Some(home)) => Path::new(&home).join(below),
        _ => path,
    }
}

/// The tunnels of the daemon, with how they are; where it does not answer, those of the file. Never
/// those of another daemon than the one that somebody has named.
fn known(named: &Named) -> Vec<CompletionCandidate> {
    let places = &named.places;
    let socket = match places.named() {
        Err(_) if named.file => return Vec::new(),
        socket => socket.ok().flatten(),
    };
    let socket = socket.unwrap_or_else(|| places.default_socket());
    if let Some(running) = running(&socket) {
        let shown =
            |t: Tunnel| CompletionCandidate::new(t.name).help(Some(t.phase.as_str().into()));
        return running.tunnels.into_iter().map(shown).collect();
    }
    if places.socket.is_some() && !named.file {
        return Vec::new();
    }
    let Ok(loaded) = config_file::load(&places.config) else {
        return Vec::new();
    };
    let names = loaded.config.tunnels.keys();
    names
        .map(|name| CompletionCandidate::new(name.as_str()))
        .collect()
}

/// As much of the daemon's status as is needed.
#[derive(Deserialize)]
struct Running {
    tunnels: Vec<Tunnel>,
}

#[derive(Deserialize)]
struct Tunnel {
    name: String,
    phase: Phase,
}

fn running(socket: &Path) -> Option<Running> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().ok()?;
    runtime.block_on(async {
        let asked = ask(socket, Method::GET, "/v1/status");
        let answer = tokio::time::timeout(DAEMON_PATIENCE, asked).await;
        answer.ok()?.ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_argument_that_names_a_tunnel_is_completed() {
        let mut found = 0;
        for command in Cli::command().get_subcommands() {
            let names = command.get_positionals().filter(|arg| {
                let names = arg.get_value_names().unwrap_or_default();
                names.iter().any(|name| name == "NAME")
            });
            for arg in names {
                let completed = arg.get::<ArgValueCandidates>().is_some();
                assert!(completed, "{} {}", command.get_name(), arg.get_id());
                found += 1;
            }
        }
        assert!(found >= 7, "{found}");
    }
}
