//! `include`: files with more tunnels, each with `[defaults]` of its own.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::str::Utf8Error;

use toml::de::{DeTable, DeValue};

use super::MAX_FILE_LEN;
use super::diagnostic::{Diagnostic, Origin};
use super::document::Document;
use super::items::{Base, completed, list};
use super::keys::Place;
use super::raw::{Cursor, Item, Problems};
use super::render::quoted;
use super::resolve::{Tunnels, defaults, tunnels};
use super::settings::Settings;
use super::texts::Texts;

/// How many files may be included.
pub const MAX_INCLUDED: usize = 1_000;

/// What was found for `include`, in the order of the file.
pub type Includes = Vec<Include>;

/// What was found for one pattern of `include`.
#[derive(Debug, Clone)]
pub struct Include {
    /// The pattern as it is written.
    pub pattern: String,
    /// The files, in the order of their names; or why that cannot be told.
    pub found: Result<Vec<Included>, NotIncluded>,
}

/// Why a pattern brings no files.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NotIncluded {
    /// In the system's words.
    pub reason: String,
    /// Whether there is no such file.
    pub is_missing: bool,
    /// What to do about it, as far as whoever reads the files can tell.
    pub help: Option<String>,
}

impl From<String> for NotIncluded {
    fn from(reason: String) -> Self {
        NotIncluded {
            reason,
            is_missing: false,
            help: None,
        }
    }
}

/// An included file.
#[derive(Clone)]
pub struct Included {
    /// Where it is.
    pub path: PathBuf,
    /// What is in it.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Included {
    /// Without its text: a secret may be in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Included").field(&self.path).finish()
    }
}

/// The patterns that a text has for `include`, whatever else is wrong with it: the files that they
/// match have to be read before it is checked.
pub fn include_patterns(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes.get(..MAX_FILE_LEN).unwrap_or(bytes));
    let (table, _) = DeTable::parse_recoverable(&text);
    let Some(written) = table.get_ref().get("include") else {
        return Vec::new();
    };
    let patterns = match written.get_ref() {
        DeValue::Array(items) => items.iter().collect(),
        _ => vec![written],
    };
    let patterns = patterns.into_iter().take(super::items::MAX_LIST);
    let patterns = patterns.filter_map(|pattern| pattern.get_ref().as_str());
    patterns.map(str::to_owned).collect()
}

/// Where the texts of the included files begin, file by file.
pub(super) fn laid_out(texts: &mut Texts, includes: &Includes) -> Vec<usize> {
    let files = includes.iter().flat_map(|i| i.found.iter().flatten());
    let add = |file: &Included| {
        let text = String::from_utf8_lossy(&file.bytes);
        texts.add(file.path.display().to_string(), text)
    };
    files.map(add).collect()
}

/// Reports patterns for which nothing can be said.
pub(super) fn check_patterns(item: Item<'_, '_>, base: Base<'_>, problems: &mut Problems) {
    for item in list(item, problems).unwrap_or_default() {
        let Some(pattern) = item.text("a path or a pattern", problems) else {
            continue;
        };
        if let Err(e) = completed(pattern, base.origin, base.surroundings) {
            problems.report(item.error(e));
            continue;
        }
        let includes = &base.surroundings.includes;
        let reason = match includes.iter().find(|i| i.pattern == pattern) {
            Some(include) => include.found.as_ref().err().cloned(),
            None => Some("it was not looked for".to_owned().into()),
        };
        if let Some(why) = reason {
            let said = format!("cannot include {}: {}", quoted(pattern), why.reason);
            let mut problem = Diagnostic::at(item.span(), said);
            if let Some(help) = why.help {
                problem = problem.with_help(help);
            } else if why.is_missing && !pattern.contains(['*', '?', '[']) {
                let help = "a file that is named has to be there; a pattern, \"tunneld.d/*.toml\", \
                            may match none";
                problem = problem.with_help(help);
            }
            problems.report(problem);
        }
    }
}

/// One included file, and where its text begins.
pub(super) struct Part<'a> {
    pub(super) file: &'a Included,
    pub(super) start: usize,
}

/// Reads the tunnels of an included file. `above` are the defaults of the file that includes it.
pub(super) fn part(
    part: &Part<'_>,
    above: &Settings,
    base: Base<'_>,
    found: &mut Tunnels,
    problems: &mut Problems,
) {
    let (file, start) = (part.file, part.start);
    let origin = Origin::of_file(&file.path);
    let text = match std::str::from_utf8(&file.bytes) {
        Ok(text) if text.trim().is_empty() => {
            let said = format!("{} is empty", quoted(&origin.name));
            let help = "remove it, or put a comment into it if it is to have no tunnels";
            return problems.report(Diagnostic::at(start..start, said).with_help(help));
        }
        Ok(text) => text,
        Err(e) => return problems.report(not_utf8(&file.bytes, e, start)),
    };
    let document = Document::parse(text, start);
    let whole = std::mem::replace(&mut problems.broken, !document.syntax.is_clean());
    let base = Base {
        origin: &origin,
        ..base
    };
    let mut keys = Cursor::new(&document.table, Place::Included);
    let own = defaults(&mut keys, base, problems).or(above);
    if let Some(item) = keys.item("tunnels") {
        tunnels(item, &own, base, found, problems);
    }
    keys.finish(problems);
    problems.broken = whole;
    problems.unreadable(document.syntax);
}

/// That a text, which begins at `start` among all of them, is not UTF-8.
pub(super) fn not_utf8(bytes: &[u8], error: Utf8Error, start: usize) -> Diagnostic {
    let at = error.valid_up_to();
    let byte = bytes.get(at).copied().unwrap_or_default();
    // The text before the byte is as long in the lossy form, so the place is the same.
    let span: Range<usize> = start + at..start + at + char::REPLACEMENT_CHARACTER.len_utf8();
    Diagnostic::at(span, "the file is not UTF-8").with_label(format!("byte 0x{byte:02x}"))
}
