//! An SSH server and a network to break on purpose.
//!
//! What tests, benchmarks and the demo need to run tunneld against real and broken servers. All of
//! it blocks, so that a test is a plain `#[test]`; every wait has a deadline and says on failure
//! what it saw instead.
//!
//! - [`sshd`]: the real OpenSSH server, to freeze, kill and restart
//! - [`others`]: servers that are not OpenSSH
//! - [`server`] and [`fault`]: a server in this process, for the faults that `sshd` does not have
//! - [`server`], [`fault`] and [`asking`]: a server in this process, for the faults and the questions
//!   that `sshd` does not have
//! - [`login`]: passwords for the real server; [`expired`]: another one that wants a new password
//! - [`agent`]: agents with security keys and faults, and the real `ssh-agent`
//! - [`daemon`]: the real `tunneld`, its log, its status and its commands
//! - [`target`]: what tunnels lead to, clients, and addresses that nobody else uses
//! - [`unix`]: the same over unix sockets
//! - [`pattern`]: deterministic bytes, and a way to compare long streams
//! - [`notify`]: the receiving end of sd_notify
//! - [`journal`]: a private systemd-journald
//! - [`topology`] and [`etc`]: machines and the cables between them, by network namespaces
//! - [`net`]: three of them in a row, with a cable to cut
//! - [`dns`]: a resolver with a zone of its own, signed or not
//! - [`terminal`]: a terminal for a program that asks a person
//! - [`browser`]: a real browser without a window
//! - [`web`] and [`postgres`]: real servers to put at a machine
//! - [`http`]: one request and its answer; what `/metrics` says
//! - [`prometheus`]: a real one, which scrapes
//! - [`keys`]: throw-away keys
//! - [`process`]: processes, their children and what they print

// A harness that cannot do its work has to fail the test that asked for it, there and then.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod agent;
pub mod asking;
pub mod browser;
pub mod daemon;
pub mod dns;
pub mod etc;
pub mod expired;
pub mod fault;
pub mod http;
pub mod journal;
pub mod keys;
mod line_log;
pub mod login;
pub mod net;
pub mod notify;
pub mod others;
pub mod pattern;
pub mod postgres;
pub mod process;
pub mod prometheus;
mod pump;
pub mod server;
mod service;
pub mod sshd;
pub mod target;
pub mod terminal;
pub mod topology;
pub mod unix;
pub mod web;
