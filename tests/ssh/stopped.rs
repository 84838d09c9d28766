//! A tunnel that is stopped is told as stopped at once, however long its connections take.

use std::thread;

use tunneld_core::status::Phase;
use tunneld_lab::process::{Signal, poll, printed};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, free_addr};

use crate::history::history;
use crate::program::array;
use crate::support::{LONG, Table, carried, daemon, exchange, up};

/// Far longer than a test.
const DRAIN: &str = "\n[daemon]\ncontrol_socket = \"{socket}\"\ndrain_timeout = \"1h\"\n";

#[test]
fn a_stop_is_told_before_connections_have_drained() {
    // History, journal and on_down know it while a client is still served.
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let told = sshd.dir().join("told");
    let touch = array(["/usr/bin/touch", told.to_str().unwrap()]);
    let table = Table::to(&sshd)
        .forward(listen, echo.addr())
        .set("on_down", touch);
    let daemon = daemon().config(&(table.toml() + DRAIN)).start();
    up(&daemon, "t");
    let mut client = carried(listen);
    thread::scope(|scope| {
        let stop = scope.spawn(|| daemon.cli(&["stop", "t"]));
        daemon.wait_for_log("tunnel stopped", LONG);
        assert!(poll(LONG, || told.exists().then_some(())).is_some());
        let history = history(&daemon);
        let last = history.entries.last().map(|entry| entry.phase);
        assert_eq!(last, Some(Phase::Stopped), "{history:#?}");
        exchange(&mut client, b"still here");
        assert!(!stop.is_finished(), "nothing drains");
        drop(client);
        // All of them have ended, so there is nothing to say.
        let output = stop.join().unwrap();
        assert!(output.status.success());
        assert_eq!(printed(&output), "");
    });
}

#[test]
fn the_end_of_the_daemon_is_told_before_connections_have_drained() {
    // The daemon still waits for its program, and for its connections.
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let told = sshd.dir().join("told");
    let line = format!("sleep 0.2; touch {}", told.display());
    let table = Table::to(&sshd)
        .forward(listen, echo.addr())
        .set("on_down", array(["/bin/sh", "-c", &line]));
    let mut daemon = daemon().config(&(table.toml() + DRAIN)).start();
    up(&daemon, "t");
    let mut client = carried(listen);
    daemon.signal(Signal::TERM);
    assert!(poll(LONG, || told.exists().then_some(())).is_some());
    exchange(&mut client, b"still here");
    drop(client);
    assert!(daemon.wait_exit(LONG).success());
}
