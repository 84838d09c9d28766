//! `READY=1` comes when `ready_when` holds: a start neither lies nor hangs.

use std::time::{Duration, Instant};

use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::fault::Fault;
use tunneld_lab::notify::Notification;
use tunneld_lab::process::Signal;
use tunneld_lab::server::{LabOptions, LabServer};
use tunneld_lab::target::{echoes, free_addr};

use crate::support::{
    Bed, Folder, LONG, assert_exit, builder, daemon_table, dead_tunnel, forwards,
};

fn ready(daemon: &Daemon) -> Notification {
    daemon.notify().wait_for("READY=1", LONG)
}

fn never_ready(daemon: &Daemon) {
    let messages = daemon.notifications();
    assert!(!messages.iter().any(|m| m.has("READY=1")), "{messages:#?}");
    assert!(!daemon.status().ready);
}

/// A tunnel to a server that accepts and never speaks.
fn hanging_tunnel(name: &str, folder: &Folder) -> (LabServer, String) {
    let options = LabOptions {
        fault: Some(Fault::AcceptAndNeverSpeak),
        ..LabOptions::default()
    };
    let server = LabServer::start(options);
    let text = format!(
        "[tunnels.{name}]\nhost = \"{}\"\nport = {}\nuser = \"u\"\nidentity_file = {:?}\nconnect_timeout = \"10m\"\n{}",
        server.addr().ip(),
        server.addr().port(),
        folder.key(),
        forwards(&[(free_addr(), free_addr())]),
    );
    (server, text)
}

#[test]
fn settled_is_up_or_failed_once() {
    // One tunnel is up and one is dead: that is known, so the start is over, and STATUS says it.
    let (bed, folder) = (Bed::new(), Folder::new());
    let text = bed.db() + &dead_tunnel("gone", &folder.key());
    let daemon = builder().config(&text).notify().start();
    let message = ready(&daemon);
    let status = message.get("STATUS").unwrap();
    assert!(status.starts_with("1 of 2 up; gone: "), "{status}");
    assert!(status.ends_with("(connection refused)"), "{status}");
    // What is said is true.
    echoes(bed.listen).unwrap();
    assert!(daemon.status().ready);
}

#[test]
fn settled_waits_no_longer_than_start_timeout() {
    // A server that never answers: READY=1 comes at start_timeout, not before, not much later.
    let folder = Folder::new();
    let (_server, text) = hanging_tunnel("db", &folder);
    let limit = Duration::from_secs(2);
    let before = Instant::now();
    let daemon = builder()
        .config(&(text + &daemon_table("start_timeout = \"2s\"")))
        .notify()
        .start();
    let message = ready(&daemon);
    let took = message.at - before;
    assert!(
        took >= limit && took < limit + Duration::from_secs(5),
        "{took:?}"
    );
    assert_eq!(message.get("STATUS"), Some("0 of 1 up; db: connecting"));
}

#[test]
fn settled_without_tunnels_that_are_wanted_is_at_once() {
    // Every tunnel is disabled: there is nothing to wait for.
    let bed = Bed::new();
    let text = bed.db() + "enabled = false\n" + &daemon_table("start_timeout = \"10m\"");
    let daemon = builder().config(&text).notify().start();
    assert_eq!(ready(&daemon).get("STATUS"), Some("1 stopped"));
}

#[test]
fn all_waits_for_every_tunnel() {
    // Not ready while one is down, whatever start_timeout says; ready when the last one is up.
    let bed = Bed::new();
    let mut late = Bed::new();
    late.sshd.kill9();
    let keys = daemon_table("ready_when = \"all\"\nstart_timeout = \"100ms\"");
    let text = bed.db() + &late.db().replace("tunnels.db", "tunnels.late") + &keys;
    let daemon = builder().config(&text).notify().start();
    daemon.wait_phase("db", Phase::Up, LONG);
    daemon.wait_for("late", LONG, |t| t.attempts >= 2);
    never_ready(&daemon);
    // A reload is answered, and does not make a start that is not over look like one that is.
    assert_exit(&daemon.reload(), 0);
    daemon.signal(Signal::HUP);
    daemon.wait_for("late", LONG, |t| t.phase == Phase::Waiting);
    let status = |m: &Notification| {
        m.get("STATUS")
            .is_some_and(|s| s.starts_with("1 of 2 up; late"))
    };
    assert!(daemon.notify().wait_until(0, LONG, status).is_some());
    never_ready(&daemon);
    late.sshd.restart();
    assert_exit(&daemon.cli(&["restart", "late"]), 0);
    assert_eq!(ready(&daemon).get("STATUS"), Some("2 of 2 up"));
}

#[test]
fn any_waits_for_the_first_tunnel() {
    // Not ready with none up; ready with one, whatever the other does.
    let mut bed = Bed::new();
    bed.sshd.kill9();
    let folder = Folder::new();
    let keys = daemon_table("ready_when = \"any\"\nstart_timeout = \"100ms\"");
    let text = bed.db() + &dead_tunnel("gone", &folder.key()) + &keys;
    let daemon = builder().config(&text).notify().start();
    daemon.wait_for("db", LONG, |t| t.attempts >= 2);
    never_ready(&daemon);
    bed.sshd.restart();
    assert_exit(&daemon.cli(&["restart", "db"]), 0);
    let message = ready(&daemon);
    assert!(
        message
            .get("STATUS")
            .unwrap()
            .starts_with("1 of 2 up; gone: "),
        "{message:?}"
    );
}
