//! A port at the server that somebody else has: another process, or the server's half of a session
//! that has died.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use tunneld_core::failure::{Class, Stage};
use tunneld_core::status::Phase;
use tunneld_lab::process::{Signal, poll};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, TcpServer, connect, echoes, free_addr, is_free};

use crate::gateway::{command, gateway, gateway_with};
use crate::support::{LONG, Table, ending, up};

/// Waits until the server has refused the port so many times: each time it logs why.
fn refused_times(sshd: &Sshd, listen: SocketAddr, times: usize) {
    let said = format!(
        "bind [{}]:{}: Address already in use",
        listen.ip(),
        listen.port()
    );
    let often = || sshd.log().matches(&said).count() >= times;
    assert!(
        poll(LONG, || often().then_some(())).is_some(),
        "{}",
        sshd.log()
    );
}

#[test]
fn a_port_that_is_held_at_the_server_is_called_that_and_taken_once_it_is_free() {
    // The session is kept, the other forwards work, the message names the server's settings.
    let (sshd, echo) = (gateway(), EchoServer::start());
    let (held, other) = (free_addr(), free_addr());
    let holder = TcpListener::bind(held).unwrap();
    let table = Table::to(&sshd).remote(held, echo.addr());
    let daemon = table.remote(other, echo.addr()).start();
    let status = daemon.wait_phase("t", Phase::Degraded, LONG);
    let failure = status.failure.unwrap();
    let cause = format!("remote port held: something listens on {held} at the server");
    assert_eq!(failure.cause, cause);
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Forward, Class::Transient)
    );
    assert!(failure.hint.unwrap().contains("ClientAliveInterval"));
    assert!(status.forwards[1].failure.is_none());
    daemon.wait_for_log(&cause, LONG);
    echoes(other).unwrap();
    drop(holder);
    let status = up(&daemon, "t");
    assert_eq!((status.sessions, status.failure), (1, None));
    echoes(held).unwrap();
}

/// A held port is free, and this makes the tunnel ask for it at once, however long the delay
/// between the tries has become.
fn asks_at_once(nudge: impl FnOnce(&tunneld_lab::daemon::Daemon)) {
    let (sshd, echo, held) = (gateway(), EchoServer::start(), free_addr());
    let holder = TcpListener::bind(held).unwrap();
    let daemon = Table::to(&sshd).remote(held, echo.addr()).start();
    // After the fourth refusal the next try comes eight seconds later.
    refused_times(&sshd, held, 4);
    drop(holder);
    let freed = poll(LONG, || is_free(held).then_some(()));
    assert!(freed.is_some(), "{held} is not free");
    let start = Instant::now();
    nudge(&daemon);
    up(&daemon, "t");
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
    echoes(held).unwrap();
}

#[test]
fn sigusr1_asks_for_a_held_port_at_once() {
    asks_at_once(|daemon| daemon.signal(Signal::USR1));
}

#[test]
fn a_restart_of_the_tunnel_asks_for_a_held_port_at_once() {
    asks_at_once(|daemon| command(daemon, &["restart", "t"]));
}

#[test]
fn a_port_of_a_session_that_has_died_is_taken_once_the_server_has_noticed() {
    // A client that stands still holds it; ClientAliveInterval ends that. The second tunnel keeps
    // its session all the while.
    let sshd = gateway_with("ClientAliveInterval 2\nClientAliveCountMax 2");
    let (echo, held) = (EchoServer::start(), free_addr());
    let table = Table::to(&sshd).remote(held, echo.addr());
    let first = table.up();
    let second = table.start();
    let status = second.wait_phase("t", Phase::Degraded, LONG);
    assert!(
        status
            .failure
            .unwrap()
            .cause
            .starts_with("remote port held: ")
    );
    first.signal(Signal::STOP);
    let status = up(&second, "t");
    assert_eq!(status.sessions, 1);
    echoes(held).unwrap();
}

#[test]
fn a_server_that_is_restarted_listens_again() {
    let (mut sshd, echo, listen) = (gateway(), EchoServer::start(), free_addr());
    let daemon = Table::to(&sshd).remote(listen, echo.addr()).up();
    for sessions in 2..=4 {
        sshd.restart();
        daemon.wait_for("t", LONG, |t| {
            t.phase == Phase::Up && t.sessions == sessions
        });
        echoes(listen).unwrap();
    }
}

#[test]
fn two_hundred_transfers_end_when_the_server_is_killed_and_the_next_ones_are_carried() {
    // Nobody hangs: the clients at the server's side, the targets at ours.
    const CLIENTS: usize = 200;
    let (mut sshd, echo) = (gateway(), EchoServer::start());
    let source = TcpServer::start_anywhere(|mut stream| {
        while std::io::Write::write_all(&mut stream, &[7; 16 << 10]).is_ok() {}
    });
    let (listen, other) = (free_addr(), free_addr());
    let table = Table::to(&sshd).remote(listen, source.addr());
    let daemon = table.remote(other, echo.addr()).up();
    let begun = Barrier::new(CLIENTS + 1);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = connect(listen);
                client.set_read_timeout(Some(LONG)).unwrap();
                client.read_exact(&mut [0; 1000]).unwrap();
                begun.wait();
                // An end or a reset, but not the time that is up.
                if let Err(error) = ending(&mut client) {
                    assert!(tunneld_lab::target::is_reset(&error), "{error}");
                }
            });
        }
        begun.wait();
        sshd.kill9();
    });
    let ended = poll(LONG, || (source.open() == 0).then_some(()));
    assert!(
        ended.is_some(),
        "{} targets are still connected",
        source.open()
    );
    sshd.restart();
    up(&daemon, "t");
    echoes(other).unwrap();
    connect(listen).read_exact(&mut [0; 100_000]).unwrap();
}
