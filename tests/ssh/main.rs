//! What a tunnel survives. The real binary, a real sshd, a real network to cut.
//!
//! Needs root (namespaces, a private /etc/hosts), openssh-server, iproute2, util-linux, systemd (for
//! systemd-socket-activate), unbound and ldnsutils, and a hard limit of at least 8,192 open files.
//! What is missing fails the test that needs it.

// Helpers are not tests to clippy, and their failure is the test's failure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod addresses;
mod agents;
mod asking;
mod auth;
mod auth_factors;
mod auth_order;
mod auth_passphrase;
mod auth_password;
mod auth_questions;
mod auth_secrets;
mod authorize;
mod authorize_keys;
mod authorized;
mod backoff;
mod bastion;
mod bastion_ends;
mod certificates;
mod commands;
mod connections;
mod dynamic;
mod dynamic_answers;
mod dynamic_garbage;
mod every_kind;
mod expiry;
mod faults;
mod files;
mod further_keys;
mod gateway;
mod host_certificates;
mod host_keys;
mod idle;
mod intruder;
mod isolation;
mod jump;
mod jump_data;
mod keepalive;
mod keys;
mod kinds;
mod learning;
mod limited;
mod limits;
mod load;
mod many;
mod neighbours;
mod network;
mod options;
mod outage;
mod passed;
mod places;
mod ports;
mod probes;
mod program;
mod program_ends;
mod proxies;
mod readers;
mod refusals;
mod rekey;
mod relay;
mod remote;
mod remote_held;
mod remote_refused;
mod remote_reload;
mod servers;
mod sessions;
mod socket_files;
mod ssh_config;
mod sshfp;
mod support;
mod table;
mod test_command;
mod test_forwards;
mod test_users;
mod test_ways;
mod tested;
mod trust;
mod trust_files;
mod two;
mod unix;
mod ways;
