//! Writing one key a line, with where its value comes from.

use std::collections::HashMap;
use std::fmt::{Display, Write};
use std::path::Path;

use crate::config::provenance::{Provenance, Section, Spans};
use crate::config::render::{Files, printable};
use crate::config::texts::Texts;

/// The text that is written.
pub(super) struct Printer<'a> {
    out: String,
    places: Option<Places<'a>>,
    /// Where the keys of the table are written that is being printed.
    spans: Option<&'a Spans>,
}

/// Where values come from, and what the files are called.
struct Places<'a> {
    provenance: &'a Provenance,
    files: Files<'a>,
    /// The names of the files, short where that is enough.
    names: HashMap<&'a str, String>,
}

impl<'a> Printer<'a> {
    /// With `from`, each value has a comment that says where it is written.
    pub(super) fn new(from: Option<(&'a Provenance, &'a Texts)>) -> Self {
        let places = from.map(|(provenance, texts)| Places {
            provenance,
            files: Files::new(texts),
            names: short_names(texts),
        });
        Printer {
            out: String::new(),
            places,
            spans: None,
        }
    }

    /// Begins a table.
    pub(super) fn table(&mut self, section: &Section, header: &str) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out.push_str(header);
        self.out.push('\n');
        let places = self.places.as_ref();
        self.spans = places.and_then(|places| places.provenance.of(section));
    }

    /// Writes a key with its value as TOML.
    pub(super) fn key(&mut self, key: &str, value: impl Display) {
        self.line(key, &value, "");
    }

    /// Writes a key in place of one whose value is in the other keys now.
    pub(super) fn filled_in(&mut self, key: &str, value: impl Display) {
        self.line(key, &value, ": what it says is filled in");
    }

    fn line(&mut self, key: &str, value: &dyn Display, note: &str) {
        // Writing to a String cannot fail.
        let _ = write!(self.out, "{key} = {value}");
        if let Some(places) = &self.places {
            let spans = self.spans.map_or(&[][..], |spans| spans.of(key));
            let lines: Vec<String> = spans.iter().map(|span| places.line(span.start)).collect();
            let shown = match lines.is_empty() {
                true => "default".to_owned(),
                false => joined(lines) + note,
            };
            let _ = write!(self.out, "  # {shown}");
        }
        self.out.push('\n');
    }

    /// Writes a default that cannot be written as a value, as a comment.
    pub(super) fn default(&mut self, key: &str, value: impl Display, why: &str) {
        let _ = writeln!(self.out, "# {key} = {value}  # the default{why}");
    }

    pub(super) fn finish(self) -> String {
        self.out
    }
}

impl Places<'_> {
    /// `FILE:LINE`
    fn line(&self, place: usize) -> String {
        let spot = self.files.find(Some(&(place..place)));
        let line = spot.place().map_or(1, |(line, _)| line);
        let name = self.names.get(spot.name).map_or(spot.name, String::as_str);
        format!("{name}:{line}")
    }
}

/// Each of them once, in their order.
fn joined(lines: Vec<String>) -> String {
    let mut all: Vec<String> = Vec::with_capacity(lines.len());
    for line in lines {
        if !all.contains(&line) {
            all.push(line);
        }
    }
    all.join(", ")
}

/// The last part of each name, unless there are several that end in it.
fn short_names(texts: &Texts) -> HashMap<&str, String> {
    let last = |name: &str| {
        let last = Path::new(name).file_name();
        last.map_or_else(
            || name.to_owned(),
            |last| last.to_string_lossy().into_owned(),
        )
    };
    let mut count: HashMap<String, usize> = HashMap::new();
    for text in texts.iter() {
        *count.entry(last(&text.name)).or_default() += 1;
    }
    let shown = |name: &str| match last(name) {
        short if count.get(&short) == Some(&1) => printable(&short),
        _ => printable(name),
    };
    let all = texts.iter().map(|text| text.name.as_str());
    all.map(|name| (name, shown(name))).collect()
}
