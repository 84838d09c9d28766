//! What the sources of the program say, for documents that have to say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::manual_page::repository;

/// A line that the program can log.
#[derive(Debug)]
pub(crate) struct LogCall {
    /// `error`, `warn`, `info`, `debug`; empty where only the call of a macro says so.
    pub(crate) level: String,
    /// The names of its fields.
    pub(crate) fields: Vec<String>,
    /// The text, with `…` for what is put into it.
    pub(crate) message: String,
    /// The name of its event in `tunneld_core::events`.
    pub(crate) event: Option<String>,
    /// Its file.
    pub(crate) file: String,
}

impl LogCall {
    /// Whether somebody may have to do something about it.
    pub(crate) fn is_trouble(&self) -> bool {
        matches!(self.level.as_str(), "error" | "warn" | "")
    }
}

/// Every source of the program, without its tests: name and text.
pub(crate) fn files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in ["crates/tunneld/src", "crates/tunneld-ssh/src"] {
        walk(&repository().join(part), &mut found);
    }
    assert!(found.len() > 50, "only {} sources", found.len());
    found
}

fn walk(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            walk(&path, found);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).unwrap();
            let (code, _) = text.split_once("mod tests {\n").unwrap_or((&text, ""));
            found.push((path.display().to_string(), code.to_owned()));
        }
    }
}

/// What follows each `start` in all sources.
fn after<'a>(text: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(start)
        .map(move |(at, _)| &text[at + start.len()..])
}

/// The environment variables that are looked at.
pub(crate) fn variables() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in files() {
        for start in ["env::var(\"", "env::var_os(\"", "env = \""] {
            let names = after(&text, start).filter_map(|rest| rest.split('"').next());
            found.extend(names.map(str::to_owned));
        }
    }
    found
}

/// The variables that the programs of on_up and on_down are given.
pub(crate) fn hook_variables() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in files().iter().filter(|(file, _)| file.contains("hooks")) {
        let names = after(text, "(\"TUNNELD_").filter_map(|rest| rest.split('"').next());
        found.extend(names.map(|name| format!("TUNNELD_{name}")));
    }
    found
}

/// The kinds of error that the control socket answers with, as they are in JSON.
pub(crate) fn error_kinds() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in files() {
        for rest in after(&text, "enum ErrorKind {") {
            let body = rest.split("\n}").next().unwrap_or_default();
            let names = body.lines().map(str::trim);
            let names = names.filter(|line| line.ends_with(',') && !line.starts_with("//"));
            found.extend(names.map(|name| kebab(name.trim_end_matches(','))));
        }
    }
    assert!(!found.is_empty());
    found
}

fn kebab(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

/// The paths that are served, up to what a client puts into them.
pub(crate) fn routes() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in files() {
        let squeezed: String = text.split_whitespace().collect();
        let paths = after(&squeezed, ".route(\"").filter_map(|rest| rest.split(['"', '{']).next());
        found.extend(paths.map(str::to_owned));
    }
    assert!(!found.is_empty());
    found
}

/// Every call of a macro of tracing, and every message that is made for one.
pub(crate) fn log_calls() -> Vec<LogCall> {
    let mut calls = Vec::new();
    for (file, text) in files() {
        for level in ["error", "warn", "info", "debug", "$level"] {
            for rest in after(&text, &format!("tracing::{level}!(")) {
                let arguments = arguments(rest);
                calls.push(call(level.trim_start_matches('$'), &file, &arguments));
            }
        }
        for rest in after(&text, "let message = format_args!(") {
            calls.push(call("", &file, &arguments(rest)));
        }
        // A macro of ours: the level, the event, and what it is said with.
        for rest in after(&text, "outage!(") {
            if let [level, event, ..] = arguments(rest).as_slice() {
                calls.push(LogCall {
                    level: level.clone(),
                    fields: Vec::new(),
                    message: "…".to_owned(),
                    event: named_event(event),
                    file: file.clone(),
                });
            }
        }
    }
    assert!(calls.len() > 30, "only {} calls", calls.len());
    calls
}

/// The causes of failures that are written where the failure is made, with `…` for what differs.
pub(crate) fn causes() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in files() {
        for start in ["Failure::transient(", "Failure::blocked("] {
            for rest in after(&text, start) {
                let arguments = arguments(rest);
                let cause = arguments.get(1).map(String::as_str).unwrap_or_default();
                let cause = cause.strip_prefix("format!(").unwrap_or(cause);
                if cause.starts_with('"') {
                    let literal = cause.rsplit_once('"').map_or(cause, |(text, _)| text);
                    found.insert(filled(literal));
                }
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

/// What commands say on stderr about themselves, `error: …` and `note: …`: the texts without that.
pub(crate) fn said_by_commands() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in files() {
        for rest in after(&text, "eprintln!(") {
            let text = arguments(rest).first().map(|text| filled(text));
            let text = text.unwrap_or_default();
            let prefixes = ["error: ", "warning: ", "note: "];
            let said = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
            let first = said.and_then(|said| said.split("\\n").next());
            found.extend(first.map(str::to_owned));
        }
    }
    assert!(found.len() > 3, "{found:?}");
    found
}

fn call(level: &str, file: &str, arguments: &[String]) -> LogCall {
    let level = if level == "level" { "" } else { level };
    let text = arguments.iter().position(|a| a.starts_with('"'));
    let at = text.unwrap_or_else(|| panic!("{file}: a log line without text: {arguments:?}"));
    let field = |argument: &String| {
        let name = argument.split('=').next().unwrap_or_default();
        name.trim().trim_start_matches(['%', '?']).to_owned()
    };
    LogCall {
        level: level.to_owned(),
        fields: arguments[..at].iter().map(field).collect(),
        message: filled(&arguments[at]),
        event: arguments.iter().find_map(|argument| named_event(argument)),
        file: file.to_owned(),
    }
}

fn named_event(argument: &str) -> Option<String> {
    let (_, name) = argument.rsplit_once("events::")?;
    let event = |c: char| c.is_ascii_uppercase() || c == '_';
    name.chars().all(event).then(|| name.to_owned())
}

/// All texts of the program in one, each on one line.
pub(crate) fn texts() -> String {
    let mut all = String::new();
    for (_, text) in files() {
        let mut lines = text.split("\\\n");
        all.push_str(lines.next().unwrap_or_default());
        lines.for_each(|line| all.push_str(line.trim_start()));
    }
    all.replace("\\\"", "\"")
}

/// The arguments of a call whose parenthesis has just been opened.
fn arguments(text: &str) -> Vec<String> {
    let (mut found, mut current) = (Vec::new(), String::new());
    let (mut depth, mut quoted, mut escaped) = (0, false, false);
    for c in text.chars() {
        match (quoted, c) {
            (true, _) => {
                quoted = escaped || c != '"';
                escaped = !escaped && c == '\\';
            }
            (false, '"') => quoted = true,
            (false, '(' | '[' | '{') => depth += 1,
            (false, ')') if depth == 0 => break,
            (false, ')' | ']' | '}') => depth -= 1,
            (false, ',') if depth == 0 => {
                found.push(current.trim().to_owned());
                current.clear();
                continue;
            }
            _ => {}
        }
        current.push(c);
    }
    found.push(current.trim().to_owned());
    found.retain(|argument| !argument.is_empty());
    found
}

/// The text of a literal, with `…` where something is put in.
fn filled(literal: &str) -> String {
    let (mut text, mut depth) = (String::new(), 0);
    // A backslash at the end of a line takes the blanks of the next one.
    let mut lines = literal.trim_matches('"').split("\\\n");
    let first = lines.next().unwrap_or_default().to_owned();
    let joined = lines.fold(first, |all, line| all + line.trim_start());
    for c in joined.chars() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                text.push('…');
            }
            c if depth == 0 => text.push(c),
            _ => {}
        }
    }
    text
}
