//! The decisions of tunneld.
//!
//! Values in, values out: this crate has no runtime, opens no file or connection and reads no clock.
//! What happens is decided here and performed by the crates above it.
//!
//! ```text
//!   tunneld.toml ──▶ config::load ──▶ Config ──▶ plan::diff ──▶ Plan ──▶ supervisor
//!                                                                          │ one task a tunnel
//!        what happened (Event) ──▶ lifecycle::Lifecycle ──▶ what to do (Action)
//!                                      │        └── backoff::Backoff: the delay before attempt n
//!                                      ▼
//!                              status::TunnelStatus ──▶ `tunneld status`, STATUS=, the journal
//! ```
//!
//! - [`name`]: names of tunnels and forwards, valid by construction
//! - [`config`]: the file, with every problem in it reported at once and in its place
//! - [`explain`]: where the bytes of a tunnel go, and the ssh command that does the same
//! - [`import`]: tunnels out of command lines, units and files of ssh
//! - [`authorize`]: what a server has to allow for a tunnel, and nothing else
//! - [`plan`]: what a new configuration changes in a running daemon
//! - [`events`]: what the journal can be searched for
//! - [`failure`]: what went wrong, at which stage, and whether waiting can fix it
//! - [`backoff`]: the delay before the next attempt
//! - [`certificate`]: when to say that a certificate ends
//! - [`ledger`]: what a tunnel has been through
//! - [`history`]: what is told and kept of that: outages, availability
//! - [`lifecycle`]: the phases of a tunnel and what each event leads to
//! - [`repeats`]: when a repeated message is worth another line
//! - [`sandbox`]: what the daemon has to leave itself when it gives up its rights
//! - [`socks`]: what a client of a dynamic forward asks for, and the bytes that answer it
//! - [`ssh_config`]: what ssh's own files say about a host
//! - [`status`]: snapshots for people and programs
//! - [`text`]: texts that come from elsewhere, made fit to be shown

pub mod authorize;
pub mod backoff;
pub mod certificate;
pub mod config;
pub mod events;
pub mod explain;
pub mod failure;
pub mod history;
pub mod import;
pub mod ledger;
pub mod lifecycle;
pub mod metrics;
pub mod name;
pub mod plan;
pub mod refusal;
pub mod repeats;
pub mod sandbox;
pub mod socks;
pub mod ssh_config;
pub mod status;
pub mod text;
