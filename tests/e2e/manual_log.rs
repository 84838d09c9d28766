//! tunneld(8) has what the journal can be searched by: every field and every event.

use std::collections::BTreeSet;
use std::fs;

use tunneld_core::events;

use crate::manual_page::{Page, repository};
use crate::sources::{LogCall, log_calls};

/// What the journal puts into each entry.
const OF_EVERY_SERVICE: [&str; 5] = [
    "MESSAGE",
    "MESSAGE_ID",
    "PRIORITY",
    "SYSLOG_IDENTIFIER",
    "SYSLOG_FACILITY",
];

#[test]
fn every_field_that_is_logged_is_in_the_page_and_no_other() {
    // The fields of all calls in the sources are those of JOURNAL, in capitals.
    let page = Page::read("tunneld.8");
    let part = page.part(".\\\" fields", &[".\\\" end of fields"]);
    let mut written = BTreeSet::new();
    for entry in part.entries("Va") {
        let head = entry.words.iter().skip(1);
        let names = head.take_while(|word| {
            word.chars().all(|c| c.is_ascii_uppercase() || c == '_') || *word == "Va"
        });
        written.extend(names.filter(|word| *word != "Va").cloned());
    }
    let mut logged: BTreeSet<String> = OF_EVERY_SERVICE.map(str::to_owned).into();
    for call in log_calls() {
        logged.extend(call.fields.iter().map(|field| field.to_uppercase()));
    }
    let missing: Vec<_> = logged.difference(&written).collect();
    let gone: Vec<_> = written.difference(&logged).collect();
    assert!(missing.is_empty(), "no entry in JOURNAL for {missing:?}");
    assert!(gone.is_empty(), "nothing logs {gone:?}");
}

#[test]
fn every_event_is_in_the_page_with_its_id() {
    // Name by name, and id by id.
    let page = Page::read("tunneld.8");
    let part = page.part(".\\\" events", &[".\\\" end of events"]);
    let entries = part.entries("Dv");
    let id = |words: &[String]| words.iter().find(|word| word.len() == 32).cloned();
    let written: Vec<_> = entries
        .iter()
        .map(|entry| (entry.name.as_str(), id(&entry.words).unwrap_or_default()))
        .collect();
    for event in events::ALL {
        let same = (event.name, event.id.to_owned());
        assert!(written.contains(&same), "not in the page: {same:?}");
    }
    assert_eq!(written.len(), events::ALL.len());
}

#[test]
fn every_line_but_those_for_debugging_has_an_event() {
    // So that each can be searched for, and explained.
    let calls = log_calls().into_iter();
    let calm = calls.filter(|call| ["error", "warn", "info"].contains(&call.level.as_str()));
    let without: Vec<LogCall> = calm.filter(|call| call.event.is_none()).collect();
    assert!(without.is_empty(), "{without:#?}");
}

#[test]
fn every_event_has_its_explanation() {
    // `journalctl -x`: an entry of the catalog for each, which says what it is about.
    let path = repository().join("systemd/tunneld.catalog");
    let catalog = fs::read_to_string(path).unwrap();
    for event in events::ALL {
        let head = format!("-- {}\nSubject: ", event.id);
        assert!(catalog.contains(&head), "{} has no entry", event.name);
    }
}
