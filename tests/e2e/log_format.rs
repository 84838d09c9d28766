//! Without a journal: lines for people, or JSON for programs; and never a secret.

use std::collections::BTreeSet;
use std::fs;

use tunneld_core::events;
use tunneld_core::status::Phase;
use tunneld_lab::journal::parse_json_lines;
use tunneld_lab::process::Signal;
use tunneld_lab::target::echoes;

use crate::sources::log_calls;
use crate::support::{Bed, Folder, LONG, assert_has, builder, daemon, dead_tunnel, up};

#[test]
fn people_get_one_line_an_event() {
    // Time, level, message, then the fields; nothing that only a program wants.
    let bed = Bed::new();
    let daemon = bed.up();
    let line = daemon.wait_for_log("tunnel up", LONG);
    let time = line.split(' ').next().unwrap();
    assert!(
        time.starts_with("20") && time.ends_with('Z') && time.contains('T'),
        "{line}"
    );
    assert_has(&line, &[" info  tunnel up tunnel=db host="]);
    assert!(!daemon.log_text().to_lowercase().contains("message_id"));
}

#[test]
fn a_failing_tunnel_is_one_line_however_often_it_fails() {
    // A refused connection every few milliseconds: `tunnel down` once.
    let folder = Folder::new();
    let quick = "reconnect = { initial = \"5ms\", max = \"5ms\" }\n";
    let daemon = daemon(&(dead_tunnel("db", &folder.key()) + quick));
    daemon.wait_for("db", LONG, |t| t.attempts >= 100);
    let lines = daemon.log();
    let downs: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("tunnel down"))
        .collect();
    assert_eq!(downs.len(), 1, "{lines:#?}");
    assert_has(
        downs[0],
        &[
            " warn  tunnel down, retrying in ",
            "stage=connect",
            "attempt=1",
        ],
    );
    assert_has(downs[0], &["tunnel=db", "(connection refused)"]);
}

#[test]
fn programs_get_one_json_object_a_line() {
    // `--log-format json`: every line parses, with the fields of the journal.
    let mut bed = Bed::new();
    let args = ["--log-format", "json", "--log-level", "debug"];
    let mut daemon = up(builder().config(&bed.db()).args(&args));
    echoes(bed.listen).unwrap();
    bed.sshd.kill9();
    daemon.wait_for("db", LONG, |t| t.failure.is_some());
    daemon.write_config("garbage \u{1b}[31m\n");
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("reload refused", LONG);
    assert_eq!(daemon.terminate(LONG).code(), Some(0));
    let entries = parse_json_lines(&daemon.log_text());
    let find = |event: &str| {
        let found = entries.iter().find(|entry| entry["message_id"] == event);
        found.unwrap_or_else(|| panic!("no {event} in {entries:#?}"))
    };
    // Each has the time, the level and the message, and besides only what tunneld(8) names.
    let calls = log_calls();
    let fields: BTreeSet<_> = calls.iter().flat_map(|call| &call.fields).collect();
    let always = ["timestamp", "level", "message"];
    for entry in &entries {
        for name in always {
            assert!(entry[name].is_string(), "{name} of {entry:#}");
        }
        let time = entry["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok());
        let level = entry["level"].as_str().unwrap();
        assert!(["ERROR", "WARN", "INFO", "DEBUG"].contains(&level));
        let others = entry.as_object().unwrap().keys();
        let mut others = others.filter(|name| !always.contains(&name.as_str()));
        assert!(others.all(|name| fields.contains(name)), "{entry:#}");
    }
    let down = find(events::TUNNEL_DOWN);
    assert_eq!(
        (down["level"].as_str(), down["tunnel"].as_str()),
        (Some("WARN"), Some("db"))
    );
    assert_eq!(down["class"], "transient");
    assert!(down["attempt"].is_number(), "{down:#}");
    find(events::TUNNEL_UP);
    find(events::RELOAD_REFUSED);
}

#[test]
fn a_file_that_is_wrong_is_told_in_json_too() {
    // Whoever reads the lines with a program can read why there are none.
    let args = ["--log-format", "json"];
    let mut daemon = builder()
        .config("[tunnels.db]\nhosst = 1\n")
        .args(&args)
        .spawn();
    assert_eq!(daemon.wait_exit(LONG).code(), Some(78));
    let entries = parse_json_lines(&daemon.log_text());
    let text: String = entries
        .iter()
        .filter_map(|e| e["message"].as_str())
        .collect();
    assert_has(&text, &["did you mean `host`?"]);
}

#[test]
fn no_line_has_a_part_of_a_private_key() {
    // Everything that is printed at debug, with failures of every kind on the way.
    let mut bed = Bed::new();
    let daemon = up(builder().config(&bed.db()).log_filter("debug"));
    echoes(bed.listen).unwrap();
    daemon.reload();
    bed.sshd.authorize_nobody();
    bed.sshd.restart();
    daemon.wait_phase("db", Phase::Blocked, LONG);
    let key = fs::read_to_string(bed.sshd.client_key()).unwrap();
    let mut said = daemon.log_text();
    for words in [
        &["status"][..],
        &["status", "db"],
        &["status", "--json"],
        &["check", "--print"],
    ] {
        said += &tunneld_lab::process::printed(&daemon.cli(words));
    }
    // The broken key is not quoted either.
    let (start, end) = key.split_at(key.len() / 2);
    fs::write(bed.sshd.client_key(), format!("{start}%%{end}")).unwrap();
    said += &tunneld_lab::process::printed(&daemon.cli(&["check"]));
    daemon.cli(&["restart", "db"]);
    daemon.wait_for("db", LONG, |t| {
        t.failure.as_ref().is_some_and(|f| f.hint.is_some())
    });
    said += &daemon.log_text();
    let secret: Vec<_> = key.lines().filter(|line| !line.starts_with('-')).collect();
    assert!(secret.len() > 3);
    // The first lines hold the public half as well; a secret is in every window of the later ones.
    for line in &secret[2..] {
        for at in (0..line.len().saturating_sub(16)).step_by(4) {
            let part = &line[at..at + 16];
            assert!(!said.contains(part), "{part} was printed");
        }
    }
}
