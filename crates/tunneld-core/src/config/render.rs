//! Problems as text: the format of rustc, with excerpts of bounded size.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin as Place, Renderer, Snippet};

use super::diagnostic::Diagnostic;
use super::secrets;
use super::texts::Texts;

/// How many problems are shown; nobody reads more of them, and a file of rubbish has thousands.
const MAX_SHOWN: usize = 50;

/// The longest line that is handed to the renderer as it is, in bytes.
const MAX_LINE: usize = 1_000;

/// How much of a longer line is kept at each side of its place, in bytes.
const WINDOW: usize = 300;

/// The places where the lines of a text begin.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
    /// The places from which on a line is not shown.
    secrets: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let breaks = text.match_indices('\n').map(|(index, _)| index + 1);
        Lines {
            text,
            starts: std::iter::once(0).chain(breaks).collect(),
            secrets: secrets::places(text),
        }
    }

    /// The nearest place at or before `offset` that is in the text and between two characters.
    fn clamp(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }

    /// The index of the line that `offset` is in.
    pub(super) fn index(&self, offset: usize) -> usize {
        self.starts.partition_point(|s| *s <= offset) - 1
    }

    /// The bytes of the line with this index, without its end and without a byte order mark.
    pub(super) fn range(&self, index: usize) -> Range<usize> {
        let start = self.starts.get(index).copied().unwrap_or(self.text.len());
        let end = self
            .starts
            .get(index + 1)
            .map_or(self.text.len(), |next| next - 1);
        let line = &self.text[start..end];
        let mark = if index == 0 && line.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        start + mark..start + line.strip_suffix('\r').unwrap_or(line).len()
    }

    /// The part of a line that may be shown.
    fn shown(&self, line: &Range<usize>) -> Range<usize> {
        let after = self.secrets.partition_point(|place| *place < line.start);
        let secret = self.secrets.get(after).map_or(line.end, |s| *s);
        line.start..secret.min(line.end)
    }

    /// Line and column of a place, both from 1; columns count characters.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        let offset = self.clamp(offset);
        let index = self.index(offset);
        let start = self.range(index).start.min(offset);
        (index + 1, self.text[start..offset].chars().count() + 1)
    }
}

/// The files of a configuration, with their lines.
pub(super) struct Files<'a> {
    texts: &'a Texts,
    lines: Vec<Lines<'a>>,
}

/// A place within one of the files.
pub(super) struct Spot<'a> {
    /// The file's name as it is shown.
    pub(super) name: &'a str,
    pub(super) lines: &'a Lines<'a>,
    /// Its bytes in that file; `None` where it is the file as a whole.
    span: Option<Range<usize>>,
}

impl Spot<'_> {
    /// Line and column, both from 1.
    pub(super) fn place(&self) -> Option<(usize, usize)> {
        let span = self.span.as_ref()?;
        Some(self.lines.place(span.start))
    }
}

impl<'a> Files<'a> {
    pub(super) fn new(texts: &'a Texts) -> Self {
        let lines = texts.iter().map(|text| Lines::new(&text.text)).collect();
        Files { texts, lines }
    }

    /// Where a place is; what has none is the first file as a whole.
    pub(super) fn find(&'a self, span: Option<&Range<usize>>) -> Spot<'a> {
        let (index, text) = self.texts.find(span.map_or(0, |span| span.start));
        let local = |span: &Range<usize>| {
            let at = |place: usize| place.saturating_sub(text.start);
            at(span.start)..at(span.end)
        };
        Spot {
            name: &text.name,
            lines: &self.lines[index],
            span: span.map(local),
        }
    }

    /// What is said beside the caret, with the lines of the related places.
    pub(super) fn label(&self, item: &Diagnostic) -> Option<String> {
        let here = self.find(item.span.as_ref()).name;
        let related = item.related.iter().map(|related| {
            let there = self.find(Some(&related.span));
            let line = there.place().map_or(1, |(line, _)| line);
            match there.name == here {
                true => format!("{} at line {line}", related.message),
                false => format!("{} at {}:{line}", related.message, printable(there.name)),
            }
        });
        let parts: Vec<String> = item.label.iter().cloned().chain(related).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// All problems, one after the other, with an empty line between two of them.
pub(super) fn report(texts: &Texts, items: &[Diagnostic], dropped: usize, colour: bool) -> String {
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let files = Files::new(texts);
    let mut shown: Vec<String> = items
        .iter()
        .take(MAX_SHOWN)
        .map(|item| one(&renderer, &files, item))
        .collect();
    let rest = items.len().saturating_sub(MAX_SHOWN) + dropped;
    if rest > 0 {
        shown.push(format!("and {rest} more\n"));
    }
    shown.join("\n")
}

fn one(renderer: &Renderer, files: &Files<'_>, item: &Diagnostic) -> String {
    let spot = files.find(item.span.as_ref());
    let name = printable(spot.name);
    let title = Level::ERROR.primary_title(item.message.as_str());
    let help = item.help.as_deref().map(|h| Level::HELP.message(h));
    let Some(span) = &spot.span else {
        let group = Group::with_title(title).element(Place::path(&name));
        return finish(renderer.render(&[match help {
            Some(help) => group.element(help),
            None => group,
        }]));
    };
    let excerpt = Excerpt::new(spot.lines, span);
    let mut mark = AnnotationKind::Primary.span(excerpt.mark.clone());
    if let Some(label) = files.label(item) {
        mark = mark.label(label);
    }
    let snippet = Snippet::source(excerpt.text)
        .path(&name)
        .line_start(excerpt.line)
        .annotation(mark);
    let group = title.element(snippet);
    let shown = renderer.render(&[match help {
        Some(help) => group.element(help),
        None => group,
    }]);
    finish(shown.replacen(
        &format!("{name}:{}:{}", excerpt.line, excerpt.shown_column),
        &format!("{name}:{}:{}", excerpt.line, excerpt.column),
        1,
    ))
}

/// Ends with a line end, and has no line that ends in blanks.
fn finish(shown: String) -> String {
    let mut text = String::with_capacity(shown.len() + 1);
    for line in shown.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The line of a place, or the part of a long line around it. A secret is shown as `…`.
struct Excerpt {
    text: String,
    mark: Range<usize>,
    line: usize,
    column: usize,
    /// The column that the renderer works out: another one where the line was cut before the place.
    shown_column: usize,
}

impl Excerpt {
    fn new(lines: &Lines<'_>, span: &Range<usize>) -> Self {
        let (line, column) = lines.place(span.start);
        let whole = lines.range(line - 1);
        let shown = lines.shown(&whole);
        let start = lines.clamp(span.start).clamp(shown.start, shown.end);
        // A value over several lines is marked in its first.
        let end = lines.clamp(span.end).clamp(start, whole.end);
        let hidden = end.max(start + 1) > shown.end && shown.end < whole.end;
        let end = end.min(shown.end);
        let (from, end, to) = match shown.len() <= MAX_LINE {
            true => (shown.start, end, shown.end),
            false => window(lines, &shown, start..end),
        };
        let mut text = lines.text[from..to].to_owned();
        let mut mark = start - from..end - from;
        if to < whole.end && to == shown.end {
            text.push('…');
            if hidden {
                mark.end = text.len();
            }
        }
        Excerpt {
            shown_column: text[..mark.start].chars().count() + 1,
            text,
            mark,
            line,
            column,
        }
    }
}

/// A part of a long line, and the end of what is marked in it.
fn window(lines: &Lines<'_>, line: &Range<usize>, marked: Range<usize>) -> (usize, usize, usize) {
    let from = lines
        .clamp(marked.start.saturating_sub(WINDOW))
        .max(line.start);
    let end = marked.end.min(lines.clamp(marked.start + WINDOW));
    let to = lines.clamp(end + WINDOW).clamp(end, line.end);
    (from, end, to)
}

/// What the user wrote, in backticks: of bounded length, and without anything that a terminal
/// acts on.
pub(crate) fn quoted(text: &str) -> String {
    const MAX: usize = 80;
    let mut shown = printable(&text.chars().take(MAX).collect::<String>());
    if text.chars().nth(MAX).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

pub(super) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}
