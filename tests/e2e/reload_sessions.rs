//! A changed identity replaces the session: the new one is made before the old one drains.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::fault::Fault;
use tunneld_lab::keys::generate;
use tunneld_lab::server::{LabOptions, LabServer};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{echoes, free_addr};

use crate::support::{Bed, LONG, Transfer, assert_exit, assert_has, builder, daemon_table};
use crate::support::{stderr, stdout, tunnel, up};

const PATIENT: &str = "drain_timeout = \"5m\"";

/// Reloads with this file while clients keep connecting: each of them has to be served.
fn replaced_without_a_gap(daemon: &Daemon, text: &str, listen: SocketAddr, reason: &str) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients = scope.spawn(|| {
            let mut served = 0;
            while !done.load(Ordering::SeqCst) {
                echoes(listen).unwrap_or_else(|e| panic!("client {served} was not served: {e}"));
                served += 1;
            }
            served
        });
        daemon.write_config(text);
        let output = daemon.reload();
        assert_exit(&output, 0);
        assert_has(&stdout(&output), &["~ db  replace: a new session", reason]);
        daemon.wait_for("db", LONG, |t| t.sessions == 2 && t.phase == Phase::Up);
        done.store(true, Ordering::SeqCst);
        assert!(clients.join().unwrap() > 0);
    });
}

#[test]
fn another_server_takes_over_and_the_old_one_finishes() {
    // Host and port: new connections are never refused, an open one finishes at the old server,
    // whose session is then said goodbye to.
    let bed = Bed::new();
    let next = Sshd::start();
    let daemon = up(builder().config(&(bed.db() + &daemon_table(PATIENT))));
    let transfer = Transfer::start(bed.listen, 5);
    let text = tunnel("db", &next, &[(bed.listen, bed.echo.addr())]) + &daemon_table(PATIENT);
    replaced_without_a_gap(&daemon, &text, bed.listen, &format!("→ {}", next.host()));
    let session = daemon.tunnel("db").session.unwrap();
    assert_eq!(session.peer, next.addr().to_string());
    transfer.wait_for_more();
    assert!(!bed.sshd.log().contains("disconnect"), "{}", bed.sshd.log());
    transfer.finish();
    bed.sshd.wait_for_log("disconnect", LONG);
    daemon.wait_for_log("session replaced", LONG);
}

#[test]
fn another_key_takes_over_and_the_old_session_finishes() {
    // `identity_file`: as above, at one server.
    let bed = Bed::new();
    let key = generate(bed.sshd.dir(), "another");
    bed.sshd.authorize(&key.public_line());
    let daemon = up(builder().config(&(bed.db() + &daemon_table(PATIENT))));
    let transfer = Transfer::start(bed.listen, 6);
    let old = bed.sshd.client_key().display().to_string();
    let text = bed.db().replace(&old, &key.private.display().to_string());
    let text = text + &daemon_table(PATIENT);
    replaced_without_a_gap(&daemon, &text, bed.listen, "identity_file");
    transfer.wait_for_more();
    transfer.finish();
}

#[test]
fn a_connection_of_the_old_session_is_cut_after_drain_timeout() {
    // With a short drain_timeout the old session does not stay.
    let bed = Bed::new();
    let next = Sshd::start();
    let limit = daemon_table("drain_timeout = \"1s\"");
    let daemon = up(builder().config(&(bed.db() + &limit)));
    let transfer = Transfer::start(bed.listen, 7);
    let text = tunnel("db", &next, &[(bed.listen, bed.echo.addr())]) + &limit;
    daemon.write_config(&text);
    assert_exit(&daemon.reload(), 0);
    let end = transfer.outcome().unwrap_err();
    assert!(end.contains("reset") || end.contains("pipe"), "{end}");
    bed.sshd.wait_for_log("disconnect", LONG);
    daemon.wait_for("db", LONG, |t| t.sessions == 2 && t.phase == Phase::Up);
    echoes(bed.listen).unwrap();
}

#[test]
fn a_session_that_cannot_be_replaced_serves_on() {
    // The new key is rejected: the old session carries old and new connections, the log says so,
    // and the key that is right again puts everything in order.
    let bed = Bed::new();
    let wrong = generate(bed.sshd.dir(), "wrong");
    let daemon = bed.up();
    let transfer = Transfer::start(bed.listen, 8);
    let old = bed.sshd.client_key().display().to_string();
    daemon.write_config(&bed.db().replace(&old, &wrong.private.display().to_string()));
    let output = daemon.reload();
    assert_exit(&output, 0);
    assert!(stderr(&output).is_empty());
    let line = daemon.wait_for_log("session not replaced, the old one serves on", LONG);
    assert_has(&line, &["tunnel=db", "stage=authenticate", "class=blocked"]);
    let db = daemon.wait_for("db", LONG, |t| t.failure.is_some());
    assert_eq!((db.phase, db.sessions), (Phase::Up, 1));
    let cause = db.failure.unwrap().cause;
    let shown = format!("  the old session serves on; a new one cannot be made: {cause}");
    assert_has(&stdout(&daemon.cli(&["status"])), &[&shown]);
    transfer.wait_for_more();
    echoes(bed.listen).unwrap();
    daemon.write_config(&bed.db());
    assert_exit(&daemon.reload(), 0);
    let db = daemon.wait_for("db", LONG, |t| t.sessions == 2 && t.failure.is_none());
    assert_eq!(db.phase, Phase::Up);
    transfer.finish();
}

#[test]
fn an_attempt_that_hangs_does_not_hold_up_the_new_destination() {
    // A server that accepts and never speaks, with ten minutes of patience: the reload that names
    // another server brings the tunnel up there, and not at the old one.
    let bed = Bed::new();
    let fault = Some(Fault::AcceptAndNeverSpeak);
    let silent = LabServer::start(LabOptions {
        fault,
        ..LabOptions::default()
    });
    let good = bed.db() + "connect_timeout = \"10m\"\n";
    let host = format!(
        "host = \"{}\"\nport = {}\n",
        silent.addr().ip(),
        silent.addr().port()
    );
    let right = format!("host = {:?}\nport = {}\n", bed.sshd.host(), bed.sshd.port());
    let daemon = builder().config(&good.replace(&right, &host)).start();
    daemon.wait_phase("db", Phase::Connecting, LONG);
    daemon.write_config(&good);
    let output = daemon.reload();
    assert_exit(&output, 0);
    assert_has(&stdout(&output), &["~ db  replace: a new session"]);
    let db = daemon.wait_phase("db", Phase::Up, LONG);
    assert_eq!(db.session.unwrap().peer, bed.sshd.addr().to_string());
    echoes(bed.listen).unwrap();
}

#[test]
fn a_tunnel_that_waits_tries_its_new_destination_at_once() {
    // However long the wait was; a changed `reconnect` counts from now on too.
    let bed = Bed::new();
    let wrong = free_addr();
    let host = format!("host = \"{}\"\nport = {}\n", wrong.ip(), wrong.port());
    let right = format!("host = {:?}\nport = {}\n", bed.sshd.host(), bed.sshd.port());
    let good = bed.db() + "reconnect = { initial = \"300d\", max = \"300d\" }\n";
    let daemon = builder().config(&good.replace(&right, &host)).start();
    daemon.wait_phase("db", Phase::Waiting, LONG);
    daemon.write_config(&good);
    assert_exit(&daemon.reload(), 0);
    daemon.wait_phase("db", Phase::Up, LONG);
    echoes(bed.listen).unwrap();
}
