//! What is said about an option that is not a key of the tunnel.

use crate::text::{clip, is_odd};

/// The longest text that is shown, in characters.
const MAX_SHOWN: usize = 400;

/// What becomes of an option that is not a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    /// It says what is always so.
    Always(String),
    /// It is dropped: what, and why.
    Dropped(String, String),
    /// The same, and without it the tunnel may do more than somebody has allowed: what, and why.
    Lost(String, String),
    /// The same with a forward: what, and why.
    LostForward(String, String),
    /// Something that whoever imports it should know at once.
    Warned(String),
    /// Something else that whoever reads the file should know.
    Said(String),
}

impl Note {
    pub(super) fn dropped(what: &str, why: &str) -> Self {
        Note::Dropped(what.to_owned(), why.to_owned())
    }
}

/// The notes as comments, each on one line and each once; what is always so goes together.
pub(super) fn comments(notes: &[Note]) -> Vec<String> {
    let always: Vec<String> = notes.iter().filter_map(always).collect();
    let mut lines = Vec::new();
    if !always.is_empty() {
        lines.push(format!("# always so: {}", always.join(" ")));
    }
    for note in notes {
        let line = match note {
            Note::Always(_) => continue,
            Note::Dropped(what, why) | Note::Lost(what, why) | Note::LostForward(what, why) => {
                format!("# dropped: {}: {}", one_line(what), one_line(why))
            }
            Note::Said(text) | Note::Warned(text) => format!("# {}", one_line(text)),
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

fn always(note: &Note) -> Option<String> {
    match note {
        Note::Always(what) => Some(one_line(what)),
        _ => None,
    }
}

/// What is said on the terminal of those that matter, each once.
pub(super) fn warnings(notes: &[Note]) -> Vec<String> {
    let mut all = Vec::new();
    for note in notes {
        let text = match note {
            Note::Lost(what, why) | Note::LostForward(what, why) => {
                format!("{} is dropped: {}", one_line(what), one_line(why))
            }
            Note::Warned(text) => one_line(text),
            Note::Always(_) | Note::Dropped(..) | Note::Said(_) => continue,
        };
        if !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

/// A comment ends with its line, so what comes from elsewhere has no other line in it.
pub(super) fn one_line(text: &str) -> String {
    clip(&plain(text), MAX_SHOWN)
}

/// A text from elsewhere on one line, without what moves the cursor of a terminal, and without what
/// changes the direction of writing.
pub fn plain(text: &str) -> String {
    let plain = text.chars().map(|c| match is_odd(c) {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    });
    plain.collect()
}
