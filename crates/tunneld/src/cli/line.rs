//! The words of the command line, apart from what the environment says.

use std::io;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Arg, Command, CommandFactory, Error, Parser};

use super::{Cli, import};
use crate::exit::Exit;
use crate::terminal::colour;

/// What was asked for. What makes no sense is told, as is help that was asked for.
pub(super) fn parsed() -> Result<Cli, Exit> {
    Cli::try_parse().map_err(|e| match e.use_stderr() {
        true => refuse(&import::explained(alone(e))),
        false => {
            // As for all data: a reader that went away has had what it wanted.
            let _ = e.print();
            Exit::Done
        }
    })
}

/// clap takes what the environment says as if it was typed: the usage would ask for it, and to type
/// nothing would not be nothing. So the error is that of the words alone, if they are wrong.
fn alone(e: Error) -> Error {
    typed(Cli::command()).try_get_matches().err().unwrap_or(e)
}

/// The command line without the environment.
fn typed(command: Command) -> Command {
    let unset = |arg: Arg| arg.env(Resettable::Reset);
    command.mut_args(unset).mut_subcommands(typed)
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
