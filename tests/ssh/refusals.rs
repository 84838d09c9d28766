//! Connections that the server refuses: the client is told at once, and the log says why.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::fault::{Fault, Refusal};
use tunneld_lab::pattern::Pattern;
use tunneld_lab::process::poll;
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{connect, echoes, free_addr};

use crate::support::{Broken, LONG, Rig, Table, carried, ending, exchange, refused, with_hosts};

/// A client of `listen` is closed at once and gets nothing; log and status give `reason`.
fn is_refused(rig: &Rig, listen: SocketAddr, forward: usize, reason: &str) {
    let start = Instant::now();
    refused(listen);
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    let line = rig.daemon.wait_for_log("connection refused: ", LONG);
    assert!(line.contains(reason), "{line}");
    let status = rig.status();
    let forward = &status.forwards[forward];
    assert_eq!(forward.connections.refused, 1);
    assert!(
        forward.last_refusal.as_ref().unwrap().contains(reason),
        "{forward:?}"
    );
    assert_eq!((status.phase, status.sessions), (Phase::Up, 1));
}

#[test]
fn a_target_that_is_down_closes_the_client_and_others_are_served() {
    // The reason is the operating system's at the far side.
    let (dead, listen) = (free_addr(), free_addr());
    let rig = Rig::new(|t| t.forward(listen, dead));
    let reason = format!("{dead}: connect failed: connection refused");
    is_refused(&rig, listen, 1, &reason);
    echoes(rig.listen).unwrap();
}

#[test]
fn forwarding_that_the_server_forbids_closes_the_client_and_says_so() {
    // AllowTcpForwarding no.
    let sshd = Sshd::builder().config("AllowTcpForwarding no").start();
    let rig = Rig::with(sshd, |t| t);
    is_refused(&rig, rig.listen, 0, "administratively prohibited");
}

#[test]
fn a_target_that_the_server_does_not_permit_closes_the_client_and_others_are_served() {
    // PermitOpen: one target is allowed, the other is not.
    let echo = tunneld_lab::target::EchoServer::start();
    let permit = format!("PermitOpen {}", echo.addr());
    let sshd = Sshd::builder().config(&permit).start();
    let listen = free_addr();
    let rig = Rig::with(sshd, |t| t.forward(listen, echo.addr()));
    is_refused(&rig, rig.listen, 0, "administratively prohibited");
    echoes(listen).unwrap();
}

#[test]
fn a_target_whose_name_nobody_knows_closes_the_client_and_says_so() {
    // The name is resolved at the far side.
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    let sshd = Sshd::builder().prefix(&with_hosts(&hosts)).start();
    let listen = free_addr();
    let rig = Rig::with(sshd, |t| t.forward(listen, "nowhere.invalid:80"));
    is_refused(
        &rig,
        listen,
        1,
        "nowhere.invalid:80: connect failed: name or service not known",
    );
    echoes(rig.listen).unwrap();
}

#[test]
fn each_reason_that_a_server_can_give_is_told() {
    // The codes of RFC 4254 section 5.1.
    let broken = Broken::new(None);
    let daemon = broken.table.clone().up();
    for (refusal, words) in [
        (
            Refusal::AdministrativelyProhibited,
            "administratively prohibited",
        ),
        (Refusal::ConnectFailed, "connect failed"),
        (
            Refusal::UnknownChannelType,
            "the server does not know this kind of forward",
        ),
        (
            Refusal::ResourceShortage,
            "the server is short of resources",
        ),
    ] {
        broken
            .server
            .set_fault(Some(Fault::RefuseChannels(refusal)));
        refused(broken.listen);
        daemon.wait_for_log(words, LONG);
    }
    broken.server.set_fault(None);
    echoes(broken.listen).unwrap();
    assert_eq!(daemon.tunnel("t").sessions, 1);
}

#[test]
fn a_server_that_never_answers_an_open_holds_up_nobody_else() {
    // One connection waits for its answer; the next ones are carried.
    let broken = Broken::new(Some(Fault::NeverAnswerChannels));
    let daemon = broken.table.clone().up();
    let mut stuck = connect(broken.listen);
    stuck.write_all(b"x").unwrap();
    daemon.wait_for("t", LONG, |t| t.forwards[0].connections.open == 1);
    let asked = poll(LONG, || (broken.server.channels() == 1).then_some(()));
    assert!(asked.is_some());
    broken.server.set_fault(None);
    echoes(broken.listen).unwrap();
    drop(stuck);
}

#[test]
fn one_connection_over_max_connections_is_reset_and_a_place_that_is_freed_is_used() {
    // The limit is kept exactly.
    let listen = free_addr();
    let sshd = Sshd::start();
    let echo = tunneld_lab::target::EchoServer::start();
    let daemon = Table::to(&sshd)
        .forward_with(listen, echo.addr(), "max_connections = 2")
        .up();
    let (one, mut two) = (carried(listen), carried(listen));
    refused(listen);
    daemon.wait_for_log("more than 2 connections (max_connections)", LONG);
    exchange(&mut two, b"the others are not touched");
    drop(one);
    daemon.wait_for("t", LONG, |t| t.forwards[0].connections.open == 1);
    exchange(&mut carried(listen), b"welcome");
    assert_eq!(daemon.tunnel("t").forwards[0].connections.refused, 1);
}

#[test]
fn five_thousand_refused_connections_leave_a_tunnel_that_works_and_cut_nothing() {
    // A session that is worn out by them is replaced; what it carries goes on to its end.
    const REFUSED: u64 = 5000;
    let (dead, listen) = (free_addr(), free_addr());
    let rig = Rig::new(|t| t.forward(listen, dead));
    let done = AtomicBool::new(false);
    let exchanged = std::thread::scope(|scope| {
        let long = scope.spawn(|| long_exchange(rig.listen, &done));
        let clients: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..REFUSED / 4).for_each(|_| refused(listen))))
            .collect();
        let ended: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
        let all = |t: &TunnelStatus| t.forwards[1].connections.refused == REFUSED;
        let counted = poll(LONG, || all(&rig.status()).then_some(()));
        let replaced = poll(LONG, || (rig.status().sessions >= 2).then_some(()));
        // Before anything can fail: nothing else ends the long one.
        done.store(true, Ordering::SeqCst);
        ended.into_iter().for_each(|end| end.unwrap());
        assert!(
            counted.is_some() && replaced.is_some(),
            "{:?}",
            rig.status()
        );
        long.join().unwrap()
    });
    assert!(exchanged > 100_000, "{exchanged}");
    echoes(rig.listen).unwrap();
    let status = rig.status();
    assert_eq!(status.phase, Phase::Up);
    // Two replacements for five thousand: not one for each refusal.
    assert!(status.sessions <= 4, "{}", status.sessions);
    let log = rig.daemon.log_text();
    assert!(
        !log.contains("tunnel down"),
        "{}",
        lines_with(&log, "tunnel down")
    );
}

fn lines_with(log: &str, part: &str) -> String {
    log.lines().filter(|l| l.contains(part)).collect()
}

/// One connection to the echo that exchanges and compares bytes until it is told to stop, and then
/// to its orderly end.
fn long_exchange(listen: SocketAddr, done: &AtomicBool) -> usize {
    let mut client = carried(listen);
    let mut bytes = Pattern::new(1 << 40, 3);
    let mut total = 0;
    let mut piece = [0; 1000];
    while !done.load(Ordering::SeqCst) {
        bytes.read_exact(&mut piece).unwrap();
        exchange(&mut client, &piece);
        total += piece.len();
    }
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(ending(&mut client).unwrap(), 0);
    total
}
