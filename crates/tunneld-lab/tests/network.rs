//! The network of namespaces can be cut and mended, and the private journal can be read. Both need
//! root: without it these tests fail, and say so.

// Helpers are not tests to clippy, and their failure is the test's failure.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use tunneld_lab::journal::{Journal, parse_json_lines, with_journald};
use tunneld_lab::net::{self, NetLab};
use tunneld_lab::process::{prefixed, printed, run};
use tunneld_lab::sshd::Sshd;
use tunneld_lab::target::{EchoServer, TIMEOUT, connect, echoes, read_exact};

#[test]
fn a_cut_is_silent_and_connections_survive_it() {
    let lab = NetLab::new();
    let addr = SocketAddr::new(net::B, 7000);
    let echo = lab.inside("B", || EchoServer::start_on(addr));
    let mut client = lab.inside("A", || {
        echoes(addr).unwrap();
        connect(addr)
    });
    lab.cut();
    client.write_all(b"x").unwrap();
    let error = read_exact(&mut client, 1, Duration::from_millis(300)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    lab.heal();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    client.read_exact(&mut [0]).unwrap();
    assert_eq!(echo.accepted(), 2);
}

#[test]
fn the_real_server_and_client_talk_across_the_network_and_two_networks_do_not_meet() {
    let (one, two) = (NetLab::new(), NetLab::new());
    let start = |lab: &NetLab| {
        let builder = Sshd::builder().listen(net::B).port(22);
        builder.prefix(&lab.exec_prefix("B")).start()
    };
    let servers = [(start(&one), one), (start(&two), two)];
    for (sshd, lab) in &servers {
        let login = sshd.ssh_command();
        let mut command = prefixed(&lab.exec_prefix("A"), login.get_program());
        assert_eq!(run(command.args(login.get_args()).arg("echo in")), "in\n");
        assert_eq!(sshd.connections_authenticated(), 1);
    }
}

#[test]
fn nothing_is_left_of_a_dropped_network() {
    let lab = NetLab::new();
    let name = lab.name("R");
    assert!(run(std::process::Command::new("ip").args(["netns", "list"])).contains(&name));
    drop(lab);
    assert!(!run(std::process::Command::new("ip").args(["netns", "list"])).contains(&name));
}

#[test]
fn what_is_sent_to_the_private_journal_can_be_read_back_by_field() {
    let journal = Journal::start();
    let mut logger = prefixed(&journal.exec_prefix(), "systemd-cat");
    run(logger.args(["-t", "lab", "echo", "hello"]));
    let found = poll_entry(&journal);
    assert_eq!(found["MESSAGE"], "hello");
    assert!(journal.entries(&["TUNNEL=none"]).is_empty());
}

/// systemd-cat hands its stream over and is gone: its line may come after it.
fn poll_entry(journal: &Journal) -> serde_json::Value {
    tunneld_lab::process::poll(TIMEOUT, || {
        journal.entries(&["SYSLOG_IDENTIFIER=lab"]).pop()
    })
    .expect("no entry")
}

#[test]
fn a_shell_runs_below_a_private_journal() {
    let output = with_journald(
        "logger --journald <<'E'\nMESSAGE=hi\nTUNNEL=db\nE\n\
         journalctl --sync -q; journalctl -q TUNNEL=db -o json",
    );
    assert!(output.status.success(), "{}", printed(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let entries = parse_json_lines(&text);
    assert!(
        entries.iter().any(|entry| entry["MESSAGE"] == "hi"),
        "{text}"
    );
}
