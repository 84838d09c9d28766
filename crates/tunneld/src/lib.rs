//! tunneld keeps SSH tunnels up.
//!
//! The program wires what `tunneld-core` decides to what `tunneld-ssh` performs: it parses the
//! command line, runs one command, and turns its end into an exit code. It is a library only so
//! that the demo can be the program too; [`main`] is all that it offers.

/// As the standard library's, which panics where nobody reads: whoever has closed stderr, or has a
/// full disk behind it, gets the exit code.
macro_rules! eprintln {
    ($($said:tt)*) => {
        $crate::terminal::say(format_args!($($said)*))
    };
}

mod account;
mod cli;
mod clock;
mod config_file;
mod control;
mod daemon;
mod exit;
mod http;
mod inject;
mod logging;
mod observe;
mod pacing;
mod sandbox;
mod signals;
mod sockets;
mod sshfp;
mod supervisor;
mod terminal;
mod tunnel;
mod wait;
mod watch;

use std::process::ExitCode;

/// Runs the command that the process's arguments ask for.
pub fn main() -> ExitCode {
    cli::main().into()
}
