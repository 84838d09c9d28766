//! Many clients at once, and a process that is out of file descriptors.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::pattern::pattern;
use tunneld_lab::process::stat;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, connect, echoes, free_addr};

use crate::support::{LONG, Rig, Table, allow_open_files, carried, daemon, exchange, pass, up};

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

#[test]
fn more_forwards_than_descriptors_leave_the_watchdog_and_the_session_theirs() {
    // The last of them do not listen, and say why; the daemon is ready, and its watchdog is fed.
    const FORWARDS: usize = 150;
    let (sshd, echo) = (Sshd::start(), EchoServer::start());
    let places: Vec<_> = (0..FORWARDS).map(|_| free_addr()).collect();
    let table = Table::to(&sshd);
    let table = places
        .iter()
        .fold(table, |t, place| t.forward(place, echo.addr()));
    let limit = ["prlimit", "--nofile=128:128"];
    let daemon = daemon()
        .config(&table.toml())
        .prefix(&limit)
        .notify()
        .env("WATCHDOG_USEC", "600000")
        .spawn();
    let status = daemon.wait_phase("t", Phase::Degraded, LONG);
    let cause = status.failure.unwrap().cause;
    assert!(cause.ends_with(": too many open files"), "{cause}");
    daemon.notify().wait_for("READY=1", LONG);
    let mark = daemon.notify().mark();
    daemon.notify().wait_from(mark, "WATCHDOG=1", LONG);
}

#[test]
fn with_128_open_files_tunnels_come_before_clients() {
    // A thousand clients take what there is: the sessions stay, one that breaks is made again, the
    // status is told, the processor rests, and those who wait are served as others leave.
    const CLIENTS: usize = 1000;
    allow_open_files(8192);
    let (sshd, mut other) = (Sshd::start(), Sshd::start());
    let (echo, listen, apart) = (EchoServer::start(), free_addr(), free_addr());
    let table = Table::to(&sshd).forward(listen, echo.addr());
    let second = Table::to(&other).named("other").forward(apart, echo.addr());
    let limit = ["prlimit", "--nofile=128:128"];
    let daemon = daemon()
        .config(&(table.toml() + &second.toml()))
        .prefix(&limit)
        .start();
    up(&daemon, "t");
    up(&daemon, "other");
    let mut first = carried(listen);
    let mut many: Vec<_> = (0..CLIENTS).map(|_| connect(listen)).collect();
    daemon.wait_for_log("listener paused 1s: too many open files", LONG);
    exchange(&mut first, b"the connections are not touched");
    // Commands are answered, and a session that breaks is made again.
    up(&daemon, "t");
    other.kill9();
    daemon.wait_for("other", LONG, |t| t.phase != Phase::Up);
    other.restart();
    up(&daemon, "other");
    // It does not spin meanwhile: a fifth of a second of work in two seconds is more than enough.
    let before = busy(daemon.pid());
    pass(Duration::from_secs(2));
    let spent = busy(daemon.pid()) - before;
    assert!(spent < Duration::from_millis(500), "{spent:?}");
    let mut last = many.pop().unwrap();
    last.set_read_timeout(Some(LONG)).unwrap();
    drop(many);
    exchange(&mut last, b"patience pays");
    echoes(listen).unwrap();
    assert_eq!(up(&daemon, "t").sessions, 1);
    let log = daemon.log_text();
    assert_eq!(log.matches("listener paused").count(), 1, "{log}");
}

/// How long a process has used the processors.
fn busy(pid: u32) -> Duration {
    // utime and stime, in ticks.
    let ticks = |field| stat(pid, field).unwrap().parse::<u64>().unwrap();
    let (user, system) = (ticks(11), ticks(12));
    let second = rustix::param::clock_ticks_per_second();
    Duration::from_millis((user + system) * 1000 / second)
}
