//! A server that goes away and comes back: what its clients see.

use std::io::Write;
use std::time::{Duration, Instant};

use tunneld_core::failure::{Class, Stage};
use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, connect, echoes, free_addr, is_reset};

use crate::support::{LONG, Rig, Table, carried, ending, exchange, fails, refused, up};

#[test]
fn clients_that_wait_through_an_outage_are_served_and_the_others_are_reset() {
    // sshd is killed and started again: `wait` holds a client and carries it, `refuse` resets it.
    let mut sshd = Sshd::start();
    let echo = EchoServer::start();
    let (waits, refuses) = (free_addr(), free_addr());
    let daemon = Table::to(&sshd)
        .forward_with(
            waits,
            echo.addr(),
            r#"while_down = "wait", wait_timeout = "60s""#,
        )
        .forward_with(refuses, echo.addr(), r#"while_down = "refuse""#)
        .up();
    echoes(waits).unwrap();
    echoes(refuses).unwrap();
    sshd.kill9();
    let failure = fails(&daemon, "t", "connection refused");
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::Connect, Class::Transient)
    );
    let mut waiting: Vec<_> = (0..10).map(|_| connect(waits)).collect();
    for (n, client) in waiting.iter_mut().enumerate() {
        client.write_all(&[u8::try_from(n).unwrap(); 1000]).unwrap();
    }
    for _ in 0..3 {
        refused(refuses);
    }
    sshd.restart();
    for (n, client) in waiting.iter_mut().enumerate() {
        client.set_read_timeout(Some(LONG)).unwrap();
        let mut back = [0; 1000];
        std::io::Read::read_exact(client, &mut back).unwrap();
        assert_eq!(back, [u8::try_from(n).unwrap(); 1000]);
    }
    let status = up(&daemon, "t");
    assert_eq!(status.sessions, 2);
    echoes(refuses).unwrap();
    let count = |at: usize| status.forwards[at].connections.refused;
    assert_eq!((count(0), count(1)), (0, 3));
}

#[test]
fn a_client_that_waits_longer_than_wait_timeout_is_reset() {
    // Held for `wait_timeout`, not shorter and not for ever, and then told by a reset.
    let mut sshd = Sshd::start();
    let (echo, listen) = (EchoServer::start(), free_addr());
    let daemon = Table::to(&sshd)
        .forward_with(listen, echo.addr(), r#"wait_timeout = "1s""#)
        .up();
    sshd.kill9();
    fails(&daemon, "t", "connection refused");
    let start = Instant::now();
    let mut client = connect(listen);
    let error = ending(&mut client).unwrap_err();
    let took = start.elapsed();
    assert!(is_reset(&error), "{error}");
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert!(took <= Duration::from_secs(5), "{took:?}");
    daemon.wait_for_log("the tunnel was down for 1s (wait_timeout)", LONG);
}

#[test]
fn when_a_session_dies_its_clients_are_reset_and_never_see_an_end_of_file() {
    // What is cut off must not look complete.
    let rig = Rig::new(|t| t);
    let mut clients: Vec<_> = (0..5).map(|_| carried(rig.listen)).collect();
    rig.sshd.kill_sessions();
    for client in &mut clients {
        let error = ending(client).unwrap_err();
        assert!(is_reset(&error), "{error}");
    }
    rig.daemon
        .wait_for("t", LONG, |t| t.phase == Phase::Up && t.sessions == 2);
    exchange(&mut carried(rig.listen), b"and again");
}

#[test]
fn ten_outages_in_a_row_are_survived() {
    // It never gives up, and the listener is never rebound.
    let mut rig = Rig::new(|t| t);
    for n in 0..10 {
        rig.sshd.restart();
        let again = |t: &TunnelStatus| t.phase == Phase::Up && t.sessions >= n + 2;
        rig.daemon.wait_for("t", LONG, again);
        echoes(rig.listen).unwrap();
    }
    let log = rig.daemon.log_text();
    assert_eq!(log.matches("listening on").count(), 1, "{log}");
}
