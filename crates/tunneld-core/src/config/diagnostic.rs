//! A problem of the file, and all the problems of a file: what is wrong, where, and what to do.

use std::ffi::OsStr;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::render;
use super::texts::Texts;
use crate::name::TunnelName;

/// How many problems are kept; the rest are counted. A file of rubbish has a million of them.
pub(super) const MAX_KEPT: usize = 1_000;

/// Where a configuration came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file's name as it is shown.
    pub name: String,
    /// The directory that relative paths in the file are relative to.
    pub dir: PathBuf,
}

impl Origin {
    /// The origin of the file at `path`: shown as it was given, relative to its directory.
    pub fn of_file(path: &Path) -> Self {
        Origin {
            name: path.display().to_string(),
            dir: path.parent().map(Path::to_path_buf).unwrap_or_default(),
        }
    }

    /// Where the control socket is if the file does not say: in the folder that the unit of the file
    /// has in /run. `tunneld@NAME.service` runs with /etc/tunneld/NAME.toml; any other file is
    /// taken for that of `tunneld.service`.
    pub fn control_socket(&self) -> PathBuf {
        match self.instance() {
            Some(instance) => format!("/run/tunneld-{instance}/control.sock").into(),
            None => "/run/tunneld/control.sock".into(),
        }
    }

    /// NAME, where it is the file of `tunneld@NAME.service`.
    pub fn instance(&self) -> Option<String> {
        let file = Path::new(&self.name);
        let stem = file.file_stem().and_then(OsStr::to_str);
        let is_toml = file.extension().is_some_and(|e| e == "toml");
        let instance = stem.filter(|stem| is_toml && *stem != "tunneld");
        let instance = instance.filter(|_| self.dir == Path::new("/etc/tunneld"));
        instance.map(str::to_owned)
    }

    /// The usual place of the file.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Origin::of_file(Path::new("/etc/tunneld/tunneld.toml"))
    }
}

/// Another place that a problem has to do with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// Its bytes in the files.
    pub span: Range<usize>,
    /// What is there; "at line N" is put after it.
    pub message: String,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong: lowercase, no full stop.
    pub message: String,
    /// Its bytes in the files; `None` where it concerns the configuration as a whole.
    pub span: Option<Range<usize>>,
    /// What is said beside the caret: `did you mean …`.
    pub label: Option<String>,
    /// What a person can do about it.
    pub help: Option<String>,
    /// Other places that it has to do with.
    pub related: Vec<Related>,
    /// The tunnel that it concerns, where it is one.
    pub tunnel: Option<TunnelName>,
}

impl Diagnostic {
    /// A problem of the file as a whole.
    pub fn new(message: impl Into<String>) -> Self {
        Diagnostic {
            message: message.into(),
            span: None,
            label: None,
            help: None,
            related: Vec::new(),
            tunnel: None,
        }
    }

    /// A problem at one place of the file.
    pub fn at(span: Range<usize>, message: impl Into<String>) -> Self {
        Diagnostic {
            span: Some(span),
            ..Diagnostic::new(message)
        }
    }

    /// The same problem with a few words beside the caret.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The same problem with what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same problem with another place that it has to do with.
    #[must_use]
    pub fn with_related(mut self, span: Range<usize>, message: impl Into<String>) -> Self {
        self.related.push(Related {
            span,
            message: message.into(),
        });
        self
    }

    /// The same problem as one of `tunnel`.
    #[must_use]
    pub fn with_tunnel(mut self, tunnel: TunnelName) -> Self {
        self.tunnel = Some(tunnel);
        self
    }

    /// The order of the file: a problem of the whole file first, then by place.
    fn place(&self) -> (usize, usize) {
        self.span.as_ref().map_or((0, 0), |s| (s.start + 1, s.end))
    }
}

/// All the problems of a configuration, in the order of its files.
#[derive(Clone, PartialEq, Eq)]
pub struct Diagnostics {
    origin: Origin,
    texts: Texts,
    items: Vec<Diagnostic>,
    dropped: usize,
}

impl Diagnostics {
    /// The problems `items` of the file `origin`, whose spans are places in `text`.
    pub fn new(origin: Origin, text: impl Into<String>, items: Vec<Diagnostic>) -> Self {
        let texts = Texts::new(&origin, text);
        Diagnostics::within(texts, origin, items)
    }

    /// The problems `items` of the file `origin` and of those that it takes values from.
    pub fn within(texts: Texts, origin: Origin, items: Vec<Diagnostic>) -> Self {
        let mut all = Diagnostics {
            origin,
            texts,
            items,
            dropped: 0,
        };
        all.items.sort_by_key(Diagnostic::place);
        // One mistake in [defaults] is found again by each tunnel that takes it from there.
        all.items
            .dedup_by(|a, b| a.span == b.span && a.message == b.message);
        all.truncate();
        all
    }

    /// Counts problems that were found and not kept.
    pub(super) fn with_dropped(mut self, dropped: usize) -> Self {
        self.dropped = self.dropped.saturating_add(dropped);
        self
    }

    /// Adds a problem in its place.
    pub fn push(&mut self, item: Diagnostic) {
        let place = item.place();
        let index = self.items.partition_point(|i| i.place() <= place);
        self.items.insert(index, item);
        self.truncate();
    }

    fn truncate(&mut self) {
        self.dropped += self.items.len().saturating_sub(MAX_KEPT);
        self.items.truncate(MAX_KEPT);
    }

    /// How many problems there are, with those that were not kept.
    pub fn len(&self) -> usize {
        self.items.len() + self.dropped
    }

    /// Whether there is no problem.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The problems that were kept, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.items.iter()
    }

    /// The configuration's own file.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The problems as a terminal shows them: each with its place, its line and a caret.
    pub fn render(&self, colour: bool) -> String {
        render::report(&self.texts, &self.items, self.dropped, colour)
    }

    /// The problems as plain data, for programs and for the control socket.
    pub fn to_json_items(&self) -> Vec<DiagnosticView> {
        let files = render::Files::new(&self.texts);
        let view = |item: &Diagnostic| {
            let spot = files.find(item.span.as_ref());
            let place = spot.place();
            let hint: Vec<String> = files
                .label(item)
                .into_iter()
                .chain(item.help.clone())
                .collect();
            DiagnosticView {
                file: spot.name.to_owned(),
                line: place.map(|(line, _)| line),
                column: place.map(|(_, column)| column),
                message: item.message.clone(),
                hint: (!hint.is_empty()).then(|| hint.join("; ")),
            }
        };
        self.items.iter().map(view).collect()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Diagnostics {
    /// As it is shown: a secret may be in the text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Diagnostics {}

/// A problem as plain data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiagnosticView {
    /// The file's name as it is shown.
    pub file: String,
    /// The line, from 1; absent where the problem concerns the file as a whole.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<usize>,
    /// The character in the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What a person can do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin::for_tests()
    }

    #[test]
    fn a_problem_is_shown_as_rustc_shows_it() {
        let text = "a = 1\nlocal_foward = [\"5432:localhost:5432\"]\nb = 2\n";
        let item = Diagnostic::at(6..18, "unknown key `local_foward`")
            .with_label("did you mean `local_forward`?");
        assert_eq!(
            Diagnostics::new(origin(), text, vec![item]).to_string(),
            r#"error: unknown key `local_foward`
 --> /etc/tunneld/tunneld.toml:2:1
  |
2 | local_foward = ["5432:localhost:5432"]
  | ^^^^^^^^^^^^ did you mean `local_forward`?
"#
        );
    }

    #[test]
    fn problems_come_in_the_order_of_the_file_with_an_empty_line_between() {
        let text = "x\ny\nz\n";
        let mut all = Diagnostics::new(
            origin(),
            text,
            vec![Diagnostic::at(4..5, "third"), Diagnostic::new("first")],
        );
        all.push(
            Diagnostic::at(2..3, "second")
                .with_help("look up")
                .with_related(0..1, "first used"),
        );
        assert_eq!(all.len(), 3);
        assert_eq!(
            all.to_string(),
            "error: first
--> /etc/tunneld/tunneld.toml

error: second
 --> /etc/tunneld/tunneld.toml:2:1
  |
2 | y
  | ^ first used at line 1
  |
  = help: look up

error: third
 --> /etc/tunneld/tunneld.toml:3:1
  |
3 | z
  | ^
"
        );
    }

    #[test]
    fn a_problem_of_another_file_is_shown_in_that_file() {
        let mut texts = Texts::new(&origin(), "x\ny\n");
        let start = texts.add("ssh_config".to_owned(), "Host db\nPort é y\n");
        let there = start + 13..start + 15;
        let items = vec![
            Diagnostic::at(there.clone(), "wrong").with_related(2..3, "as it is"),
            Diagnostic::at(2..3, "first").with_related(there, "not as it is"),
        ];
        let all = Diagnostics::within(texts, origin(), items);
        assert_eq!(
            all.to_string(),
            "error: first
 --> /etc/tunneld/tunneld.toml:2:1
  |
2 | y
  | ^ not as it is at ssh_config:2

error: wrong
 --> ssh_config:2:6
  |
2 | Port é y
  |      ^ as it is at /etc/tunneld/tunneld.toml:2
"
        );
        let views = all.to_json_items();
        assert_eq!(
            (views[1].file.as_str(), views[1].line, views[1].column),
            ("ssh_config", Some(2), Some(6))
        );
    }

    #[test]
    fn colour_is_only_there_when_it_is_asked_for() {
        let all = Diagnostics::new(origin(), "x\n", vec![Diagnostic::at(0..1, "wrong")]);
        assert!(all.render(true).contains("\u{1b}["));
        assert!(!all.render(false).contains('\u{1b}'));
    }

    #[test]
    fn a_huge_line_is_cut_and_its_column_is_still_right() {
        let text = format!("{}Ü{}", "é".repeat(2_000_000), "x".repeat(2_000_000));
        let at = 4_000_000;
        let all = Diagnostics::new(origin(), text, vec![Diagnostic::at(at..at + 2, "wrong")]);
        let shown = all.to_string();
        assert!(shown.len() < 1_000, "{}", shown.len());
        assert!(shown.contains("tunneld.toml:1:2000001\n"), "{shown}");
        assert!(shown.contains('Ü'));
        let whole = Diagnostics::new(
            origin(),
            "x".repeat(4_000_000),
            vec![Diagnostic::at(0..4_000_000, "wrong")],
        );
        assert!(whole.to_string().len() < 2_000);
    }

    #[test]
    fn fifty_problems_are_shown_and_the_rest_are_counted() {
        let items = (0..5_000).map(|i| Diagnostic::at(i..i + 1, format!("wrong {i}")));
        let all = Diagnostics::new(origin(), "x".repeat(5_000), items.collect());
        assert_eq!(all.len(), 5_000);
        assert_eq!(all.iter().count(), MAX_KEPT);
        let shown = all.to_string();
        assert_eq!(shown.matches("error: ").count(), 50);
        assert!(shown.ends_with("\nand 4950 more\n"));
    }

    #[test]
    fn a_place_that_is_not_in_the_text_is_shown_at_its_end() {
        let backwards = Range { start: 3, end: 2 };
        for span in [5..900, 900..901, 2..3, backwards] {
            let all = Diagnostics::new(origin(), "aé\nb", vec![Diagnostic::at(span, "wrong")]);
            assert!(all.to_string().starts_with("error: wrong\n"));
            assert!(all.to_json_items()[0].line.is_some());
        }
    }

    #[test]
    fn the_view_survives_json_and_counts_characters() {
        let item = Diagnostic::at(5..6, "wrong")
            .with_label("here")
            .with_help("do it");
        let all = Diagnostics::new(origin(), "\u{feff}é\u{1F600}x", vec![item]);
        let views = all.to_json_items();
        assert_eq!(views[0].line, Some(1));
        assert_eq!(views[0].column, Some(2));
        assert_eq!(views[0].hint.as_deref(), Some("here; do it"));
        let json = serde_json::to_string(&views).unwrap();
        assert_eq!(
            serde_json::from_str::<Vec<DiagnosticView>>(&json).unwrap(),
            views
        );
    }
}
