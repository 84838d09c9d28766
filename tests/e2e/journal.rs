//! The journal: native entries with the fields that the documentation names.

use std::time::Duration;

use serde_json::Value;
use tunneld_core::events;
use tunneld_core::status::{Phase, TunnelStatus};
use tunneld_lab::daemon::{Daemon, DaemonBuilder};
use tunneld_lab::fault::Fault;
use tunneld_lab::journal::Journal;
use tunneld_lab::keys::{certify, generate};
use tunneld_lab::process::poll;
use tunneld_lab::server::{LabOptions, LabServer};
use tunneld_lab::target::{echoes, free_addr, try_connect};

use crate::support::{Bed, Folder, LONG, assert_has, builder, forwards, tunnel, up};

/// A daemon that is told to write to the journal.
pub(crate) fn in_journal(journal: &Journal) -> DaemonBuilder {
    builder()
        .prefix(&journal.exec_prefix())
        .args(&["--log-format", "journal"])
}

/// Waits for entries that match.
#[track_caller]
pub(crate) fn wait_for(journal: &Journal, matches: &[&str]) -> Vec<Value> {
    let found = poll(LONG, || {
        Some(journal.entries(matches)).filter(|e| !e.is_empty())
    });
    found.unwrap_or_else(|| panic!("no {matches:?} in\n{}", journal.journalctl(&["-o", "cat"])))
}

pub(crate) fn id(event: &str) -> String {
    format!("MESSAGE_ID={event}")
}

/// Checks the fields of an entry.
#[track_caller]
fn has(entry: &Value, fields: &[(&str, &str)]) {
    for (name, value) in fields {
        assert_eq!(entry[name].as_str(), Some(*value), "{name} of {entry:#}");
    }
}

const ERROR: &str = "3";
const WARNING: &str = "4";
const INFO: &str = "6";
const DEBUG: &str = "7";

#[test]
fn what_happens_to_a_tunnel_is_found_by_its_name() {
    // `journalctl TUNNEL=db`: up, down with stage, class, attempt and cause, up again, stopped;
    // each with its MESSAGE_ID and its priority by consequence.
    let journal = Journal::start();
    let mut bed = Bed::new();
    let quick = "reconnect = { initial = \"50ms\", max = \"100ms\" }\n";
    let mut daemon = up(in_journal(&journal).config(&(bed.db() + quick)));
    bed.sshd.kill9();
    wait_for(&journal, &["TUNNEL=db", &id(events::TUNNEL_DOWN)]);
    bed.sshd.restart();
    daemon.wait_phase("db", Phase::Up, LONG);
    assert_eq!(daemon.terminate(LONG).code(), Some(0));
    let host = bed.sshd.addr().to_string();
    let about = |event: &str| wait_for(&journal, &["TUNNEL=db", &id(event)]);
    let ups = about(events::TUNNEL_UP);
    assert_eq!(ups.len(), 2);
    has(
        &ups[0],
        &[
            ("PRIORITY", INFO),
            ("MESSAGE", "db: tunnel up"),
            ("HOST", &host),
        ],
    );
    has(&ups[0], &[("SYSLOG_IDENTIFIER", "tunneld")]);
    let downs = about(events::TUNNEL_DOWN);
    has(
        &downs[0],
        &[
            ("PRIORITY", WARNING),
            ("STAGE", "session"),
            ("CLASS", "transient"),
        ],
    );
    has(&downs[0], &[("ATTEMPT", "0"), ("HOST", &host)]);
    assert!(!downs[0]["CAUSE"].as_str().unwrap().is_empty());
    has(&about(events::TUNNEL_STOPPED)[0], &[("PRIORITY", INFO)]);
    has(
        &about(events::LISTENING)[0],
        &[("PRIORITY", INFO), ("FORWARD", &daemon_forward(&bed))],
    );
    // The daemon's own events belong to no tunnel.
    for event in [
        events::STARTED,
        events::READY,
        events::STOPPING,
        events::STOPPED,
    ] {
        let entries = wait_for(&journal, &[&id(event)]);
        has(&entries[0], &[("PRIORITY", INFO)]);
        assert!(entries[0].get("TUNNEL").is_none());
    }
    assert!(daemon.log().is_empty(), "{}", daemon.log_text());
    // Nothing of where in the source a line is from.
    for entry in journal.entries(&["SYSLOG_IDENTIFIER=tunneld"]) {
        has(&entry, &[("SYSLOG_FACILITY", "3")]);
        for name in ["CODE_FILE", "CODE_LINE", "CODE_FUNC", "TARGET"] {
            assert!(entry.get(name).is_none(), "{entry:#}");
        }
    }
}

/// The name that a forward has without one in the file.
fn daemon_forward(bed: &Bed) -> String {
    format!("local-{}", bed.listen.port())
}

#[test]
fn what_a_person_has_to_mend_is_an_error_with_a_hint() {
    // Rejected keys: `tunnel blocked`, once, with what to do.
    let journal = Journal::start();
    let bed = Bed::new();
    bed.sshd.authorize_nobody();
    let quick = "reconnect = { initial = \"50ms\", max = \"100ms\" }\n";
    let daemon = in_journal(&journal).config(&(bed.db() + quick)).start();
    daemon.wait_for("db", LONG, |t| t.phase == Phase::Blocked && t.attempts > 5);
    let entries = wait_for(&journal, &["TUNNEL=db", &id(events::TUNNEL_BLOCKED)]);
    assert_eq!(entries.len(), 1);
    has(
        &entries[0],
        &[
            ("PRIORITY", ERROR),
            ("STAGE", "authenticate"),
            ("CLASS", "blocked"),
        ],
    );
    assert!(
        !entries[0]["HINT"].as_str().unwrap().is_empty(),
        "{:#}",
        entries[0]
    );
}

#[test]
fn a_certificate_that_ends_is_a_warning_with_its_file_and_its_date() {
    // Once a day, however often the tunnel connects.
    let journal = Journal::start();
    let bed = Bed::new();
    let authority = generate(bed.sshd.dir(), "authority");
    let public = &bed.sshd.client_key_files().public;
    let path = certify(&authority, public, "the id", &["-V", "-52w:+2d"]);
    let quick = "reconnect = { initial = \"50ms\", max = \"100ms\" }\n";
    let daemon = up(in_journal(&journal).config(&(bed.db() + quick)));
    let about = ["TUNNEL=db", &id(events::CERTIFICATE_EXPIRES)];
    wait_for(&journal, &about);
    for session in 2..4 {
        bed.sshd.kill_sessions();
        let again = |t: &TunnelStatus| t.phase == Phase::Up && t.sessions == session;
        daemon.wait_for("db", LONG, again);
    }
    let entries = wait_for(&journal, &about);
    assert_eq!(entries.len(), 1);
    let file = path.display().to_string();
    let fields = [
        ("PRIORITY", WARNING),
        ("CERTIFICATE", &file),
        ("KEY_ID", "the id"),
        ("HOST", &bed.sshd.addr().to_string()),
    ];
    has(&entries[0], &fields);
    let date = entries[0]["EXPIRES"].as_str().unwrap();
    let message = entries[0]["MESSAGE"].as_str().unwrap();
    let said = format!("db: certificate {file} expires on {date} (in 1 day)");
    assert_eq!(message, said);
}

#[test]
fn connections_are_found_by_their_forward_and_peer() {
    // A refused connection is a warning with FORWARD and PEER; an opened one is for debugging.
    let journal = Journal::start();
    let bed = Bed::new();
    let nobody = free_addr();
    let second = free_addr();
    let text = tunnel(
        "db",
        &bed.sshd,
        &[(bed.listen, bed.echo.addr()), (second, nobody)],
    );
    let _daemon = up(in_journal(&journal).config(&text).log_filter("debug"));
    echoes(bed.listen).unwrap();
    let forward = format!("FORWARD=local-{}", bed.listen.port());
    let opened = wait_for(&journal, &[&forward, "MESSAGE=db: connection opened"]);
    has(&opened[0], &[("PRIORITY", DEBUG), ("TUNNEL", "db")]);
    assert!(
        opened[0]["PEER"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:"),
        "{:#}",
        opened[0]
    );
    let _refused = try_connect(second);
    let refused = wait_for(&journal, &[&id(events::CONNECTION_REFUSED)]);
    let forward = format!("local-{}", second.port());
    has(
        &refused[0],
        &[
            ("PRIORITY", WARNING),
            ("TUNNEL", "db"),
            ("FORWARD", &forward),
        ],
    );
    for (name, part) in [
        ("PEER", "127.0.0.1:".to_owned()),
        ("MESSAGE", nobody.to_string()),
    ] {
        assert_has(refused[0][name].as_str().unwrap(), &[&part]);
    }
}

#[test]
fn a_reload_is_in_the_journal() {
    // Applied: info with the counts; refused: an error with the diagnostics.
    let journal = Journal::start();
    let bed = Bed::new();
    let daemon = up(in_journal(&journal).config(&bed.db()));
    daemon.reload();
    let applied = wait_for(&journal, &[&id(events::RELOADED)]);
    has(
        &applied[0],
        &[("PRIORITY", INFO), ("UNCHANGED", "1"), ("STARTED", "0")],
    );
    daemon.write_config("[tunnels.db]\nhosst = 1\n");
    daemon.reload();
    let refused = wait_for(&journal, &[&id(events::RELOAD_REFUSED)]);
    has(&refused[0], &[("PRIORITY", ERROR)]);
    let place = format!("{}:2:1", daemon.config_path().display());
    assert_has(
        refused[0]["MESSAGE"].as_str().unwrap(),
        &[&place, "did you mean `host`?"],
    );
}

#[test]
fn repeated_failures_do_not_flood() {
    // A server that rejects for a long time, and is asked every few milliseconds: one line.
    let journal = Journal::start();
    let folder = Folder::new();
    let key = generate(&folder.at(""), "client");
    let server =
        LabServer::start(LabOptions::for_key(&key).with_fault(Fault::DropEachAuthentication));
    folder.write("kh", &server.host_key_line());
    let text = format!(
        "[tunnels.db]\nhost = \"{}\"\nport = {}\nuser = \"u\"\nidentity_file = {:?}\nknown_hosts = {:?}\n\
         reconnect = {{ initial = \"5ms\", max = \"5ms\" }}\n{}",
        server.addr().ip(),
        server.addr().port(),
        key.private,
        folder.at("kh"),
        forwards(&[(free_addr(), free_addr())]),
    );
    let daemon = in_journal(&journal).config(&text).start();
    daemon.wait_for("db", LONG, |t| t.attempts >= 30);
    let lines = journal.entries(&["TUNNEL=db", "PRIORITY=4"]);
    let downs: Vec<_> = lines
        .iter()
        .filter(|e| e["MESSAGE_ID"] == events::TUNNEL_DOWN)
        .collect();
    assert_eq!(downs.len(), 1, "{lines:#?}");
    has(downs[0], &[("STAGE", "authenticate"), ("ATTEMPT", "1")]);
    // Summaries come at widening intervals: a few in all that time.
    assert!(lines.len() <= 4, "{lines:#?}");
}

#[test]
fn journal_stream_decides_where_nobody_says_it() {
    // As a service is started: stderr is the journal's stream, so entries are native; where
    // JOURNAL_STREAM is of somebody else's stderr, lines for people go to ours.
    let journal = Journal::start();
    let bed = Bed::new();
    let mut prefix = journal.exec_prefix();
    // systemd sets the variable for its services; systemd-cat only connects the stream.
    let set = "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \"$@\"";
    let words = ["systemd-cat", "--identifier=cat", "sh", "-c", set, "sh"];
    prefix.extend(words.map(str::to_owned));
    let daemon = up(builder().prefix(&prefix).config(&bed.db()));
    let up_entries = wait_for(&journal, &["TUNNEL=db", &id(events::TUNNEL_UP)]);
    has(
        &up_entries[0],
        &[("SYSLOG_IDENTIFIER", "tunneld"), ("_TRANSPORT", "journal")],
    );
    assert!(journal.entries(&["SYSLOG_IDENTIFIER=cat"]).is_empty());
    drop(daemon);
    let other = Bed::new();
    let prefix = journal.exec_prefix();
    let inherited = ["env".to_owned(), "JOURNAL_STREAM=1:1".to_owned()];
    let daemon = up(builder()
        .prefix(&[prefix, inherited.to_vec()].concat())
        .config(&other.db()));
    daemon.wait_for_log("tunnel up", Duration::from_secs(30));
}

#[test]
fn a_bad_file_is_told_to_the_journal() {
    // `run` as a service with a file that is wrong: exit 78, and the place is in the journal.
    let journal = Journal::start();
    let mut daemon: Daemon = in_journal(&journal)
        .config("[tunnels.db]\nhosst = 1\n")
        .spawn();
    assert_eq!(daemon.wait_exit(LONG).code(), Some(78));
    let entries = wait_for(&journal, &["PRIORITY=3", "SYSLOG_IDENTIFIER=tunneld"]);
    let text: String = entries
        .iter()
        .map(|e| e["MESSAGE"].as_str().unwrap())
        .collect();
    assert_has(&text, &[&format!("{}:2:1", daemon.config_path().display())]);
}
