//! Servers that are broken before a session exists: each fault has its stage, and is survived.

use std::time::{Duration, Instant};

use tunneld_core::failure::{Class, Stage};
use tunneld_core::status::Phase;
use tunneld_lab::fault::{Fault, KexPoint};
use tunneld_lab::process::poll;
use tunneld_lab::target::echoes;

use crate::support::{Broken, LATE, LONG, NEVER, fails, up};

/// The tunnel fails with `cause` at `stage`, is retried, and comes up once the server is mended.
fn is_survived(fault: Fault, stages: &[Stage], cause: &str) {
    let broken = Broken::new(Some(fault));
    let daemon = broken
        .table
        .clone()
        .set("connect_timeout", "\"1s\"")
        .start();
    let failure = fails(&daemon, "t", cause);
    assert!(stages.contains(&failure.stage), "{failure:?}");
    assert_eq!(failure.class, Class::Transient, "{failure:?}");
    let retried = poll(LONG, || (broken.server.accepted() >= 3).then_some(()));
    assert!(retried.is_some(), "it is not retried");
    assert_ne!(daemon.tunnel("t").phase, Phase::Blocked);
    broken.server.set_fault(None);
    up(&daemon, "t");
    echoes(broken.listen).unwrap();
}

#[test]
fn a_server_that_accepts_and_never_speaks_is_given_up_after_connect_timeout() {
    // One deadline over everything; what was given up is closed, not left behind.
    let broken = Broken::new(Some(Fault::AcceptAndNeverSpeak));
    let table = broken.table.clone().set("connect_timeout", "\"1s\"");
    let daemon = table.set("reconnect", NEVER).start();
    assert!(poll(LONG, || (broken.server.accepted() == 1).then_some(())).is_some());
    let start = Instant::now();
    daemon.wait_for_log("server accepted but did not speak SSH within 1s", LONG);
    let took = start.elapsed();
    assert!(took <= Duration::from_secs(1) + LATE, "{took:?}");
    let failure = fails(&daemon, "t", "did not speak SSH");
    assert_eq!(
        (failure.stage, failure.class),
        (Stage::KeyExchange, Class::Transient)
    );
    let closed = poll(LONG, || (broken.server.open() == 0).then_some(()));
    assert!(closed.is_some(), "the connection stays open");
}

#[test]
fn a_server_that_never_speaks_is_survived() {
    // It is tried again, and used once it speaks.
    is_survived(
        Fault::AcceptAndNeverSpeak,
        &[Stage::KeyExchange],
        "did not speak SSH within 1s",
    );
}

#[test]
fn a_server_that_closes_after_the_versions_is_survived() {
    // A failure of the key exchange, which waiting can fix.
    let fault = Fault::CloseDuringKex(KexPoint::AfterVersions);
    is_survived(
        fault,
        &[Stage::KeyExchange],
        "server closed the connection during key exchange",
    );
}

#[test]
fn a_server_that_closes_within_the_key_exchange_is_survived() {
    // A failure of the key exchange, which waiting can fix.
    let fault = Fault::CloseDuringKex(KexPoint::AfterKexInit);
    is_survived(
        fault,
        &[Stage::KeyExchange],
        "server closed the connection during key exchange",
    );
}

#[test]
fn a_server_that_resets_each_connection_is_survived() {
    // In the system's words; the reset comes while we still connect, or just after.
    let stages = [Stage::Connect, Stage::KeyExchange];
    is_survived(Fault::ResetOnAccept, &stages, "connection reset by peer");
}

#[test]
fn something_else_on_the_port_is_survived() {
    // An HTTP server is not an SSH server, and the tunnel says so.
    is_survived(Fault::NotSsh, &[Stage::KeyExchange], "");
}

#[test]
fn a_server_that_talks_without_end_before_its_version_is_survived() {
    // Lines before the version are allowed; without end they are bounded in time.
    is_survived(Fault::EndlessBanner, &[Stage::KeyExchange], "");
}

#[test]
fn a_server_that_drops_each_authentication_is_survived() {
    // It is not a rejected key: nobody has to act.
    let cause = "server closed the connection during authentication";
    is_survived(Fault::DropEachAuthentication, &[Stage::Authenticate], cause);
}

#[test]
fn a_server_that_never_answers_the_authentication_is_given_up_after_connect_timeout() {
    // The deadline of an attempt covers the authentication too.
    let cause = "authentication not finished within 1s";
    is_survived(
        Fault::NeverAnswerAuthentication,
        &[Stage::Authenticate],
        cause,
    );
}

#[test]
fn a_server_that_goes_silent_does_not_hold_up_the_stop_of_the_daemon() {
    // Every wait can be interrupted: SIGTERM in the middle of an attempt ends with 0 at once.
    for fault in [Fault::AcceptAndNeverSpeak, Fault::NeverAnswerAuthentication] {
        let broken = Broken::new(Some(fault));
        let mut daemon = broken
            .table
            .clone()
            .set("connect_timeout", "\"5m\"")
            .start();
        assert!(poll(LONG, || (broken.server.accepted() == 1).then_some(())).is_some());
        assert_eq!(daemon.terminate(Duration::from_secs(10)).code(), Some(0));
    }
}
