//! The operator: commands, the file, reload, health, the journal. The real binary, a real sshd.

// What supports the tests has to fail the test that asked for it, there and then.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod authorize;
mod check;
mod check_files;
mod check_forwards;
mod check_secrets;
mod check_ssh_config;
mod commands;
mod control_socket;
mod examples;
mod exit_codes;
mod explain;
mod helps;
mod import;
mod journal;
mod log_format;
mod many_tunnels;
mod notify;
mod ready_when;
mod reload;
mod reload_forwards;
mod reload_refused;
mod reload_sessions;
mod signals;
mod status;
mod status_kinds;
mod support;
