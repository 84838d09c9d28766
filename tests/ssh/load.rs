//! Many clients at once, and a process that is out of file descriptors.

use std::io::{Read, Write};
use std::net::Shutdown;

use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::pattern::pattern;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, connect, echoes, free_addr};

use crate::support::{LONG, Rig, Table, allow_open_files, carried, daemon, exchange, up};

#[test]
fn a_thousand_clients_at_once_are_all_served() {
    // Every one gets its own bytes back, and none is lost or refused.
    const CLIENTS: u64 = 1000;
    allow_open_files(8192);
    let rig = Rig::new(|t| t);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| connect(rig.listen)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.write_all(&pattern(2000, n as u64)).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    }
    // All of them are open at the same moment: none has been read yet.
    for (n, client) in clients.iter_mut().enumerate() {
        client.set_read_timeout(Some(LONG)).unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        let (got, wanted) = (back.len(), pattern(2000, n as u64));
        assert!(back == wanted, "client {n} got {got} bytes");
    }
    let done = |t: &TunnelStatus| t.forwards[0].connections.open == 0;
    let status = rig.daemon.wait_for("t", LONG, done);
    let forward = &status.forwards[0];
    assert_eq!(
        (forward.connections.total, forward.connections.refused),
        (CLIENTS, 0)
    );
    assert_eq!(
        (forward.bytes_sent, forward.bytes_received),
        (CLIENTS * 2000, CLIENTS * 2000)
    );
    assert_eq!((status.phase, status.sessions), (Phase::Up, 1));
}

#[test]
fn a_thousand_clients_that_come_during_an_outage_are_all_served() {
    // They wait, and the new session carries them all.
    const CLIENTS: usize = 1000;
    allow_open_files(8192);
    let mut sshd = Sshd::start();
    let (echo, listen) = (EchoServer::start(), free_addr());
    let wait = "wait_timeout = \"60s\"";
    let daemon = Table::to(&sshd)
        .forward_with(listen, echo.addr(), wait)
        .up();
    sshd.kill9();
    daemon.wait_for("t", LONG, |t| t.phase != Phase::Up);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| connect(listen)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.write_all(&pattern(100, n as u64)).unwrap();
    }
    sshd.restart();
    for (n, client) in clients.iter_mut().enumerate() {
        client.set_read_timeout(Some(LONG)).unwrap();
        let mut back = [0; 100];
        client.read_exact(&mut back).unwrap();
        assert!(back == *pattern(100, n as u64), "client {n}");
    }
    assert_eq!(daemon.tunnel("t").forwards[0].connections.refused, 0);
}

#[test]
fn without_file_descriptors_the_listener_pauses_and_serves_again_afterwards() {
    // No accept error ends a listener; it is said once; the tunnel and its connections stay.
    let sshd = Sshd::start();
    let (echo, listen) = (EchoServer::start(), free_addr());
    let table = Table::to(&sshd).alive("1s", 3).forward(listen, echo.addr());
    let limit = ["prlimit", "--nofile=64:64"];
    let daemon = daemon().config(&table.toml()).prefix(&limit).start();
    up(&daemon, "t");
    let mut first = carried(listen);
    let mut many: Vec<_> = (0..120).map(|_| connect(listen)).collect();
    let line = daemon.wait_for_log("listener paused 1s: too many open files", LONG);
    assert!(line.contains("limit=64"), "{line}");
    exchange(&mut first, b"the connections are not touched");
    // As clients leave, those behind them get in: the last of them too.
    let mut last = many.pop().unwrap();
    last.set_read_timeout(Some(LONG)).unwrap();
    drop(many);
    exchange(&mut last, b"patience pays");
    echoes(listen).unwrap();
    let status = up(&daemon, "t");
    assert_eq!(status.sessions, 1);
    let log = daemon.log_text();
    assert_eq!(log.matches("listener paused").count(), 1, "{log}");
}
