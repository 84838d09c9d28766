//! Signals: the first one lets connections finish, the second one does not, and both exit.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tunneld_core::status::Phase;
use tunneld_lab::process::{Signal, poll};
use tunneld_lab::target::{echoes, free_addr, try_connect};

use crate::support::{Bed, Folder, LONG, Transfer, assert_exit, builder, daemon, daemon_table};
use crate::support::{assert_has, dead_tunnel, stderr, tunnel, tunneld, up};

fn drains_on(signal: Signal, seed: u64) {
    let bed = Bed::new();
    let text = bed.db() + &daemon_table("drain_timeout = \"5m\"");
    let mut daemon = up(builder().config(&text));
    let transfer = Transfer::start(bed.listen, seed);
    daemon.signal(signal);
    daemon.wait_for_log("stopping", LONG);
    let closed = poll(LONG, || try_connect(bed.listen).is_err().then_some(()));
    assert!(closed.is_some(), "new connections are accepted");
    transfer.wait_for_more();
    transfer.wait_for_more();
    transfer.finish();
    assert_eq!(daemon.wait_exit(LONG).code(), Some(0));
    // The server was told, and not just left.
    bed.sshd.wait_for_log("disconnect", LONG);
    daemon.wait_for_log("tunneld stopped", LONG);
}

#[test]
fn sigterm_drains_and_exits_0() {
    // An open connection finishes, new ones are not accepted, the exit code is 0.
    drains_on(Signal::TERM, 11);
}

#[test]
fn sigint_drains_and_exits_0() {
    // As SIGTERM: Ctrl-C on a terminal is an orderly stop.
    drains_on(Signal::INT, 12);
}

#[test]
fn without_connections_the_stop_is_immediate() {
    // However long drain_timeout is.
    let bed = Bed::new();
    let folder = Folder::new();
    let text =
        bed.db() + &dead_tunnel("gone", &folder.key()) + &daemon_table("drain_timeout = \"5m\"");
    let mut daemon = up(builder().config(&text));
    echoes(bed.listen).unwrap();
    daemon.wait_for("db", LONG, |t| t.forwards[0].connections.open == 0);
    let before = Instant::now();
    assert_eq!(daemon.terminate(LONG).code(), Some(0));
    assert!(
        before.elapsed() < Duration::from_secs(3),
        "{:?}",
        before.elapsed()
    );
}

#[test]
fn a_second_signal_ends_it_at_once() {
    // In a moment, although connections could drain for five minutes; they are cut.
    let bed = Bed::new();
    let text = bed.db() + &daemon_table("drain_timeout = \"5m\"");
    let mut daemon = up(builder().config(&text));
    let transfer = Transfer::start(bed.listen, 13);
    daemon.signal(Signal::TERM);
    daemon.wait_for_log("stopping", LONG);
    transfer.wait_for_more();
    let before = Instant::now();
    assert_eq!(daemon.terminate(LONG).code(), Some(0));
    assert!(
        before.elapsed() < Duration::from_secs(10),
        "{:?}",
        before.elapsed()
    );
    assert!(transfer.outcome().is_err());
    daemon.wait_for_log("second time", LONG);
}

#[test]
fn a_command_that_comes_during_the_stop_is_told_so_at_once() {
    // Not when the last connection has ended.
    let bed = Bed::new();
    let text = bed.db() + &daemon_table("drain_timeout = \"5m\"");
    let daemon = up(builder().config(&text));
    let transfer = Transfer::start(bed.listen, 18);
    daemon.signal(Signal::TERM);
    daemon.wait_phase("db", Phase::Stopped, LONG);
    let socket = daemon.socket().display().to_string();
    for words in [&["reload"][..], &["restart", "db"]] {
        let output = tunneld(&[words, &["--socket", &socket]].concat());
        assert_exit(&output, 1);
        assert_has(&stderr(&output), &["the daemon is stopping"]);
    }
    transfer.wait_for_more();
}

#[test]
fn what_a_reload_left_behind_is_waited_for_too() {
    // A connection of a forward that a reload removed finishes like any other; and where there is
    // none, a changed and a removed forward do not hold up the stop.
    let bed = Bed::new();
    let (second, third) = (free_addr(), free_addr());
    let limit = daemon_table("drain_timeout = \"5m\"");
    let file = |pairs: &[(SocketAddr, SocketAddr)]| tunnel("db", &bed.sshd, pairs) + &limit;
    let echo = bed.echo.addr();
    let first = file(&[(bed.listen, echo), (second, echo), (third, echo)]);
    let mut daemon = up(builder().config(&first));
    let transfer = Transfer::start(second, 16);
    // One is removed while it carries a connection, one while it does not, one has a new target.
    daemon.write_config(&file(&[(bed.listen, free_addr())]));
    assert_exit(&daemon.reload(), 0);
    daemon.wait_for("db", LONG, |t| t.forwards.len() == 1);
    daemon.signal(Signal::TERM);
    daemon.wait_for_log("stopping", LONG);
    transfer.wait_for_more();
    transfer.wait_for_more();
    transfer.finish();
    let before = Instant::now();
    assert_eq!(daemon.wait_exit(LONG).code(), Some(0));
    assert!(
        before.elapsed() < Duration::from_secs(8),
        "{:?}",
        before.elapsed()
    );
}

#[test]
fn after_drain_timeout_connections_are_reset() {
    // Not before it is over, not much later; a reset and not an orderly end; exit 0.
    let bed = Bed::new();
    let text = bed.db() + &daemon_table("drain_timeout = \"2s\"");
    let mut daemon = up(builder().config(&text));
    let transfer = Transfer::start(bed.listen, 14);
    let before = Instant::now();
    daemon.signal(Signal::TERM);
    let end = transfer.outcome().unwrap_err();
    let took = before.elapsed();
    assert!(
        took >= Duration::from_secs(2) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert!(end.contains("reset") || end.contains("pipe"), "{end}");
    assert_eq!(daemon.wait_exit(LONG).code(), Some(0));
}

#[test]
fn drain_timeout_0_cuts_at_once() {
    // Zero is what it says.
    let bed = Bed::new();
    let text = bed.db() + &daemon_table("drain_timeout = 0");
    let mut daemon = up(builder().config(&text));
    let transfer = Transfer::start(bed.listen, 15);
    assert_eq!(daemon.terminate(LONG).code(), Some(0));
    assert!(transfer.outcome().is_err());
}

#[test]
fn sigusr1_tries_now() {
    // A tunnel that would wait for days connects when it is nudged, and one that is up stays up.
    let mut bed = Bed::new();
    let other = Bed::new();
    bed.sshd.kill9();
    let patient = "reconnect = { initial = \"300d\", max = \"300d\" }\n";
    let text = bed.db() + patient + &other.db().replace("tunnels.db", "tunnels.up");
    let daemon = daemon(&text);
    daemon.wait_phase("db", Phase::Waiting, LONG);
    daemon.wait_phase("up", Phase::Up, LONG);
    bed.sshd.restart();
    daemon.signal(Signal::USR1);
    daemon.wait_phase("db", Phase::Up, LONG);
    echoes(bed.listen).unwrap();
    // The probe that it sent over the live session has come back.
    let up = daemon.wait_for("up", LONG, |t| {
        t.session
            .as_ref()
            .is_some_and(|s| s.round_trip_us.is_some())
    });
    assert_eq!((up.phase, up.sessions), (Phase::Up, 1));
}
