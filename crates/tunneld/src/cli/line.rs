//! The words of the command line, apart from what the environment says.

use std::io;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory, Error, FromArgMatches};

use super::{Cli, import};
use crate::exit::Exit;
use crate::terminal::colour;

/// What was asked for. What makes no sense is told, as is help that was asked for.
pub(super) fn parsed() -> Result<Cli, Exit> {
    let said = unset(Cli::command(), is_empty).try_get_matches();
    let said = said.and_then(|mut said| Cli::from_arg_matches_mut(&mut said));
    said.map_err(|e| match e.use_stderr() {
        true => refuse(&import::explained(alone(e))),
        false => {
            // As for all data: a reader that went away has had what it wanted.
            let _ = e.print();
            Exit::Done
        }
    })
}

/// clap takes what the environment says as if it was typed: the usage would ask for it, and to type
/// nothing would not be nothing. So the error is that of the words alone, if they are wrong, and else
/// names the variable.
fn alone(mut e: Error) -> Error {
    if let Err(alone) = unset(Cli::command(), |_| true).try_get_matches() {
        return alone;
    }
    if let Some(ContextValue::String(value)) = e.get(ContextKind::InvalidValue) {
        let from = format!("it is the value of {} in the environment", variable(value));
        let tip = ContextValue::StyledStrs(vec![from.into()]);
        e.insert(ContextKind::Suggested, tip);
    }
    e
}

/// The variable that has this value.
fn variable(value: &str) -> &'static str {
    let named = ["TUNNELD_LOG", "TUNNELD_CONFIG", "TUNNELD_SOCKET"];
    let has = |name: &&str| std::env::var_os(name).is_some_and(|there| there == value);
    named.into_iter().find(has).unwrap_or("a variable")
}

/// Whether the environment says nothing, though it has the variable: as if it had not.
fn is_empty(arg: &Arg) -> bool {
    let said = arg.get_env().and_then(std::env::var_os);
    said.is_some_and(|said| said.is_empty())
}

/// The command line without what the environment says for some arguments.
fn unset(command: Command, which: fn(&Arg) -> bool) -> Command {
    let command = command.mut_args(|arg| match which(&arg) {
        true => arg.env(Resettable::Reset),
        false => arg,
    });
    command.mut_subcommands(|command| unset(command, which))
}

fn refuse(e: &Error) -> Exit {
    let is_help = e.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    let said = match is_help {
        // With the names of the environment again.
        true => Cli::command().render_help(),
        false => e.render(),
    };
    match colour(&io::stderr()) {
        true => eprint!("{}", said.ansi()),
        false => eprint!("{said}"),
    }
    Exit::Usage
}
