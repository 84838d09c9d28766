//! `journalctl -x`: systemd takes the catalog, and explains each event with what was logged.

use std::collections::BTreeSet;
use std::fs;

use tunneld_core::events;
use tunneld_core::status::Phase;
use tunneld_lab::journal::Journal;
use tunneld_lab::process::{prefixed, run};

use crate::journal::{in_journal, wait_for};
use crate::manual_page::repository;
use crate::sources::{LogCall, log_calls};
use crate::support::{Bed, Folder, LONG, assert_has, dead_tunnel, up};

fn catalog() -> String {
    fs::read_to_string(repository().join("systemd/tunneld.catalog")).unwrap()
}

/// The entries: id, head and text.
fn entries() -> Vec<(String, String, String)> {
    let text = catalog();
    let entries = text.split("\n-- ").skip(1);
    let entry = |entry: &str| {
        let (id, rest) = entry.split_once('\n').unwrap();
        let (head, body) = rest.split_once("\n\n").unwrap();
        (id.to_owned(), head.to_owned(), body.to_owned())
    };
    entries.map(entry).collect()
}

/// The names between `@` in a text.
fn fields(text: &str) -> BTreeSet<String> {
    let words = text.split('@').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

/// What is logged with an event, by the calls in the sources.
fn logged(event: &str) -> BTreeSet<String> {
    let calls = log_calls();
    let with = |call: &&LogCall| call.event.as_deref() == Some(event);
    let mut found: BTreeSet<String> = BTreeSet::new();
    for call in calls.iter().filter(with) {
        found.extend(call.fields.iter().map(|field| field.to_uppercase()));
    }
    // A macro has the fields of what is said with it.
    if found.is_empty() || calls.iter().filter(with).any(|call| call.fields.is_empty()) {
        let macros = calls.iter().filter(|call| call.level.is_empty());
        found.extend(
            macros
                .flat_map(|call| &call.fields)
                .map(|f| f.to_uppercase()),
        );
    }
    found
}

#[test]
fn every_entry_has_its_head_and_a_text_with_fields_that_are_logged() {
    // Subject, Defined-By and Documentation; and no @FIELD@ that the event does not have.
    let entries = entries();
    assert_eq!(entries.len(), events::ALL.len());
    for (id, head, body) in entries {
        let lines: Vec<&str> = head.lines().collect();
        assert!(lines[0].starts_with("Subject: "), "{id}: {head}");
        assert_eq!(
            lines[1..],
            ["Defined-By: tunneld", "Documentation: man:tunneld(8)"],
            "{id}"
        );
        assert!(body.trim().len() > 30, "{id}: {body}");
        assert!(body.lines().all(|line| line.len() <= 95), "{id}: {body}");
        let event = events::ALL.iter().find(|event| event.id == id).unwrap();
        // Made where it is sent.
        if event.id == events::LOG_LINES_LOST {
            continue;
        }
        let (wanted, there) = (fields(&(head + &body)), logged(event.name));
        // journald itself says which unit it was.
        let missing = wanted.difference(&there).filter(|f| *f != "_SYSTEMD_UNIT");
        let missing: Vec<_> = missing.collect();
        assert!(missing.is_empty(), "{} has no {missing:?}", event.name);
    }
}

#[test]
fn systemd_takes_the_catalog_and_explains_what_was_logged() {
    // `journalctl --update-catalog` has nothing to say, knows each event afterwards, and `-x` shows
    // it with the values in place.
    let journal = Journal::start();
    let inside = journal.exec_prefix();
    let from = repository().join("systemd/tunneld.catalog");
    // A database of its own: the machine's is left alone.
    let install = format!(
        "mount -t tmpfs tmpfs /var/lib/systemd && mkdir /var/lib/systemd/catalog && \
         mount -t tmpfs tmpfs /usr/local/lib && mkdir -p /usr/local/lib/systemd/catalog && \
         cp {} /usr/local/lib/systemd/catalog/ && \
         journalctl --update-catalog 2>&1",
        from.display()
    );
    let said = run(prefixed(&inside, "sh").args(["-c", &install]));
    assert_eq!(said, "");
    let listed = run(prefixed(&inside, "journalctl").arg("--list-catalog"));
    for (id, head, _) in entries() {
        let subject = head.lines().next().unwrap().replacen("Subject: ", "", 1);
        assert_has(&listed, &[&format!("{id} tunneld: {subject}")]);
    }
    let (bed, folder) = (Bed::new(), Folder::new());
    let text = bed.db() + &dead_tunnel("gone", &folder.key());
    let daemon = up(in_journal(&journal).config(&text));
    daemon.wait_phase("gone", Phase::Waiting, LONG);
    wait_for(&journal, &["TUNNEL=gone"]);
    let text = journal.journalctl(&["-x", "SYSLOG_IDENTIFIER=tunneld"]);
    assert_has(
        &text,
        &[
            "Subject: Tunnel db is up",
            "Subject: Tunnel gone is down",
            "Stage: connect. Cause: ",
            "Defined-By: tunneld",
            "Documentation: man:tunneld(8)",
        ],
    );
    let unfilled: Vec<_> = events::ALL
        .iter()
        .flat_map(|event| logged(event.name))
        .filter(|field| text.contains(&format!("@{field}@")))
        .collect();
    assert!(unfilled.is_empty(), "{unfilled:?} in\n{text}");
}
