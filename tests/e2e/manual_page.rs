//! The man pages as they are written (mdoc(7)), and what can be asked of them.

use std::fs;
use std::path::{Path, PathBuf};

/// The top of the repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A page, or a part of one.
pub(crate) struct Page {
    lines: Vec<String>,
}

/// `.It Ic port No = Ar number`, and what is below it.
pub(crate) struct Entry {
    /// `port`.
    pub(crate) name: String,
    /// The words of the whole entry, with those that are macros.
    pub(crate) words: Vec<String>,
    lines: Vec<String>,
}

impl Page {
    /// packaging/man/NAME.
    pub(crate) fn read(name: &str) -> Self {
        let path = repository().join("packaging/man").join(name);
        let text = fs::read_to_string(&path);
        let text = text.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Page {
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    /// The lines after the one that begins with `from`, up to one that begins with one of `to`.
    pub(crate) fn part(&self, from: &str, to: &[&str]) -> Page {
        let mut after = self.lines.iter().skip_while(|line| *line != from);
        assert!(after.next().is_some(), "the page has no line {from:?}");
        let end = |line: &&String| !to.iter().any(|end| line.starts_with(end));
        Page {
            lines: after.take_while(end).cloned().collect(),
        }
    }

    /// A section: `.Sh NAME`.
    pub(crate) fn section(&self, name: &str) -> Page {
        self.part(&format!(".Sh {name}"), &[".Sh "])
    }

    /// The keys below the comment `table: NAME`.
    pub(crate) fn table(&self, name: &str) -> Vec<Entry> {
        let comment = format!(".\\\" table: {name}");
        self.part(&comment, &[".\\\" table: ", ".\\\" keys: ", ".\\\" end "])
            .entries("Ic")
    }

    /// The items whose name is in this macro; items with another one belong to the one before.
    pub(crate) fn entries(&self, of: &str) -> Vec<Entry> {
        let head = format!(".It {of} ");
        let mut entries: Vec<Entry> = Vec::new();
        for line in &self.lines {
            if let Some(rest) = line.strip_prefix(&head) {
                let name = rest.split(' ').next().unwrap_or_default();
                entries.push(Entry {
                    name: name.to_owned(),
                    words: Vec::new(),
                    lines: Vec::new(),
                });
            }
            if let Some(entry) = entries.last_mut() {
                entry.words.extend(words(line));
                entry.lines.push(line.clone());
            }
        }
        entries
    }

    /// Every word, those that are macros too.
    pub(crate) fn words(&self) -> Vec<String> {
        self.lines.iter().flat_map(|line| words(line)).collect()
    }

    /// What is between `.Bd -literal` and `.Ed`.
    pub(crate) fn literal_blocks(&self) -> Vec<String> {
        let mut blocks = Vec::new();
        let mut block: Option<String> = None;
        for line in &self.lines {
            match (line.starts_with(".Bd -literal"), line == ".Ed") {
                (true, _) => block = Some(String::new()),
                (_, true) => blocks.extend(block.take()),
                _ => {
                    if let Some(block) = &mut block {
                        block.push_str(line);
                        block.push('\n');
                    }
                }
            }
        }
        blocks
    }
}

impl Entry {
    /// What a line says that begins with these words, without them and the full stop.
    pub(crate) fn says(&self, what: &str) -> Option<String> {
        let mut said = self.lines.iter().filter_map(|line| line.strip_prefix(what));
        let first = said.next()?;
        assert!(said.next().is_none(), "{}: `{what}` twice", self.name);
        Some(first.trim().trim_end_matches('.').to_owned())
    }

    /// The long options that it names: `Fl -json` is `json`.
    pub(crate) fn options(&self) -> Vec<String> {
        let after_macro = self.words.iter().zip(self.words.iter().skip(1));
        let options = after_macro.filter(|(word, _)| word.trim_start_matches('.') == "Fl");
        let long = options.filter_map(|(_, option)| option.strip_prefix('-'));
        long.filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

fn words(line: &str) -> impl Iterator<Item = String> {
    line.split([' ', ','])
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
}
