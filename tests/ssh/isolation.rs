//! What happens to one tunnel does not happen to the others.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::daemon::Daemon;
use tunneld_lab::fault::{Fault, KexPoint};
use tunneld_lab::pattern::pattern;
use tunneld_lab::process::{Signal, poll};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, connect, echoes, free_addr, half_close_exchange, is_reset};

use crate::support::{Broken, LONG, Table, carried, daemon, ending, exchange, text, up};

/// Tunnels `t0`, `t1`, … to one server.
fn tunnels(sshd: &Sshd, echo: &EchoServer, count: usize) -> (String, Vec<SocketAddr>) {
    let listens: Vec<_> = (0..count).map(|_| free_addr()).collect();
    let table = |(n, listen): (usize, &SocketAddr)| {
        let table = Table::to(sshd).named(&format!("t{n}"));
        table.forward(*listen, echo.addr()).toml()
    };
    (listens.iter().enumerate().map(table).collect(), listens)
}

/// None of the tunnels has lost a session.
fn untouched(daemon: &Daemon, count: usize) {
    for n in 0..count {
        let status = daemon.tunnel(&format!("t{n}"));
        assert_eq!((status.phase, status.sessions), (Phase::Up, 1), "t{n}");
    }
}

#[test]
fn nineteen_tunnels_carry_data_while_the_twentieth_misbehaves_in_every_way() {
    // A bad server, a bad client: every byte of the others arrives, on the sessions they had.
    const GOOD: usize = 19;
    let (sshd, echo) = (Sshd::start(), EchoServer::start());
    let (config, listens) = tunnels(&sshd, &echo, GOOD);
    let broken = Broken::new(None);
    let reconnect = r#"{ initial = "10ms", max = "20ms" }"#;
    let bad = broken
        .table
        .clone()
        .named("bad")
        .set("reconnect", reconnect);
    let bad = bad.set("connect_timeout", text("1s")).alive("1s", 1);
    let daemon = daemon().config(&(config + &bad.toml())).start();
    for n in 0..GOOD {
        up(&daemon, &format!("t{n}"));
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let trouble = scope.spawn(|| misbehave(&broken, &done));
        let good: Vec<_> = listens
            .iter()
            .enumerate()
            .map(|(n, listen)| scope.spawn(move || transfer(*listen, n as u64)))
            .collect();
        let results: Vec<_> = good.into_iter().map(|thread| thread.join()).collect();
        done.store(true, Ordering::SeqCst);
        trouble.join().unwrap();
        for result in results {
            result.unwrap();
        }
    });
    untouched(&daemon, GOOD);
    broken.server.set_fault(None);
    let mended = poll(LONG, || echoes(broken.listen).ok());
    assert!(mended.is_some(), "it does not come back");
}

fn transfer(listen: SocketAddr, seed: u64) {
    let mut held = carried(listen);
    let bytes = pattern(1_000_000, seed);
    assert!(half_close_exchange(listen, &bytes).unwrap() == bytes);
    exchange(&mut held, b"the same connection");
}

/// Every fault in turn, with live sessions torn down between them, until told to stop; at least
/// once around.
fn misbehave(broken: &Broken, done: &AtomicBool) {
    let faults = [
        Fault::AcceptAndNeverSpeak,
        Fault::ResetOnAccept,
        Fault::NotSsh,
        Fault::EndlessBanner,
        Fault::CloseDuringKex(KexPoint::AfterKexInit),
        Fault::DropEachAuthentication,
        Fault::NeverAnswerAuthentication,
        Fault::NeverAnswerChannels,
    ];
    let mut clients = Vec::new();
    for (n, fault) in faults.iter().cycle().enumerate() {
        if n >= faults.len() && done.load(Ordering::SeqCst) {
            return;
        }
        broken.server.set_fault(Some(fault.clone()));
        broken.server.drop_connections();
        clients.push(connect(broken.listen));
        let before = broken.server.accepted();
        let tried = poll(LONG, || (broken.server.accepted() > before).then_some(()));
        assert!(
            tried.is_some() || *fault == Fault::NeverAnswerChannels,
            "{fault:?}"
        );
        clients.truncate(50);
    }
}

#[test]
fn a_tunnel_whose_task_panics_comes_back_and_the_others_never_notice() {
    // A transfer through another tunnel compares every byte; the death is logged as our bug.
    let (sshd, echo) = (Sshd::start(), EchoServer::start());
    let (config, listens) = tunnels(&sshd, &echo, 3);
    let (bad_listen, bad) = (free_addr(), Table::to(&sshd).named("bad"));
    let config = config + &bad.forward(bad_listen, echo.addr()).toml();
    let daemon = daemon()
        .env("TUNNELD_INJECT", "panic-on-retry:bad")
        .config(&config)
        .start();
    for n in 0..3 {
        up(&daemon, &format!("t{n}"));
    }
    up(&daemon, "bad");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let transfers: Vec<_> = listens
            .iter()
            .map(|listen| scope.spawn(|| keep_exchanging(*listen, &done)))
            .collect();
        for death in 1..=3 {
            let mark = daemon.log_mark();
            daemon.signal(Signal::USR1);
            let line = daemon.wait_for_log_from(mark, "the tunnel's task failed", LONG);
            assert!(
                line.contains("a bug in tunneld") && line.contains("bad"),
                "{line}"
            );
            let back = |t: &TunnelStatus| t.phase == Phase::Up;
            daemon.wait_for_log_from(mark, "tunnel up", LONG);
            daemon.wait_for("bad", LONG, back);
            echoes(bad_listen).unwrap_or_else(|e| panic!("after death {death}: {e}"));
        }
        done.store(true, Ordering::SeqCst);
        for transfer in transfers {
            assert!(transfer.join().unwrap() > 0);
        }
    });
    untouched(&daemon, 3);
}

#[test]
fn a_tunnel_whose_task_has_died_is_not_shown_as_up_and_its_clients_are_reset() {
    // No client takes the death for an end of file; status says what happened and when it comes back.
    let (sshd, echo, listen) = (Sshd::start(), EchoServer::start(), free_addr());
    let slow = r#"{ initial = "30s", max = "60s" }"#;
    let table = Table::to(&sshd).set("reconnect", slow);
    let daemon = daemon()
        .env("TUNNELD_INJECT", "panic-on-retry:t")
        .config(&table.forward(listen, echo.addr()).toml())
        .start();
    up(&daemon, "t");
    let mut client = carried(listen);
    exchange(&mut client, b"before");
    daemon.signal(Signal::USR1);
    let error = ending(&mut client).expect_err("an orderly end, not a reset");
    assert!(is_reset(&error), "{error}");
    let status = daemon.wait_for("t", LONG, |t| t.phase != Phase::Up);
    assert_eq!(status.phase, Phase::Waiting);
    assert!(status.retry_at_unix_ms.is_some() && status.session.is_none());
    assert!(status.failure.unwrap().cause.contains("a bug in tunneld"));
    assert_eq!(daemon.cli(&["restart", "t"]).status.code(), Some(0));
    up(&daemon, "t");
    echoes(listen).unwrap();
}

fn keep_exchanging(listen: SocketAddr, done: &AtomicBool) -> u64 {
    let mut client = carried(listen);
    let mut rounds = 0;
    while !done.load(Ordering::SeqCst) {
        exchange(&mut client, &pattern(50_000, rounds));
        rounds += 1;
    }
    rounds
}

#[test]
fn a_frozen_server_does_not_hold_up_the_tunnels_to_another() {
    // Its keepalive, its clients that wait, its end: all its own.
    let (frozen, good) = (Sshd::start(), Sshd::start());
    let echo = EchoServer::start();
    let (config, listens) = tunnels(&good, &echo, 2);
    let listen = free_addr();
    let bad = Table::to(&frozen).named("bad").alive("500ms", 1);
    let config = config + &bad.forward(listen, echo.addr()).toml();
    let daemon = daemon().config(&config).start();
    for name in ["t0", "t1", "bad"] {
        up(&daemon, name);
    }
    let held: Vec<_> = (0..20).map(|_| carried(listen)).collect();
    frozen.freeze();
    for n in 0..20 {
        let bytes = pattern(200_000, n);
        assert!(half_close_exchange(listens[n as usize % 2], &bytes).unwrap() == bytes);
    }
    daemon.wait_for("bad", LONG, |t| t.phase != Phase::Up);
    drop(held);
    untouched(&daemon, 2);
    frozen.thaw();
    up(&daemon, "bad");
}
