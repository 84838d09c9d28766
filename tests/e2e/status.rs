//! `tunneld status`: what is up, what is not, and why; for people and for programs.

use std::process::Command;

use serde_json::Value;
use tunneld_core::status::{DaemonStatus, Phase, StoppedBy};
use tunneld_lab::daemon::Daemon;
use tunneld_lab::process::{Signal, poll};
use tunneld_lab::target::echoes;

use crate::support::{Bed, Folder, LONG, Transfer, assert_exit, assert_has, binary, builder};
use crate::support::{command, daemon, daemon_table, dead_tunnel, stderr, stdout, up, within};

/// A daemon with a tunnel that is up and one that is not.
fn one_of_two(bed: &Bed, folder: &Folder) -> Daemon {
    let daemon = daemon(&(bed.db() + &dead_tunnel("gone", &folder.key())));
    daemon.wait_phase("db", Phase::Up, LONG);
    daemon.wait_phase("gone", Phase::Waiting, LONG);
    daemon
}

#[test]
fn a_daemon_that_stops_says_so_while_connections_finish() {
    // In the first line, whatever is asked, and in the JSON; not before.
    let bed = Bed::new();
    let daemon = up(builder().config(&(bed.db() + &daemon_table("drain_timeout = \"5m\""))));
    let said = |words: &[&str]| stdout(&daemon.cli(words));
    assert!(!said(&["status"]).contains("stopping") && !daemon.status().stopping);
    let transfer = Transfer::start(bed.listen, 21);
    daemon.signal(Signal::TERM);
    assert!(poll(LONG, || daemon.status().stopping.then_some(())).is_some());
    for words in [&["status"][..], &["status", "db"]] {
        let page = said(words);
        assert!(page.starts_with("stopping: the daemon ends when"), "{page}");
    }
    assert_has(&said(&["status", "--json"]), &["\"stopping\": true"]);
    // Nobody has stopped its tunnel.
    assert_eq!(daemon.tunnel("db").stopped_by, None);
    transfer.wait_for_more();
    transfer.finish();
}

#[test]
fn people_see_what_is_up_what_is_not_and_why() {
    // One line a tunnel with its phase, destination and cause; its forwards under it.
    let (bed, folder) = (Bed::new(), Folder::new());
    let daemon = one_of_two(&bed, &folder);
    echoes(bed.listen).unwrap();
    let page = stdout(&daemon.cli(&["status"]));
    let line = |start: &str| {
        let found = page.lines().find(|line| line.starts_with(start));
        found
            .unwrap_or_else(|| panic!("no {start} in:\n{page}"))
            .to_owned()
    };
    let destination = format!("{}@{}", bed.sshd.user(), bed.sshd.addr());
    assert_has(&line("db "), &[" up ", &destination]);
    assert_has(
        &line("gone "),
        &[" waiting ", "connection refused", "next try in"],
    );
    assert_has(
        &page,
        &[
            &format!(
                "{} ─▶ {} ─▶ {}  ",
                bed.listen,
                bed.sshd.host(),
                bed.echo.addr()
            ),
            "1 in all, 6 B sent",
            "\n1 of 2 up, 1 waiting\n",
        ],
    );
    let one = stdout(&daemon.cli(&["status", "db"]));
    assert_has(
        &one,
        &[
            "session: ",
            "server: SSH-2.0-OpenSSH",
            "cipher: ",
            "round trip: ",
        ],
    );
    assert!(!one.contains("gone"));
}

#[test]
fn a_stopped_tunnel_says_what_has_stopped_it_and_what_to_do() {
    // By the file and by command: in both pages and in the JSON; not once it is wanted again.
    let (bed, folder) = (Bed::new(), Folder::new());
    let off = dead_tunnel("off", &folder.key()) + "enabled = false\n";
    let daemon = daemon(&(bed.db() + &off));
    daemon.wait_phase("db", Phase::Up, LONG);
    assert_exit(&daemon.cli(&["stop", "db"]), 0);
    let start = format!(
        "{} --socket {}",
        daemon.command_line("start db"),
        daemon.socket().display()
    );
    let stopped = format!("  stopped by command; `{start}`");
    for (name, by, says) in [
        ("db", StoppedBy::Command, stopped.as_str()),
        ("off", StoppedBy::File, "  enabled = false in the file"),
    ] {
        assert_eq!(daemon.tunnel(name).stopped_by, Some(by));
        assert_has(&stdout(&daemon.cli(&["status"])), &[says]);
        assert_has(&stdout(&daemon.cli(&["status", name])), &[says]);
    }
    assert_exit(&daemon.typed(&start), 0);
    let up = daemon.wait_phase("db", Phase::Up, LONG);
    assert_eq!(up.stopped_by, None);
}

#[test]
fn programs_get_json_that_holds_what_is_documented() {
    // `--json` parses into the documented types, and nothing in it is outside of them.
    let (bed, folder) = (Bed::new(), Folder::new());
    let daemon = one_of_two(&bed, &folder);
    echoes(bed.listen).unwrap();
    daemon.wait_for("db", LONG, |t| t.forwards[0].connections.open == 0);
    let output = daemon.cli(&["status", "--json"]);
    let status: DaemonStatus = serde_json::from_slice(&output.stdout).unwrap();
    let printed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(serde_json::to_value(&status).unwrap(), printed);
    assert_eq!(status.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(status.pid, daemon.pid());
    assert_eq!(status.config, daemon.config_path().display().to_string());
    assert_eq!(status.last_reload, None);
    let [db, gone] = status.tunnels.as_slice() else {
        panic!("{status:#?}")
    };
    assert!(status.started_unix_ms <= db.since_unix_ms);
    assert_eq!(
        (db.phase, db.sessions, db.failure.is_none()),
        (Phase::Up, 1, true)
    );
    let session = db.session.as_ref().unwrap();
    assert_eq!(session.peer, bed.sshd.addr().to_string());
    assert!(session.server.starts_with("SSH-2.0-OpenSSH"), "{session:?}");
    let [forward] = db.forwards.as_slice() else {
        panic!("{db:#?}")
    };
    assert_eq!(
        (forward.kind.as_str(), &forward.listen),
        ("local", &bed.listen.to_string())
    );
    assert_eq!((forward.bytes_sent, forward.bytes_received), (6, 6));
    assert_eq!(
        (forward.connections.total, forward.connections.refused),
        (1, 0)
    );
    let failure = gone.failure.as_ref().unwrap();
    assert_eq!(failure.cause, "connection refused");
    assert!(gone.attempts > 0 && gone.retry_at_unix_ms.is_some() && gone.session.is_none());
    // One tunnel: the same shape with one entry.
    let one: DaemonStatus =
        serde_json::from_slice(&daemon.cli(&["status", "db", "--json"]).stdout).unwrap();
    assert_eq!(one.tunnels.len(), 1);
}

#[test]
fn a_reload_shows_in_the_status() {
    // `last_reload` says when and whether, and why not.
    let bed = Bed::new();
    let daemon = bed.up();
    assert_exit(&daemon.reload(), 0);
    let first = daemon.status().last_reload.unwrap();
    assert!(first.ok && first.error.is_none());
    daemon.write_config("garbage");
    assert_exit(&daemon.reload(), 78);
    let second = daemon.status().last_reload.unwrap();
    assert!(!second.ok && second.at_unix_ms >= first.at_unix_ms);
    assert!(second.error.is_some());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    // `tunneld status | head -1`: one line, and not a word on stderr.
    let (bed, folder) = (Bed::new(), Folder::new());
    let daemon = one_of_two(&bed, &folder);
    let socket = daemon.socket().display().to_string();
    for page in ["status", "status --json"] {
        // The reader is gone before the command begins to write, and its exit is asked.
        let line = format!(
            "set -o pipefail; {{ \"$0\" {page} --socket \"$1\"; echo \"exit $?\" >&2; }} | true"
        );
        let mut shell = command("bash");
        shell.args(["-c", &line]).arg(binary()).arg(&socket);
        let said = stderr(&within(&mut shell, LONG));
        // Bash itself says nothing either: the command was not killed by a signal.
        assert!(said == "exit 3\n" || said == "exit 0\n", "{said}");
    }
    let mut shell = command("sh");
    shell
        .args(["-c", "\"$0\" status --socket \"$1\" | head -1"])
        .arg(binary())
        .arg(&socket);
    let output = within(&mut shell, LONG);
    assert_has(&stdout(&output), &["db "]);
    assert_eq!(
        (stdout(&output).lines().count(), stderr(&output).as_str()),
        (1, "")
    );
}

/// What a command prints to a terminal.
fn on_a_terminal(arguments: &str, envs: &[(&str, &str)]) -> String {
    let mut script = command("script");
    let line = format!("{} {arguments}", binary().display());
    script.args(["-qec", &line, "/dev/null"]);
    script
        .env("TERM", "xterm-256color")
        .envs(envs.iter().copied());
    stdout(&within(&mut script, LONG))
}

#[test]
fn colour_is_for_terminals_and_only_where_it_is_wanted() {
    // On a terminal there is colour; with NO_COLOR, on one that is dumb, on a pipe, and in JSON there is
    // none.
    let (bed, folder) = (Bed::new(), Folder::new());
    let daemon = one_of_two(&bed, &folder);
    let bad = folder.write("bad.toml", "[tunnels.db]\nhosst = 1\n");
    let status = format!("status --socket {}", daemon.socket().display());
    let check = format!("check {bad}");
    for line in [&status, &check] {
        assert!(on_a_terminal(line, &[]).contains('\x1b'), "{line}");
        for without in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            assert!(!on_a_terminal(line, &[without]).contains('\x1b'), "{line}");
        }
    }
    let json = format!("{status} --json");
    assert!(!on_a_terminal(&json, &[]).contains('\x1b'));
    let piped = |words: &str| {
        let mut command: Command = command(binary());
        let output = within(command.args(words.split(' ')), LONG);
        stdout(&output) + &stderr(&output)
    };
    for line in [&status, &check] {
        assert!(!piped(line).contains('\x1b'), "{line}");
    }
    assert!(!daemon.log_text().contains('\x1b'));
}
