//! What is not TOML: the parser's errors as few, readable problems, and which parts of the file
//! they make unreadable.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::diagnostic::Diagnostic;
use super::document::shifted;
use super::render::{Lines, quoted};

/// How many syntax errors are kept; looking for what belongs to one takes a pass over the text.
const MAX_SYNTAX: usize = 100;

/// The syntax errors of a text.
#[derive(Debug)]
pub(super) struct Syntax {
    pub(super) problems: Vec<Diagnostic>,
    /// The bytes that cannot be trusted to mean what was parsed.
    unreadable: Vec<Range<usize>>,
    /// How many problems were found and not kept.
    pub(super) dropped: usize,
}

impl Syntax {
    /// One problem a line, without those that only follow from an earlier one.
    pub(super) fn new(text: &str, table: &DeTable<'_>, mut errors: Vec<Error>) -> Self {
        let mut found = Syntax {
            problems: Vec::new(),
            unreadable: Vec::new(),
            dropped: 0,
        };
        if errors.is_empty() {
            return found;
        }
        let lines = Lines::new(text);
        let start = |e: &Error| e.span().map_or(text.len(), |s| s.start);
        errors.sort_by_key(start);
        if let Some(opened) = errors.iter().find_map(|e| unclosed(text, table, e)) {
            let what = if text[opened..].starts_with('{') {
                "table"
            } else {
                "array"
            };
            found.problems.push(
                Diagnostic::at(opened..opened + 1, format!("unclosed {what}"))
                    .with_label("opened here and never closed"),
            );
            errors.retain(|e| start(e) < opened);
            found.unreadable.push(opened..text.len() + 1);
        }
        let mut last = None;
        for error in errors {
            let at = start(&error).min(text.len());
            let line = lines.index(at);
            if last.replace(line) == Some(line) {
                continue;
            }
            let span = error.span().unwrap_or(at..at);
            let duplicate = error.message() == "duplicate key";
            // A file of rubbish: enough is known, and the rest is not looked at.
            if found.problems.len() >= MAX_SYNTAX {
                found.dropped += 1;
                if found.dropped == 1 {
                    found.unreadable.push(at..text.len() + 1);
                }
                continue;
            }
            found.problems.push(if duplicate {
                duplicate_key(text, &lines, table, span)
            } else {
                Diagnostic::at(span.clone(), words(text, &error, &span))
            });
            // Two keys of one name are readable all the same.
            if !duplicate {
                found.unreadable.push(extent(text, &lines, line));
            }
        }
        found
    }

    /// The same, of a text that begins so much further on among all of them.
    pub(super) fn shift(&mut self, by: usize) {
        for problem in &mut self.problems {
            let places = problem.related.iter_mut().map(|related| &mut related.span);
            for span in problem.span.iter_mut().chain(places) {
                *span = shifted(span, by);
            }
        }
        for span in &mut self.unreadable {
            *span = shifted(span, by);
        }
    }

    /// Whether the text is TOML.
    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether what was parsed at this place may be something else than what was written.
    pub(super) fn hides(&self, span: Option<&Range<usize>>) -> bool {
        span.is_some_and(|span| {
            let touches = |r: &Range<usize>| span.start < r.end && r.start <= span.end;
            self.unreadable.iter().any(touches)
        })
    }
}

/// A line that is wrong; a wrong table header makes everything up to the next one unreadable.
fn extent(text: &str, lines: &Lines<'_>, line: usize) -> Range<usize> {
    let here = lines.range(line);
    if !text[here.clone()].trim_start().starts_with('[') {
        return here.start..here.end + 1;
    }
    let next = text[here.end..].find("\n[");
    here.start..next.map_or(text.len() + 1, |n| here.end + n + 1)
}

fn words(text: &str, error: &Error, span: &Range<usize>) -> String {
    let written = text.get(span.clone()).unwrap_or_default();
    let is_truth = ["true", "false"]
        .iter()
        .any(|t| written.eq_ignore_ascii_case(t));
    let is_word = !is_truth && written.starts_with(|c: char| c.is_alphabetic());
    match error.message() {
        // `nope` begins as `nan` does, `tunnel` as `true`.
        m if is_word && (m.starts_with("invalid float,") || m.starts_with("invalid boolean,")) => {
            "a string has to be in quotes".to_owned()
        }
        "string values must be quoted, expected literal string" if span.is_empty() => {
            "this key has no value".to_owned()
        }
        "string values must be quoted, expected literal string" => {
            "a string has to be in quotes".to_owned()
        }
        other => other.to_owned(),
    }
}

fn duplicate_key(
    text: &str,
    lines: &Lines<'_>,
    table: &DeTable<'_>,
    span: Range<usize>,
) -> Diagnostic {
    let key = text.get(span.clone()).unwrap_or_default();
    let item = Diagnostic::at(span.clone(), format!("duplicate key {}", quoted(key)));
    let here = text[lines.range(lines.index(span.start))].trim();
    if here.starts_with('[') {
        // The same header, further up.
        let earlier = text[..span.start]
            .split_inclusive('\n')
            .scan(0, |at, line| {
                let start = *at;
                *at += line.len();
                Some((start, line))
            });
        for (start, line) in earlier {
            if line.trim() == here && start + line.len() <= span.start {
                return item.with_related(start..start + line.len(), "first used");
            }
        }
        return item;
    }
    // The key of that name at the start of a line, after the last header.
    let header = text[..span.start].rfind("\n[").map_or(0, |n| n + 1);
    let mut first = None;
    visit(table, &mut |found| {
        let at = found.span();
        let line = lines.range(lines.index(at.start));
        let alone = text[line.start..at.start.max(line.start)].trim().is_empty();
        if alone && found.get_ref() == key && (header..span.start).contains(&at.start) {
            first = Some(at);
        }
    });
    match first {
        Some(first) => item.with_related(first, "first used"),
        None => item,
    }
}

/// Calls `on_key` with each key of the table and of the tables in it.
fn visit(table: &DeTable<'_>, on_key: &mut dyn FnMut(&Spanned<toml::de::DeString<'_>>)) {
    for (key, value) in table.iter() {
        on_key(key);
        if let DeValue::Table(inner) = value.get_ref() {
            visit(inner, on_key);
        }
    }
}

/// Where the outermost array or inline table begins that this error says is not closed.
fn unclosed(text: &str, table: &DeTable<'_>, error: &Error) -> Option<usize> {
    let is_unclosed = ["unclosed array,", "unclosed inline table,"]
        .iter()
        .any(|m| error.message().starts_with(m));
    if !is_unclosed {
        return None;
    }
    let at = error.span().map_or(text.len(), |s| s.start);
    opened_around(text, table, at)
}

fn opened_around(text: &str, table: &DeTable<'_>, at: usize) -> Option<usize> {
    let starts = table.iter().filter_map(|(_, value)| {
        let span = value.span();
        let inline = text
            .get(span.clone())
            .is_some_and(|t| match value.get_ref() {
                DeValue::Array(_) => t.starts_with('[') && !t.starts_with("[["),
                DeValue::Table(_) => t.starts_with('{'),
                _ => false,
            });
        if inline && span.start <= at && at <= span.end {
            return Some(span.start);
        }
        match value.get_ref() {
            DeValue::Table(inner) => opened_around(text, inner, at),
            _ => None,
        }
    });
    starts.min()
}
