//! `tunneld logs`: what the journal has of the daemon, or of one tunnel.

use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tunneld_core::status::Phase;
use tunneld_lab::daemon::Daemon;
use tunneld_lab::journal::{Journal, parse_json_lines};
use tunneld_lab::process::{LineLog, Signal, poll, prefixed, signal};

use crate::support::{Bed, Folder, LONG, assert_exit, assert_has, binary, builder, dead_tunnel};
use crate::support::{stderr, stdout, up, within};

/// A daemon that writes to the journal, with a tunnel that is up and one that is not.
fn start(journal: &Journal, bed: &Bed, folder: &Folder) -> Daemon {
    // Where nothing is known of the host yet, its key is learnt.
    let known = format!("{:?}", bed.sshd.known_hosts());
    let new = "{dir}/known_hosts\"\nstrict_host_key_checking = \"accept-new";
    let db = bed.db().replace(&known, &format!("\"{new}\""));
    let builder = builder()
        .prefix(&journal.exec_prefix())
        .args(&["--log-format", "journal"]);
    let daemon = up(builder.config(&(db + &dead_tunnel("gone", &folder.key()))));
    daemon.wait_phase("gone", Phase::Waiting, LONG);
    journal.journalctl(&["-n", "1"]);
    daemon
}

fn command(journal: &Journal, daemon: &Daemon, before: &[&str], words: &[&str]) -> Command {
    let mut prefix = journal.exec_prefix();
    prefix.extend(before.iter().map(ToString::to_string));
    let mut command = prefixed(&prefix, binary());
    command.arg("logs").arg("--socket").arg(daemon.socket());
    command.args(words).stdin(Stdio::null());
    command
}

fn logs(journal: &Journal, daemon: &Daemon, words: &[&str]) -> Output {
    within(&mut command(journal, daemon, &[], words), LONG)
}

#[test]
fn a_name_has_its_own_lines_those_about_host_keys_too() {
    // Without a name, every line of the daemon; with one, those with its TUNNEL.
    let (journal, bed, folder) = (Journal::start(), Bed::new(), Folder::new());
    let daemon = start(&journal, &bed, &folder);
    let all = logs(&journal, &daemon, &[]);
    assert_exit(&all, 0);
    assert_eq!(stderr(&all), "");
    assert_has(
        &stdout(&all),
        &["tunneld starts", "tunnel up", "connection refused"],
    );
    let db = logs(&journal, &daemon, &["db"]);
    assert_exit(&db, 0);
    assert_has(
        &stdout(&db),
        &["tunnel up", "new host key learnt", "listening on"],
    );
    for other in ["tunneld starts", "connection refused"] {
        assert!(!stdout(&db).contains(other), "{}", stdout(&db));
    }
}

#[test]
fn what_journalctl_takes_is_passed_on() {
    // -n, --since, and anything after `--`.
    let (journal, bed, folder) = (Journal::start(), Bed::new(), Folder::new());
    let daemon = start(&journal, &bed, &folder);
    let last = stdout(&logs(
        &journal,
        &daemon,
        &["db", "-n", "1", "--", "--quiet"],
    ));
    assert_eq!(last.lines().count(), 1, "{last}");
    let json = stdout(&logs(
        &journal,
        &daemon,
        &["db", "--since", "-1h", "--", "-o", "json", "-q"],
    ));
    let entries: Vec<Value> = parse_json_lines(&json);
    assert!(
        entries.len() > 1 && entries.iter().all(|e| e["TUNNEL"] == "db"),
        "{json}"
    );
    let future = stdout(&logs(
        &journal,
        &daemon,
        &["db", "--since", "2100-01-01", "--", "-q"],
    ));
    assert!(!future.contains("tunnel up"), "{future}");
}

#[test]
fn new_lines_come_as_they_are_written() {
    // -f goes on until it is ended.
    let (journal, bed, folder) = (Journal::start(), Bed::new(), Folder::new());
    let daemon = start(&journal, &bed, &folder);
    let mut command = command(&journal, &daemon, &[], &["db", "-f", "-n", "0"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let log = LineLog::default();
    log.follow(child.stdout.take().unwrap());
    // journalctl begins to follow a moment after it was started.
    let seen = poll(LONG, || {
        assert_exit(&daemon.cli(&["restart", "db"]), 0);
        (log.count("session replaced") > 0).then_some(())
    });
    assert!(seen.is_some(), "{}", log.text());
    signal(child.id(), Signal::TERM);
    child.wait().unwrap();
}

#[test]
fn what_keeps_the_journal_empty_is_said() {
    // A mistyped name, a user who may not read it, a daemon that is gone: words on stderr.
    let (journal, bed, folder) = (Journal::start(), Bed::new(), Folder::new());
    let mut daemon = start(&journal, &bed, &folder);
    let mistyped = logs(&journal, &daemon, &["gome"]);
    assert_has(
        &stderr(&mistyped),
        &["note: no tunnel `gome`", "did you mean `gone`?"],
    );
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let denied = within(&mut command(&journal, &daemon, &nobody, &["db"]), LONG);
    assert_has(
        &stderr(&denied),
        &["may not read the machine's journal", "systemd-journal"],
    );
    daemon.kill9();
    let gone = logs(&journal, &daemon, &["db"]);
    assert_exit(&gone, 0);
    assert_has(&stderr(&gone), &["note: no daemon on "]);
    assert_has(&stdout(&gone), &["tunnel up"]);
    // And without journalctl.
    let mut without = Command::new(binary());
    without
        .args(["logs", "--socket"])
        .arg(daemon.socket())
        .env("PATH", "/nonexistent");
    let output = within(&mut without, LONG);
    assert_exit(&output, 1);
    assert_has(
        &stderr(&output),
        &[
            "cannot run journalctl: no such file",
            "hint: without systemd",
        ],
    );
}
