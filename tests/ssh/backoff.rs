//! How soon a tunnel tries again, and what makes it try now.

use std::time::{Duration, Instant};

use tunneld_core::failure::Class;
use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::fault::Fault;
use tunneld_lab::process::{Signal, poll};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{echoes, free_addr};

use crate::support::{Broken, LONG, NEVER, Rig, Table, fails, pass, up};

#[test]
fn rejected_keys_are_tried_again_at_the_ceiling_only() {
    // Keys hammered every 50 ms are how servers ban you: blocked means `max`, not `initial`.
    let broken = Broken::new(Some(Fault::RejectEveryKey));
    let reconnect = r#"{ initial = "50ms", max = "2s", jitter = 0.0 }"#;
    let daemon = broken.table.clone().set("reconnect", reconnect).start();
    let status = daemon.wait_phase("t", Phase::Blocked, LONG);
    let failure = status.failure.unwrap();
    assert_eq!(failure.class, Class::Blocked);
    let words = [
        "server rejected every key (tried 1: ",
        &broken.key.fingerprint(),
    ];
    assert!(
        words.iter().all(|w| failure.cause.contains(w)),
        "{failure:?}"
    );
    assert!(failure.hint.unwrap().contains("authorized_keys"));
    let attempt = |n: u64| {
        let seen = poll(LONG, || (broken.server.accepted() >= n).then(Instant::now));
        seen.expect("no further attempt")
    };
    let (second, third) = (attempt(2), attempt(3));
    let gap = third - second;
    assert!(gap >= Duration::from_millis(1500), "{gap:?}");
    // An error, once; what repeats is not said again.
    let log = daemon.log_text();
    assert_eq!(log.matches("tunnel blocked").count(), 1, "{log}");
    broken.server.set_fault(None);
    up(&daemon, "t");
    echoes(broken.listen).unwrap();
}

#[test]
fn sigusr1_makes_a_waiting_tunnel_try_at_once() {
    // As autossh: no delay is waited for.
    let mut rig = Rig::new(|t| t.set("reconnect", NEVER));
    let mark = rig.daemon.log_mark();
    rig.sshd.restart();
    rig.daemon.wait_for_log_from(mark, "tunnel down", LONG);
    let status = rig.daemon.wait_phase("t", Phase::Waiting, LONG);
    assert!(status.retry_at_unix_ms.is_some());
    rig.daemon.signal(Signal::USR1);
    up(&rig.daemon, "t");
    echoes(rig.listen).unwrap();
}

#[test]
fn sigusr1_makes_a_tunnel_that_is_up_show_a_sign_of_life() {
    // A probe at once, and the session stays.
    let rig = Rig::new(|t| t.alive("1h", 3));
    assert_eq!(rig.status().session.unwrap().round_trip_us, None);
    rig.daemon.signal(Signal::USR1);
    let probed = |t: &TunnelStatus| {
        t.session
            .as_ref()
            .is_some_and(|s| s.round_trip_us.is_some())
    };
    let status = rig.daemon.wait_for("t", LONG, probed);
    assert_eq!(status.sessions, 1);
}

#[test]
fn delays_grow_until_a_session_was_up_for_reset_after() {
    // A server that lets in and throws out is not hammered; a session that lasted starts over.
    let reconnect =
        r#"{ initial = "200ms", max = "1h", multiplier = 2.0, jitter = 0.0, reset_after = "3s" }"#;
    let rig = Rig::new(|t| t.set("reconnect", reconnect));
    let lose_session = |n: u64| {
        let mark = rig.daemon.log_mark();
        rig.sshd.kill_sessions();
        let line = rig.daemon.wait_for_log_from(mark, "tunnel down", LONG);
        rig.daemon
            .wait_for("t", LONG, |t| t.phase == Phase::Up && t.sessions == n);
        line
    };
    for (session, delay) in [(2, "0.2s"), (3, "0.4s"), (4, "0.8s")] {
        let line = lose_session(session);
        assert!(line.contains(&format!("retrying in {delay}")), "{line}");
    }
    pass(Duration::from_secs(3));
    let line = lose_session(5);
    assert!(line.contains("retrying in 0.2s"), "{line}");
}

#[test]
fn the_delay_doubles_up_to_its_ceiling_while_nobody_answers() {
    // The log and the status say when the next attempt comes, and it comes then.
    let mut sshd = Sshd::start();
    sshd.kill9();
    let reconnect = r#"{ initial = "100ms", max = "400ms", multiplier = 2.0, jitter = 0.0 }"#;
    let table = Table::to(&sshd).set("reconnect", reconnect);
    let daemon = table.forward(free_addr(), free_addr()).start();
    fails(&daemon, "t", "connection refused");
    let status = daemon.wait_for("t", LONG, |t| t.attempts >= 6);
    assert_ne!(status.phase, Phase::Blocked);
    let log = daemon.log();
    let delays: Vec<_> = log
        .iter()
        .filter_map(|line| {
            let (_, rest) = line
                .split_once("retrying in ")
                .or(line.split_once("next in "))?;
            rest.split_whitespace().next()
        })
        .take(5)
        .collect();
    assert_eq!(delays, ["0.1s", "0.2s", "0.4s", "0.4s", "0.4s"], "{log:#?}");
}
