//! A server that opens ports for its clients, and what to put behind them.

use std::io::Write;
use std::net::SocketAddr;

use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::printed;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{TcpServer, read_all, try_connect};

use crate::support::{LONG, Table};

/// A server that listens wherever it is asked to.
pub(crate) fn gateway() -> Sshd {
    gateway_with("")
}

/// The same, with more lines of sshd_config.
pub(crate) fn gateway_with(lines: &str) -> Sshd {
    let builder = Sshd::builder().config("GatewayPorts clientspecified");
    builder.config(lines).start()
}

/// A target that says its name and closes.
pub(crate) fn named(name: &'static str) -> TcpServer {
    TcpServer::start_anywhere(move |mut stream| {
        let _ = stream.write_all(name.as_bytes());
    })
}

/// Who answers at an address; empty where nobody does.
pub(crate) fn who(listen: SocketAddr) -> String {
    let said = try_connect(listen).and_then(|mut stream| read_all(&mut stream, LONG));
    String::from_utf8(said.unwrap_or_default()).unwrap()
}

/// Reloads with this table, which must be taken.
pub(crate) fn reload(daemon: &Daemon, table: &Table) {
    daemon.write_config(&table.toml());
    let output = daemon.reload();
    assert!(output.status.success(), "{}", printed(&output));
}

/// Runs a command of the daemon's, which must succeed.
pub(crate) fn command(daemon: &Daemon, words: &[&str]) {
    let output = daemon.cli(words);
    assert!(output.status.success(), "{words:?}: {}", printed(&output));
}
