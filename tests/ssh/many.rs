//! Many connections, one after the other and at once, over every kind of forward: nothing is left
//! behind, and nobody is lost.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::pattern::pattern;
use tunneld_lab::process::{Signal, open_files, poll};
use tunneld_lab::target::{EchoServer, read_some};

use crate::every_kind::{EveryKind, Way};
use crate::files::{files_are_back, idle_files};
use crate::support::{LONG, allow_open_files, exchange};

/// An echo behind a forward of every kind.
fn echoes() -> EveryKind {
    EveryKind::to(EchoServer::serve)
}

fn way<'a>(every: &'a EveryKind, name: &str) -> &'a Way {
    let mut ways = every.ways.iter();
    ways.find(|way| way.to_string() == name).unwrap()
}

/// The proportional set size in KiB.
fn memory(daemon: &Daemon) -> u64 {
    let path = format!("/proc/{}/smaps_rollup", daemon.pid());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}

/// Ten thousand connections, eight at a time; every second one is finished by its client's end of
/// file, and the others by their client's going.
fn come_and_go(name: &str) {
    const TIMES: usize = 10_000;
    let every = echoes();
    let way = way(&every, name);
    drop_after_exchange(way, 0);
    let (files, before) = (idle_files(&every.daemon), memory(&every.daemon));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let n @ 0..TIMES = next.fetch_add(1, Ordering::Relaxed) {
                    drop_after_exchange(way, n);
                }
            });
        }
    });
    idle_files(&every.daemon);
    files_are_back(&every.daemon, files);
    let status = every.daemon.tunnel("t");
    let refused: u64 = status.forwards.iter().map(|f| f.connections.refused).sum();
    assert_eq!((status.phase, refused), (Phase::Up, 0));
    let after = memory(&every.daemon);
    eprintln!("{name}: {before} KiB before, {after} KiB after {TIMES} connections");
}

fn drop_after_exchange(way: &Way, n: usize) {
    let mut client = way.connect();
    exchange(&mut client, &n.to_le_bytes());
    if n.is_multiple_of(2) {
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_some(&mut client, &mut [0]).unwrap(), 0);
    }
}

#[test]
fn ten_thousand_connections_of_a_local_forward_leave_no_file_open() {
    come_and_go("local_forward port to port");
}

#[test]
fn ten_thousand_connections_of_a_remote_forward_leave_no_file_open() {
    come_and_go("remote_forward port to port");
}

#[test]
fn ten_thousand_connections_of_a_dynamic_forward_leave_no_file_open() {
    come_and_go("dynamic_forward");
}

const CLIENTS: u64 = 500;

/// Five hundred clients at once are all served, each with its own bytes.
fn at_once(name: &str) {
    allow_open_files(8192);
    let every = echoes();
    let way = way(&every, name);
    all_served(&every, (0..CLIENTS).map(|_| way.connect()).collect());
}

fn all_served(every: &EveryKind, mut clients: Vec<TcpStream>) {
    for (n, client) in clients.iter_mut().enumerate() {
        client.write_all(&pattern(2000, n as u64)).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    }
    // All of them are open at the same moment: none has been read yet.
    for (n, client) in clients.iter_mut().enumerate() {
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        let (got, wanted) = (back.len(), pattern(2000, n as u64));
        assert!(back == wanted, "client {n} got {got} bytes");
    }
    idle_files(&every.daemon);
    let status = every.daemon.tunnel("t");
    let (mut total, mut refused) = (0, 0);
    for forward in &status.forwards {
        total += forward.connections.total;
        refused += forward.connections.refused;
    }
    assert_eq!((total, refused, status.sessions), (CLIENTS, 0, 1));
}

#[test]
fn five_hundred_clients_of_a_remote_forward_at_once_are_all_served() {
    at_once("remote_forward port to port");
}

#[test]
fn five_hundred_clients_of_a_remote_forward_that_asks_at_once_are_all_served() {
    at_once("remote_forward that asks");
}

#[test]
fn five_hundred_clients_of_a_dynamic_forward_at_once_are_all_served() {
    at_once("dynamic_forward");
}

#[test]
fn clients_of_a_remote_forward_that_come_while_the_daemon_is_held_up_are_all_served() {
    // The server hands them over all at once then.
    allow_open_files(8192);
    let every = echoes();
    let way = way(&every, "remote_forward port to port");
    every.daemon.signal(Signal::STOP);
    let clients: Vec<_> = (0..CLIENTS).map(|_| way.connect()).collect();
    let accepted = || {
        let sessions = every.sshd.sessions().into_iter();
        let files = sessions.map(open_files).max().unwrap_or_default();
        (files as u64 >= CLIENTS).then_some(())
    };
    assert!(
        poll(LONG, accepted).is_some(),
        "the server has not accepted them"
    );
    every.daemon.signal(Signal::CONT);
    all_served(&every, clients);
}
