//! What the service manager hears: a status line, a heartbeat, reloads, the stop.

use std::io;
use std::os::unix::net::UnixDatagram;

use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::notify::Notification;
use tunneld_lab::process::{Signal, poll};
use tunneld_lab::target::echoes;

use crate::support::{Bed, Folder, LONG, Transfer, builder, daemon_table, dead_tunnel, up};

#[test]
fn the_status_line_says_what_is_down_and_when_it_tries_again() {
    // `1 of 2 up; gone: retry in 8s (connection refused)`, sent anew when that changes.
    let mut bed = Bed::new();
    let folder = Folder::new();
    let delay = "reconnect = { initial = \"5m\", max = \"5m\", jitter = 0.0 }\n";
    let text = bed.db() + &dead_tunnel("gone", &folder.key()) + delay;
    let daemon = up(builder().config(&text).notify());
    let said = |text: &'static str, parts: [&'static str; 2]| {
        let found = daemon.notify().wait_until(0, LONG, |m| {
            m.get("STATUS")
                .is_some_and(|s| s.starts_with(text) && parts.iter().all(|part| s.contains(part)))
        });
        assert!(
            found.is_some(),
            "no {text:?} in {:#?}",
            daemon.notifications()
        );
    };
    said(
        "1 of 2 up; gone: retry in ",
        ["s (connection refused)", "gone: retry in 300s"],
    );
    // It counts down, though nothing else changes.
    let counts = |m: &Notification| {
        let left = m.get("STATUS").and_then(|s| s.split_once("retry in "));
        let seconds = left.and_then(|(_, rest)| rest.split_once('s')?.0.parse::<u32>().ok());
        seconds.is_some_and(|seconds| seconds <= 295)
    };
    let later = daemon.notify().wait_until(0, LONG, counts);
    assert!(later.is_some(), "{:#?}", daemon.notifications());
    bed.sshd.kill9();
    said("0 of 2 up; db: ", ["; gone: retry in ", "refused"]);
}

#[test]
fn the_heart_beats_as_often_as_the_watchdog_wants() {
    // WATCHDOG=1 comes again and again, at less than WATCHDOG_USEC, with and without WATCHDOG_PID.
    let bed = Bed::new();
    let usec = 600_000;
    let daemon = up(builder()
        .config(&bed.db())
        .notify()
        .env("WATCHDOG_USEC", &usec.to_string()));
    let mark = daemon.notify().mark();
    let mut beats = Vec::new();
    let mut from = mark;
    while beats.len() < 4 {
        let beat = daemon.notify().wait_from(from, "WATCHDOG=1", LONG);
        let messages = daemon.notifications();
        from = messages.iter().rposition(|m| m.has("WATCHDOG=1")).unwrap() + 1;
        beats.push(beat.at);
    }
    // A third of the time, with as much to spare for a busy machine.
    let gaps: Vec<_> = beats
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_micros())
        .collect();
    let mut sorted = gaps.clone();
    sorted.sort_unstable();
    assert!(sorted[1] < usec, "{gaps:?}");
    // The pid of somebody else: not for us.
    let bed = Bed::new();
    let envs = |b: tunneld_lab::daemon::DaemonBuilder| {
        b.env("WATCHDOG_USEC", "300000").env("WATCHDOG_PID", "1")
    };
    let other = up(envs(builder().config(&bed.db()).notify()));
    other.notify().wait_for("READY=1", LONG);
    assert!(!other.notifications().iter().any(|m| m.has("WATCHDOG=1")));
}

/// Sends SIGHUP: RELOADING=1 and MONOTONIC_USEC in one message, and then READY=1.
fn reloads(daemon: &Daemon) {
    let mark = daemon.notify().mark();
    daemon.signal(Signal::HUP);
    let reloading = daemon.notify().wait_from(mark, "RELOADING=1", LONG);
    let usec: u128 = reloading.get("MONOTONIC_USEC").unwrap().parse().unwrap();
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = u128::try_from(now.tv_sec).unwrap() * 1_000_000
        + u128::try_from(now.tv_nsec).unwrap() / 1000;
    assert!(usec <= now && now - usec < 60_000_000, "{usec} at {now}");
    let messages = daemon.notifications();
    let at = messages[mark..]
        .iter()
        .position(|m| m.has("RELOADING=1"))
        .unwrap()
        + mark;
    daemon.notify().wait_from(at + 1, "READY=1", LONG);
}

#[test]
fn a_reload_is_announced_and_ended_also_when_it_is_refused() {
    // Else systemd would wait for ever for a file that is wrong.
    let bed = Bed::new();
    let daemon = up(builder().config(&bed.db()).notify());
    daemon.notify().wait_for("READY=1", LONG);
    reloads(&daemon);
    assert!(daemon.status().last_reload.unwrap().ok);
    daemon.write_config("garbage");
    reloads(&daemon);
    assert!(!daemon.status().last_reload.unwrap().ok);
    echoes(bed.listen).unwrap();
}

#[test]
fn the_stop_is_announced_with_the_time_that_it_may_take() {
    // STOPPING=1 and EXTEND_TIMEOUT_USEC of more than drain_timeout.
    let bed = Bed::new();
    let text = bed.db() + &daemon_table("drain_timeout = \"5m\"");
    let mut daemon = up(builder().config(&text).notify());
    let transfer = Transfer::start(bed.listen, 10);
    daemon.signal(Signal::TERM);
    let stopping = daemon.notify().wait_for("STOPPING=1", LONG);
    let extend: u64 = stopping
        .get("EXTEND_TIMEOUT_USEC")
        .unwrap()
        .parse()
        .unwrap();
    assert!(extend >= 300_000_000, "{extend}");
    assert!(stopping.get("STATUS").is_some());
    transfer.finish();
    assert_eq!(daemon.wait_exit(LONG).code(), Some(0));
}

#[test]
fn nothing_changes_without_a_service_manager() {
    // No NOTIFY_SOCKET, or one where nobody listens: tunnels, reload and stop work all the same.
    for socket in ["", "/nonexistent/notify.sock", "@nobody-listens-here"] {
        let bed = Bed::new();
        let mut daemon = match socket {
            "" => bed.up(),
            path => up(builder().config(&bed.db()).env("NOTIFY_SOCKET", path)),
        };
        echoes(bed.listen).unwrap();
        daemon.signal(Signal::HUP);
        daemon.wait_for_log("configuration reloaded", LONG);
        assert_eq!(daemon.tunnel("db").phase, Phase::Up);
        assert_eq!(daemon.terminate(LONG).code(), Some(0));
    }
}

/// Sends to a socket until it has no room.
fn fill(path: &std::path::Path) {
    let sender = UnixDatagram::unbound().unwrap();
    sender.set_nonblocking(true).unwrap();
    let full = loop {
        if let Err(e) = sender.send_to(b"STATUS=in the way", path) {
            break e;
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_service_manager_that_does_not_read_holds_nothing_up() {
    // Its queue is full: tunnels, commands, a reload and the stop go on; when it reads again, it hears
    // that the daemon is ready.
    let bed = Bed::new();
    let folder = Folder::new();
    let path = folder.at("notify.sock");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    fill(&path);
    let socket = path.to_str().unwrap();
    let mut daemon = up(builder().config(&bed.db()).env("NOTIFY_SOCKET", socket));
    daemon.wait_for_log("ready: 1 of 1 up", LONG);
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("configuration reloaded", LONG);
    echoes(bed.listen).unwrap();
    let hears = |what: &str| {
        let mut message = [0; 4096];
        let length = manager.recv(&mut message).ok()?;
        let text = String::from_utf8_lossy(&message[..length]);
        text.lines().any(|line| line == what).then_some(())
    };
    let heard = poll(LONG, || hears("READY=1"));
    assert!(heard.is_some(), "{}", daemon.log_text());
    fill(&path);
    assert_eq!(daemon.terminate(LONG).code(), Some(0));
}
