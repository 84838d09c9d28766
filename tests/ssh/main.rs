//! What a tunnel survives. The real binary, a real sshd, a real network to cut.
//!
//! Needs root (namespaces, a private /etc/hosts), openssh-server, iproute2 and util-linux, and a
//! hard limit of at least 8,192 open files. What is missing fails the test that needs it.

// Helpers are not tests to clippy, and their failure is the test's failure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod addresses;
mod auth;
mod backoff;
mod connections;
mod faults;
mod host_keys;
mod isolation;
mod keepalive;
mod keys;
mod load;
mod network;
mod outage;
mod ports;
mod readers;
mod refusals;
mod rekey;
mod support;
