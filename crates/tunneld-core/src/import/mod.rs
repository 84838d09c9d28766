//! From command lines of ssh(1) and autossh(1), from units of systemd that run them, and from entries
//! of ssh_config(5), to tables of tunneld.toml.
//!
//! ```text
//!   systemctl cat ─▶ Printed ─┐
//!   FILE.service ─────────────┴▶ Unit::commands ─┐
//!   a command line ──────────────────────────────┴▶ Command::read ─┐
//!   an entry of ssh_config ─▶ Command::of_entry ───────────────────┴▶ Job
//!   Job ─▶ Job::sources ─▶ (the caller reads) ─▶ Job::tunnel ─▶ Tunnel ─▶ settle
//! ```
//!
//! The options of a command are lines of ssh_config(5) that come before those of its files, so
//! [`ssh_config`](crate::ssh_config) decides what they say. Every option that is understood is kept;
//! each one that is dropped is a comment, with the reason.

mod autossh;
mod command;
mod discreet;
mod first_way;
mod flags;
mod forwards;
mod job;
mod keys;
mod note;
mod reasons;
mod settle;
mod shell;
#[cfg(test)]
mod tests;
mod tunnel;
mod unit;
mod way;

pub use command::{Command, ConfigFile, Setting};
pub use job::Job;
pub use note::plain;
pub use settle::{Refused, Settled, There, settle};
pub use tunnel::{Tunnel, name_of, name_of_host};
pub use unit::{Facts, Printed, Unit, UnitCommand};
