//! tunneld keeps SSH tunnels up.
//!
//! The program wires what `tunneld-core` decides to what `tunneld-ssh` performs: it parses the
//! command line, runs one command, and turns its end into an exit code.

mod cli;
mod config_file;
mod control;
mod daemon;
mod exit;
mod inject;
mod observe;
mod pacing;
mod signals;
mod supervisor;
mod tunnel;

use std::process::ExitCode;

/// glibc's allocator gives memory back too eagerly for bursts of bulk data, and that costs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main().into()
}
