//! `tunneld wait`: returns when tunnels are up, for scripts, and says why when they are not.

use std::time::{Duration, Instant};

use tunneld_core::status::Phase;
use tunneld_lab::process::Signal;

use crate::support::{Bed, Folder, LONG, assert_exit, assert_has, builder, daemon, daemon_table};
use crate::support::{Transfer, dead_tunnel, stderr, stdout, tunneld, up};

#[track_caller]
fn is_quiet(output: &std::process::Output) {
    assert_exit(output, 0);
    assert_eq!((stdout(output).as_str(), stderr(output).as_str()), ("", ""));
}

#[test]
fn it_waits_for_a_daemon_that_is_not_there_yet_and_says_nothing() {
    // Started before the daemon: returns 0 once every tunnel is up, without a word.
    let (bed, folder) = (Bed::new(), Folder::new());
    let socket = folder.at("s").display().to_string();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| tunneld(&["wait", "--timeout", "60s", "--socket", &socket]));
        let for_ever = scope.spawn(|| tunneld(&["wait", "db", "--socket", &socket]));
        let unreachable = tunneld(&["wait", "--timeout", "300ms", "--socket", &socket]);
        assert_exit(&unreachable, 4);
        assert!(!waiting.is_finished() && !for_ever.is_finished());
        let _daemon = builder()
            .config(&bed.db())
            .env("TUNNELD_SOCKET", &socket)
            .spawn();
        is_quiet(&waiting.join().unwrap());
        is_quiet(&for_ever.join().unwrap());
    });
}

#[test]
fn it_waits_through_an_outage() {
    // The server is gone when it begins, and comes back.
    let mut bed = Bed::new();
    let quick = "reconnect = { initial = \"50ms\", max = \"100ms\" }\n";
    let daemon = daemon(&(bed.db() + quick));
    daemon.wait_phase("db", Phase::Up, LONG);
    bed.sshd.kill9();
    daemon.wait_phase("db", Phase::Waiting, LONG);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| daemon.cli(&["wait", "db", "--timeout", "60s"]));
        assert_exit(&daemon.cli(&["wait", "--timeout", "0"]), 3);
        assert!(!waiting.is_finished());
        bed.sshd.restart();
        is_quiet(&waiting.join().unwrap());
    });
}

#[test]
fn after_the_timeout_each_tunnel_that_is_not_up_has_a_line_that_says_why() {
    // 3, and a line on stderr for `gone` alone; for those that are up, nothing is waited for.
    let (bed, folder) = (Bed::new(), Folder::new());
    let daemon = daemon(&(bed.db() + &dead_tunnel("gone", &folder.key())));
    daemon.wait_phase("db", Phase::Up, LONG);
    daemon.wait_phase("gone", Phase::Waiting, LONG);
    let before = Instant::now();
    let output = daemon.cli(&["wait", "--timeout", "1s"]);
    assert!(before.elapsed() >= Duration::from_secs(1));
    assert_exit(&output, 3);
    let said = stderr(&output);
    assert!(
        said.starts_with("`gone` is waiting: connection refused; next try in "),
        "{said}"
    );
    assert_eq!((said.lines().count(), stdout(&output).as_str()), (1, ""));
    is_quiet(&daemon.cli(&["wait", "db", "--timeout", "0"]));
}

#[test]
fn a_stopped_tunnel_does_not_come_up_by_itself() {
    // Named: 3 at once, although there is no timeout, with the command; else it is not waited for.
    let (bed, folder) = (Bed::new(), Folder::new());
    let off = dead_tunnel("off", &folder.key()) + "enabled = false\n";
    let daemon = daemon(&(bed.db() + &off));
    daemon.wait_phase("db", Phase::Up, LONG);
    let output = daemon.cli(&["wait", "db", "off"]);
    assert_exit(&output, 3);
    assert_has(
        &stderr(&output),
        &["`off` is stopped", &daemon.command_line("start off")],
    );
    is_quiet(&daemon.cli(&["wait"]));
}

#[test]
fn while_a_daemon_stops_the_next_one_is_waited_for() {
    // A restart, and a connection that takes its time: nobody has stopped `db`, and it is not up.
    let bed = Bed::new();
    let patient = daemon_table("drain_timeout = \"5m\"");
    let mut daemon = up(builder().config(&(bed.db() + &patient)));
    let transfer = Transfer::start(bed.listen, 17);
    daemon.signal(Signal::TERM);
    daemon.wait_phase("db", Phase::Stopped, LONG);
    for names in [&["db"][..], &[]] {
        let output = daemon.cli(&[&["wait", "--timeout", "0"], names].concat());
        assert_exit(&output, 3);
        assert_eq!(stderr(&output), "the daemon is stopping\n");
    }
    assert_exit(&daemon.cli(&["status"]), 3);
    let socket = daemon.socket().display().to_string();
    std::thread::scope(|scope| {
        let all = scope.spawn(|| tunneld(&["wait", "--timeout", "60s", "--socket", &socket]));
        let named = scope.spawn(|| tunneld(&["wait", "db", "--socket", &socket]));
        transfer.wait_for_more();
        transfer.finish();
        daemon.wait_exit(LONG);
        let is_patient = !all.is_finished() && !named.is_finished();
        daemon.start_again();
        is_quiet(&all.join().unwrap());
        is_quiet(&named.join().unwrap());
        assert!(is_patient);
    });
    assert_eq!(daemon.tunnel("db").phase, Phase::Up);
}

#[test]
fn a_name_that_does_not_exist_is_not_waited_for() {
    // 1 at once, with the name that was meant.
    let (bed, folder) = (Bed::new(), Folder::new());
    let daemon = daemon(&(bed.db() + &dead_tunnel("reports", &folder.key())));
    let output = daemon.cli(&["wait", "repotrs"]);
    assert_exit(&output, 1);
    assert_has(
        &stderr(&output),
        &["no tunnel `repotrs`", "did you mean `reports`?"],
    );
}
