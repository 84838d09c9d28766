//! What tunnels are for. Each lab is a file of examples/ as it is shipped, on machines that have no
//! other way to one another: the real binary, real sshds, and real servers behind them.
//!
//! An example is run with the names, ports and accounts that it has; only the places of files are
//! changed. Where its comments show lines for the server's files, or commands, it is these lines
//! that are used.
//!
//! The guides of docs/ are run the same way: what they show as a file, and the commands below it.
//!
//! Needs root (network namespaces), iproute2, util-linux, openssh-server, curl, python3, git,
//! postgresql and ansible-core. What is missing fails the test that needs it.

// Helpers are not tests to clippy, and their failure is the test's failure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bastion;
mod behind_a_bastion;
mod browse_through;
mod database;
mod example;
mod fleet;
mod git_over_ssh;
mod guides;
mod home_network;
mod postgres;
mod publish_on_a_gateway;
mod server_loopback;
mod support;
mod three_hops;
