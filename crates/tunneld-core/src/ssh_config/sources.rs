//! A file and the files that it includes, as far as they were read.
//!
//! This crate reads no files. Whoever does asks for the patterns that are [`missing`], and adds what
//! there is, until none is.
//!
//! [`missing`]: Sources::missing

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::block::Block;
use super::expand::Environment;
use super::keywords::FORWARDS;
use super::parse::{Fault, Line, What, parse};
use crate::config::quoted;

/// The largest file that is read, in bytes.
pub const MAX_FILE_LEN: usize = 1 << 20;

/// How many files there may be, the first one counted.
const MAX_FILES: usize = 1_000;

/// How many bytes they may have together.
const MAX_BYTES: usize = 16 << 20;

/// A file with the files that it includes.
#[derive(Debug, Clone)]
pub struct Sources {
    pub(super) environment: Environment,
    /// Where relative names are: the folder of the first file, as ~/.ssh is for ~/.ssh/config.
    dir: PathBuf,
    pub(super) files: Vec<Source>,
    pub(super) included: BTreeMap<PathBuf, Included>,
}

/// One file.
#[derive(Debug, Clone)]
pub(super) struct Source {
    path: PathBuf,
    text: String,
    pub(super) lines: Vec<Line>,
    faults: Vec<Fault>,
}

/// What there is for a pattern of `Include`: indices of files, or why they cannot be read.
type Included = Result<Vec<usize>, String>;

/// Something in one of the files that is wrong, or that is not supported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Which of [`Sources::files`].
    pub file: usize,
    /// First byte of its place in that file.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
    /// What is wrong: lowercase, no full stop.
    pub message: String,
    /// What a person can do about it.
    pub help: Option<String>,
}

impl Problem {
    pub(super) fn new(file: usize, fault: Fault) -> Self {
        Problem {
            file,
            start: fault.span.start,
            end: fault.span.end,
            message: fault.message,
            help: fault.help,
        }
    }
}

impl Sources {
    /// A file that was read. What in it is not UTF-8 has to be U+FFFD: in a comment it does no harm.
    pub fn new(path: &Path, text: String, environment: Environment) -> Self {
        let mut sources = Sources {
            dir: path.parent().map(Path::to_path_buf).unwrap_or_default(),
            environment,
            files: Vec::new(),
            included: BTreeMap::new(),
        };
        sources.read(path.to_owned(), text);
        sources
    }

    /// The patterns of `Include` lines for which nothing was added: whole paths, in which `*`, `?`
    /// and `[…]` are as in glob(7).
    pub fn missing(&self) -> Vec<PathBuf> {
        let mut missing: Vec<PathBuf> = self
            .includes()
            .map(|(_, _, pattern)| pattern)
            .filter(|pattern| !self.included.contains_key(*pattern))
            .cloned()
            .collect();
        missing.sort();
        missing.dedup();
        missing
    }

    /// Adds the files that match a pattern, in the order of their names; there may be none. An error
    /// says why they cannot be read.
    pub fn add(&mut self, pattern: PathBuf, found: Result<Vec<(PathBuf, String)>, String>) {
        let found = found.and_then(|files| {
            let read = files.into_iter().map(|(path, text)| self.index(path, text));
            read.collect()
        });
        self.included.insert(pattern, found);
    }

    /// The files: where they are, and what they say.
    pub fn files(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.files
            .iter()
            .map(|f| (f.path.as_path(), f.text.as_str()))
    }

    /// The names that `Host` lines have without wildcards, in their order, each once.
    pub fn hosts(&self) -> Vec<&str> {
        let lines = self.files.iter().flat_map(|file| &file.lines);
        let patterns = lines.flat_map(|line| match &line.what {
            What::Block(Block::Host(patterns)) => patterns.as_slice(),
            _ => &[],
        });
        let mut seen = BTreeSet::new();
        let names = patterns.map(String::as_str);
        let names = names.filter(|name| is_name(name));
        names.filter(|name| seen.insert(*name)).collect()
    }

    /// How many blocks have a forward and name no host by itself: `Host` with patterns only, and
    /// `Match`. What is for every host counts where no host is named at all.
    pub fn patterns_with_forwards(&self) -> usize {
        let named = !self.hosts().is_empty();
        let mut blocks = 0;
        for file in &self.files {
            let mut is_pattern = false;
            for line in &file.lines {
                if let What::Block(block) = &line.what {
                    is_pattern = match block {
                        Block::Host(patterns) if named && patterns.iter().any(|p| p == "*") => {
                            false
                        }
                        Block::Host(patterns) => !patterns.iter().any(|p| is_name(p)),
                        Block::Match(_) => true,
                    };
                } else if is_pattern && FORWARDS.contains(&line.keyword) {
                    blocks += 1;
                    is_pattern = false;
                }
            }
        }
        blocks
    }

    /// What is wrong whatever the host is, in the order of the files.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            let faults = file.faults.iter().cloned();
            problems.extend(faults.map(|fault| Problem::new(index, fault)));
        }
        for (file, span, pattern) in self.includes() {
            if let Some(Err(reason)) = self.included.get(pattern) {
                let pattern = quoted(&pattern.to_string_lossy());
                let said = format!("cannot include {pattern}: {reason}");
                problems.push(Problem::new(file, Fault::new(span.clone(), said)));
            }
        }
        problems.sort();
        problems
    }

    fn includes(&self) -> impl Iterator<Item = (usize, &Range<usize>, &PathBuf)> {
        let lines = self.files.iter().enumerate();
        let lines = lines.flat_map(|(index, file)| file.lines.iter().map(move |l| (index, l)));
        lines.flat_map(|(index, line)| {
            let patterns = match &line.what {
                What::Include(patterns) => patterns.as_slice(),
                _ => &[],
            };
            patterns
                .iter()
                .map(move |pattern| (index, &line.span, pattern))
        })
    }

    /// The index of a file, which is read where it was not.
    fn index(&mut self, path: PathBuf, text: String) -> Result<usize, String> {
        if let Some(index) = self.files.iter().position(|file| file.path == path) {
            return Ok(index);
        }
        let bytes: usize = self.files.iter().map(|file| file.text.len()).sum();
        if self.files.len() >= MAX_FILES {
            return Err(format!("there are more than {MAX_FILES} files"));
        }
        if bytes + text.len() > MAX_BYTES {
            return Err(format!(
                "the files have more than {MAX_BYTES} bytes together"
            ));
        }
        self.read(path, text);
        Ok(self.files.len() - 1)
    }

    fn read(&mut self, path: PathBuf, text: String) {
        let (lines, faults) = match text.len() > MAX_FILE_LEN {
            true => {
                let said = format!(
                    "the file has more than {MAX_FILE_LEN} bytes, which is all that is read"
                );
                (Vec::new(), vec![Fault::new(0..0, said)])
            }
            false => parse(&text, &self.dir, &self.environment),
        };
        self.files.push(Source {
            path,
            text,
            lines,
            faults,
        });
    }
}

/// Whether a pattern of `Host` is the name of one host.
fn is_name(pattern: &str) -> bool {
    !pattern.starts_with('!') && !pattern.contains(['*', '?'])
}
