//! docs/troubleshooting.md has an entry for every message that somebody may look up.

use std::collections::BTreeSet;
use std::fs;

use tunneld_core::events;

use crate::manual_page::repository;
use crate::sources::{self, LogCall, log_calls};

/// What stands for anything.
const ANYTHING: char = '…';

/// Reasons that the operating system gives.
const OF_THE_SYSTEM: [&str; 8] = [
    "address already in use",
    "broken pipe",
    "cannot assign requested address",
    "connection reset by peer",
    "connection timed out",
    "no route to host",
    "network is unreachable",
    "permission denied",
];

struct Document {
    text: String,
    /// The messages of the headings, and the section that each is in.
    patterns: Vec<(String, String)>,
}

impl Document {
    fn read() -> Self {
        let text = fs::read_to_string(repository().join("docs/troubleshooting.md")).unwrap();
        let (mut patterns, mut section) = (Vec::new(), "");
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("## ") {
                section = name;
            } else if let Some(heading) = line.strip_prefix("### ") {
                // Two backticks where the message has one of its own.
                let marks = if heading.starts_with("``") { "``" } else { "`" };
                let quoted = heading.split(marks).skip(1).step_by(2);
                let quoted = quoted.map(|message| (section.to_owned(), message.trim().to_owned()));
                patterns.extend(quoted);
            }
        }
        for (_, pattern) in &patterns {
            let letters = pattern.chars().filter(|c| c.is_alphabetic()).count();
            assert!(letters >= 3, "`{pattern}` is for anything");
        }
        assert!(patterns.len() > 100, "only {} messages", patterns.len());
        Document { text, patterns }
    }

    /// Whether one of its messages is this one, in a section whose name begins so.
    fn explains(&self, section: &str, message: &str) -> bool {
        let patterns = self.patterns.iter();
        let mut patterns = patterns.filter(|(of, _)| of.starts_with(section));
        patterns.any(|(_, pattern)| matches(pattern, message))
    }
}

/// What bad servers, keys, agents and files have led to.
fn corpus() -> String {
    let files = fs::read_dir(repository().join("tests/ssh/bad_inputs")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let texts = files.filter(|path| path.extension().is_some_and(|e| e == "txt"));
    texts
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

/// Whether `message` is `pattern`, with anything at each `…`.
fn matches(pattern: &str, message: &str) -> bool {
    let mut parts = pattern.split(ANYTHING);
    let Some(mut rest) = parts.next().and_then(|first| message.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in between {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn every_warning_and_error_of_the_journal_has_an_entry() {
    // By the calls in the sources: each message, and each event.
    let document = Document::read();
    let (mut seen, mut missing) = (BTreeSet::new(), Vec::new());
    for call in log_calls().into_iter().filter(LogCall::is_trouble) {
        seen.extend(call.event.clone());
        // Only a cause has an entry of its own.
        let says = call.message.chars().any(char::is_alphabetic);
        if says && !document.explains("", &call.message) {
            missing.push(format!("{}: {}", call.file, call.message));
        }
    }
    assert!(missing.is_empty(), "no entry: {missing:#?}");
    for event in &seen {
        assert!(
            events::ALL.iter().any(|known| known.name == event),
            "{event}"
        );
        let named = format!("`{event}`");
        assert!(document.text.contains(&named), "no entry names {named}");
    }
    assert!(seen.len() >= 12, "{seen:?}");
}

#[test]
fn every_error_of_a_command_has_an_entry() {
    // What commands say of themselves, and of a daemon that does not answer.
    let document = Document::read();
    let mut missing = Vec::new();
    for said in sources::said_by_commands() {
        let says = said.chars().any(char::is_alphabetic);
        if says && !document.explains("Commands", &said) {
            missing.push(said);
        }
    }
    assert!(missing.is_empty(), "no entry: {missing:#?}");
}

#[test]
fn every_cause_of_the_corpus_of_bad_inputs_has_an_entry() {
    // What real servers, keys, agents and files have led to: each in the section of its stage.
    let document = Document::read();
    let (mut causes, mut missing) = (0, Vec::new());
    let corpus = corpus();
    for line in corpus.lines().filter(|line| !line.starts_with(['#', ' '])) {
        let classes = [", transient: ", ", blocked: "];
        let found = classes.iter().find_map(|class| line.split_once(class));
        let Some((stage, cause)) = found else {
            continue;
        };
        // The first clause is the cause; the others tell more.
        let first = cause.split("; ").next().unwrap_or(cause);
        if !document.explains(stage, cause) && !document.explains(stage, first) {
            missing.push(line.to_owned());
        }
        causes += 1;
    }
    assert!(missing.is_empty(), "no entry: {missing:#?}");
    assert!(causes > 80, "only {causes} causes");
}

#[test]
fn no_entry_is_for_a_message_that_does_not_exist() {
    // Each piece of a message is in the sources, in the corpus, or the system's.
    let real = sources::texts() + &corpus() + &OF_THE_SYSTEM.join("\n");
    let mut stale = Vec::new();
    for (_, pattern) in Document::read().patterns {
        let pieces = pattern
            .split(ANYTHING)
            .map(|piece| piece.trim_matches([' ', ':', ';', ',']));
        let pieces = pieces.filter(|piece| piece.len() >= 5);
        let is_real =
            |piece: &str| real.contains(piece) || piece.split(": ").all(|part| real.contains(part));
        stale.extend(
            pieces
                .filter(|p| !is_real(p))
                .map(|p| format!("{p:?} of {pattern}")),
        );
    }
    assert!(stale.is_empty(), "nothing says {stale:#?}");
}
