//! docs/status.schema.json: what `status --json` prints is what the schema says, in every situation.

use std::io::Write;
use std::process::{Command, Stdio};

use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::daemon::Daemon;
use tunneld_lab::keys::{certify, generate};
use tunneld_lab::target::{echoes, free_addr, try_connect};

use crate::manual_page::repository;
use crate::support::{Bed, Folder, LONG, daemon, dead_tunnel, forwards, stdout, tunnel_table};

/// Python's jsonschema, of Debian: it says what is wrong, place by place.
const VALIDATE: &str = "
import json, sys
from jsonschema import Draft202012Validator as V
schema = json.load(open(sys.argv[1]))
V.check_schema(schema)
for e in V(schema).iter_errors(json.load(sys.stdin)):
    print(list(e.absolute_path), e.message)
";

/// What a validator has against a text.
fn complaints(json: &str) -> String {
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", VALIDATE])
        .arg(repository().join("docs/status.schema.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(json.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "no validator: install python3-jsonschema (apt-get install python3-jsonschema)"
    );
    stdout(&output)
}

fn printed(daemon: &Daemon, words: &[&str]) -> String {
    stdout(&daemon.cli(&[&["status", "--json"], words].concat()))
}

#[track_caller]
fn holds(daemon: &Daemon) -> String {
    let json = printed(daemon, &[]);
    let said = complaints(&json);
    assert!(said.is_empty(), "{said}\n{json}");
    json
}

#[test]
fn every_situation_is_what_the_schema_says() {
    // Up with traffic, refusals, a chosen port and a certificate; waiting, blocked, stopped, degraded;
    // after reloads that were and were not taken; one tunnel alone.
    let (bed, strict, folder) = (Bed::new(), Bed::new(), Folder::new());
    let authority = generate(bed.sshd.dir(), "authority");
    certify(
        &authority,
        &bed.sshd.client_key_files().public,
        "id",
        &["-V", "-52w:+2d"],
    );
    strict.sshd.authorize_nobody();
    let (dynamic, refused, taken) = (
        free_addr(),
        free_addr(),
        std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
    );
    let taken = taken.local_addr().map(|addr| (taken, addr)).unwrap();
    let config = tunnel_table("db", &bed.sshd)
        + &format!(
            "local_forward = [\"{}:{}\", \"{refused}:{}\"]\nremote_forward = [\"0:{}\"]\n\
             dynamic_forward = [\"{dynamic}\"]\nserver_alive_interval = 0\n",
            bed.listen,
            bed.echo.addr(),
            free_addr(),
            bed.echo.addr()
        )
        + &strict.db().replace("tunnels.db", "tunnels.blocked")
        + &dead_tunnel("gone", &folder.key())
        + &(dead_tunnel("off", &folder.key()) + "enabled = false\n")
        + &tunnel_table("half", &bed.sshd)
        + &forwards(&[(taken.1, bed.echo.addr())]);
    let daemon = daemon(&config);
    holds(&daemon);
    for (name, phase) in [
        ("db", Phase::Up),
        ("blocked", Phase::Blocked),
        ("gone", Phase::Waiting),
        ("off", Phase::Stopped),
        ("half", Phase::Degraded),
    ] {
        daemon.wait_phase(name, phase, LONG);
    }
    echoes(bed.listen).unwrap();
    let _closed = try_connect(refused);
    let is_told = |t: &TunnelStatus| t.forwards.iter().any(|f| f.last_refusal.is_some());
    daemon.wait_for("db", LONG, is_told);
    let json = holds(&daemon);
    for field in [
        "allocated_port",
        "last_refusal",
        "valid_before_unix_s",
        "hint",
        "retry_at_unix_ms",
        "stopped_by",
    ] {
        assert!(json.contains(field), "no {field} in {json}");
    }
    daemon.cli(&["stop", "gone"]);
    assert!(holds(&daemon).contains("\"command\""));
    daemon.reload();
    holds(&daemon);
    daemon.write_config("garbage");
    daemon.reload();
    assert!(holds(&daemon).contains("\"error\""));
    assert_eq!(complaints(&printed(&daemon, &["db"])), "");
}

#[test]
fn the_schema_refuses_what_is_not_there() {
    // A validator that takes anything would prove nothing.
    let bed = Bed::new();
    let daemon = bed.up();
    let json = printed(&daemon, &[]);
    assert_eq!(complaints(&json), "");
    for (from, to) in [
        ("\"phase\": \"up\"", "\"phase\": \"upp\""),
        ("\"attempts\": 0", "\"attempts\": -1"),
        ("\"kind\": \"local\"", "\"kind\": \"local\", \"sort\": 1"),
        ("\"bytes_sent\": 0,", ""),
    ] {
        assert!(json.contains(from), "{json}");
        assert_ne!(complaints(&json.replace(from, to)), "", "{to}");
    }
}
